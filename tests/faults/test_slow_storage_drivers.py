"""Storage drivers that are slow, hang or quote secrets: time, parallel calls, texts (B.3).

Row numbers (B) refer to docs/parity.md.
"""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from simulator import sample
from simulator.rig.processes import wait_until
from simulator.storage_protocol import Fault
from tests import factories
from tests.drivers import REPLY, SECRET_OPTIONS, TOKEN, map_of, volume, with_volumes
from tests.faults.faulty_system import facts, new_instance
from tests.faults.scripted_engine import Answer
from tests.floor import allowed_s
from worker import deadline
from worker.deadline import Deadline
from worker.errors import StorageDriverSlowError, WorkerError

START = "compute.instance.activate"
ACTIVATE = "storage.volume.activate"
REMOVE = "storage.volume.remove"
#: Of the events below; a driver that hangs never answers within it.
EVENT_S = 2.0


@pytest.fixture
def make_host(make_host, make_driver):
    """Hosts whose drivers are those of the test; the time that an event waits is short."""
    return partial(make_host, WORKER_STORAGE_DIR=str(make_driver.folder), WORKER_LOCK_WAIT_S="0.2")


@pytest.fixture
def host(make_host):
    """One such host."""
    return make_host()


def within(event_s, host, name, data):
    """Run an event that has so much time."""
    with deadline.bound(Deadline(event_s, event_s)):
        return host.run(name, data)


def wait_actions(driver, count, name="vol1"):
    """Until the driver got so many calls about a volume."""
    wait_until(lambda: len(driver.actions(name)) >= count, 20, f"{count} calls")


# -- time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["Capabilities", "Create", "Attach", "Mount"])
@pytest.mark.parametrize("fault", [Fault.HANG, Fault.DRIP])
def test_a_driver_that_hangs_costs_no_more_than_the_events_time(
    host, engine, make_driver, action, fault
):
    """At any step; the error is temporary and names the driver (B.3)."""
    make_driver().fault(fault, action)
    data = factories.instance_data(None, **with_volumes(volume("vol1"), binds=["vol1:/data"]))
    began_s = time.monotonic()
    with pytest.raises(StorageDriverSlowError, match="driver rancher-nfs has not finished with"):
        within(EVENT_S, host, START, data)
    assert time.monotonic() - began_s < allowed_s(EVENT_S)
    assert engine.containers == {}


@pytest.mark.parametrize("name", [ACTIVATE, REMOVE, "volume.remove"])
def test_other_events_about_volumes_end_in_time_too(host, make_driver, name):
    """They wait for the same drivers (B.3)."""
    make_driver().fault(Fault.HANG)
    with pytest.raises(StorageDriverSlowError):
        within(EVENT_S, host, name, map_of("vol1"))


def test_a_call_ends_after_the_time_of_the_setting(make_host, make_driver):
    """Also without an event that waits: the volume becomes free again (B.3)."""
    driver, host = make_driver(), make_host(WORKER_STORAGE_TIMEOUT_S="0.3")
    driver.fault(Fault.HANG, "Create")
    for _ in range(2):
        with pytest.raises(StorageDriverSlowError, match=r"did not answer within 0\.\d s"):
            host.run(ACTIVATE, map_of("vol1"))


def test_a_slow_driver_is_waited_for(host, make_driver):
    """Within the time of the event (B.3)."""
    driver = make_driver()
    driver.slow_s = 0.5
    driver.fault(Fault.SLOW)
    assert within(30, host, ACTIVATE, map_of("vol1")) == REPLY


# -- one at a time ---------------------------------------------------------------------------------


def test_a_create_that_hangs_is_not_called_again(host, make_driver):
    """Retries wait for the first call, on every worker of the host, and then find the volume (B.3).

    The call goes on after the end of its event.
    """
    driver = make_driver()
    driver.fault(Fault.HANG, "Create")
    for _ in range(4):
        with pytest.raises(StorageDriverSlowError):
            within(EVENT_S, host, ACTIVATE, map_of("vol1"))
    assert driver.actions() == ["Capabilities", "Create"]
    driver.heal()
    wait_until(lambda: "vol1" in driver.created, 20, "the end of the call")
    assert run_until_free(host, ACTIVATE, map_of("vol1")) == REPLY
    assert driver.most_at_once["Create", "vol1"] == 1


def test_a_retry_says_that_the_driver_still_works(host, make_driver):
    """And not that some event has a lock."""
    make_driver().fault(Fault.HANG, "Create")
    with pytest.raises(StorageDriverSlowError, match="has not finished with volume vol1"):
        within(EVENT_S, host, ACTIVATE, map_of("vol1"))
    with pytest.raises(StorageDriverSlowError, match="still works on volume vol1 for an earlier"):
        within(EVENT_S, host, REMOVE, map_of("vol1"))


def test_a_start_goes_on_where_the_hanging_call_ended(host, engine, make_driver):
    """Attach and Mount follow the Create, although its event has ended (B.3)."""
    driver = make_driver()
    data = factories.instance_data(None, **with_volumes(volume("vol1"), binds=["vol1:/data"]))
    driver.fault(Fault.HANG, "Create")
    with pytest.raises(StorageDriverSlowError):
        within(EVENT_S, host, START, data)
    driver.heal()
    wait_until(lambda: driver.folder_of("vol1").is_dir(), 20, "the mount")
    run_until_free(host, START, data)
    (container,) = engine.containers.values()
    assert container["HostConfig"]["Binds"] == [f"{driver.folder_of('vol1')}:/data:rw"]
    assert max(driver.most_at_once.values()) == 1


def test_starts_that_share_a_volume_take_turns(make_host, engine, make_driver):
    """On two workers of a host at once (B.3)."""
    driver = make_driver()
    driver.slow_s = 0.02
    driver.fault(Fault.SLOW)
    hosts = [make_host(WORKER_LOCK_WAIT_S="20") for _ in range(2)]

    def start(number):
        changes = with_volumes(volume("vol1"), binds=["vol1:/data"])
        uuid = f"uuid-{number}"
        data = factories.instance_data(None, uuid=uuid, name=uuid, **changes)
        return hosts[number % 2].run(START, data)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(start, range(6)))
    assert len(engine.containers) == 6
    assert max(driver.most_at_once.values()) == 1


def test_a_driver_that_hangs_does_not_take_all_slots(make_host, make_driver):
    """A quarter of them wait for it; other events go back to the queue at once (B.3)."""
    driver = make_driver("rancher-efs")
    driver.fault(Fault.HANG)
    host = make_host(WORKER_CONCURRENCY="8")

    def ask(number):
        with pytest.raises(StorageDriverSlowError) as caught:
            within(EVENT_S * 2, host, ACTIVATE, map_of(f"v{number}", "rancher-efs"))
        return "has to wait" in caught.value.message

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(ask, range(8))) == [False] * 2 + [True] * 6
    assert len(driver.calls) == 2


def run_until_free(host, name, data):
    """Run an event as the queue does: again while the last call about the volume still runs."""
    ends_s = time.monotonic() + 20
    while True:
        try:
            return within(10, host, name, data)
        except StorageDriverSlowError:
            assert time.monotonic() < ends_s


# -- secrets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["flex", "local"])
@pytest.mark.parametrize("quoted", ["{token}", '{{"value":"{token}"}}', "Bearer {token}: expired"])
def test_a_token_is_in_no_error(host, engine, make_driver, capfd, scope, quoted):
    """A secrets volume has it in its options, and the driver or the Engine quotes it (B.3)."""
    driver = make_driver("rancher-secrets", scope=scope)
    driver.words = quoted.format(token=TOKEN)
    driver.fault(Fault.FAIL, "Attach")
    engine.script("POST", "/volumes/create", Answer(500, {"message": f"create: {driver.words}"}))
    one = volume("vol1", "rancher-secrets", SECRET_OPTIONS)
    data = factories.instance_data(None, **with_volumes(one, binds=["vol1:/run/secrets"]))
    with pytest.raises(WorkerError) as caught:
        host.run(START, data)
    assert TOKEN not in caught.value.message
    assert TOKEN[20:] not in str(capfd.readouterr())
    assert "***" in caught.value.message
    assert driver.calls[-1].body["Opts"] == SECRET_OPTIONS


# -- the whole system ------------------------------------------------------------------------------


@pytest.fixture
def system(make_system, make_driver):
    """A system of its own: its worker knows the test's drivers."""
    return make_system(worker={"WORKER_STORAGE_DIR": str(make_driver.folder)})


def activate(name="vol1", driver="rancher-nfs", options=None):
    """An instance, and the event that starts it with a volume of a driver."""
    instance = new_instance()
    event = sample.instance_activate(instance)
    host_map = event.data["instanceHostMap"]
    changes = with_volumes(volume(name, driver, options), binds=[f"{name}:/data"])
    host_map["instance"]["data"]["fields"].update(changes["data"]["fields"])
    host_map["instance"]["volumesFromDataVolumeMounts"] = changes["volumesFromDataVolumeMounts"]
    return instance, event


def test_events_wait_in_the_queue_for_a_driver(system, make_driver):
    """Its container starts after those that need it; and it hangs, and it refuses (B.3)."""
    # Not there yet: the event is retried, and succeeds as soon as the driver listens.
    instance, event = activate()
    waiting = system.send(event)
    wait_until(lambda: codes(system, waiting)[:1] == ["storage-driver-absent"], 20, "a first try")
    driver = make_driver()
    call = system.cattle.wait(waiting, 40)
    system.assert_answered_once(call, instance)
    (container,) = system.containers_of(instance)
    assert container["HostConfig"]["Binds"] == [f"{driver.folder_of('vol1')}:/data:rw"]

    # It hangs: an error in time, and cattle's next event finds what the first one began.
    driver.fault(Fault.HANG, "Create")
    instance, event = activate("vol2")
    call = system.ask(event, timeout_ms=6_000)
    assert (call.state, "rancher-nfs has not finished" in call.message) == ("error", True)
    again = system.send(event)
    wait_until(lambda: codes(system, again)[:1] == ["storage-driver-slow"], 20, "a first try")
    assert driver.actions("vol2") == ["Capabilities", "Create"]
    driver.heal()
    system.assert_answered_once(system.cattle.wait(again, 40), instance)
    assert driver.most_at_once["Create", "vol2"] == 1

    # The worker dies meanwhile: the next one asks anew, and makes one container.
    driver.fault(Fault.HANG, "Create")
    instance, event = activate("vol4")
    killed = system.send(event)
    wait_until(lambda: "Create" in driver.actions("vol4"), 20, "the Create")
    system.worker.kill()
    system.restart_worker()
    wait_until(lambda: driver.actions("vol4").count("Create") == 2, 20, "the next Create")
    driver.heal()
    system.assert_answered_once(system.cattle.wait(killed, 40), instance)

    # It refuses: final, and without the token, in no line of any program.
    secrets = make_driver("rancher-secrets")
    secrets.words = f"token {TOKEN} is not known"
    secrets.fault(Fault.FAIL, "Mount")
    call = system.ask(activate("vol3", "rancher-secrets", SECRET_OPTIONS)[1])
    assert call.state == "error"
    assert "driver rancher-secrets answered 500: token *** is not known" in call.message
    printed = system.worker.output() + system.bridge.output()
    assert TOKEN not in printed
    assert TOKEN not in json.dumps(call.reply)

    # Cattle's name for the removal of a volume that was never mounted.
    driver.removing.add("vol2")
    removed = system.call("volume.remove", map_of("vol2"), resource_type="volumeStoragePoolMap")
    assert removed.state == "success", removed.message
    assert "vol2" not in driver.created


def codes(system, event_id):
    """The codes of the tries of an event that did not succeed."""
    done = [one for one in facts(system.worker, "event.done") if one["event_id"] == event_id]
    return [one["code"] for one in done if one["code"]]
