"""An Engine that hangs: with the default settings each event is answered in time, and says why."""

import contextvars
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from simulator import sample
from simulator.client import Call
from simulator.rig.processes import wait_until
from tests import factories
from tests.faults.faulty_system import facts, new_instance
from tests.faults.scripted_engine import Drip, Drop, Hang, Held, Pull
from worker import deadline
from worker.deadline import Deadline
from worker.errors import EngineUnavailableError, LockHeldError

ACTIVATE = "compute.instance.activate"
CREATE = ("POST", "/containers/create")
START = ("POST", "/containers/.*/start")
LIST = ("GET", "/containers/json")
INSPECT = ("GET", "/containers/[^/]+/json")
TIMEOUT_MS = 8_000
OTHER = "example/other:2"


@pytest.fixture(scope="module")
def system(make_system):
    """A system with the default settings."""
    return make_system()


# -- the whole system ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "wanted", "fault"),
    [
        (CREATE, "cannot create container r-", Hang()),
        (START, "cannot start container", Hang()),
        (LIST, "cannot find the container of instance", Hang()),
        (INSPECT, "cannot inspect container", Hang()),
        (CREATE, "cannot create container r-", Drip()),
    ],
    ids=["create", "start", "list", "inspect", "drip"],
)
def test_hung_call_is_answered_before_the_deadline(system, scripted, call, wanted, fault):
    """The error names the call and how long it hung; bytes that drip do not prolong it (W 26)."""
    scripted.script(*call, *[fault] * 9)
    answer = system.ask(sample.instance_activate(new_instance()), timeout_ms=TIMEOUT_MS)
    assert answer.state == "error", "answered after the timeout of cattle"
    assert wanted in answer.message
    assert "the Docker Engine did not answer within " in answer.message
    assert answer.elapsed_ms < TIMEOUT_MS


@pytest.mark.parametrize("event", ["deactivate", "remove"])
def test_hung_stop_and_removal_are_answered_before_the_deadline(system, scripted, event):
    """A stop waits longer than the container's own time, and not longer than the event (W 26)."""
    instance = new_instance()
    assert system.ask(sample.instance_activate(instance)).state == "success"
    scripted.script("POST", "/containers/.*/stop", *[Hang()] * 9)
    scripted.script("DELETE", "/containers/.*", *[Hang()] * 9)
    wish = {
        "deactivate": sample.instance_deactivate(instance, stop_timeout_s=1),
        "remove": sample.instance_remove(instance),
    }[event]
    answer = system.ask(wish, timeout_ms=TIMEOUT_MS)
    assert answer.state == "error"
    assert "did not answer within" in answer.message


def downloading(steps, every_s=0.5):
    """A pull whose bytes move."""
    line = {"status": "Downloading", "id": "layer"}
    lines = [{**line, "progressDetail": {"current": n, "total": 100}} for n in range(1, steps + 1)]
    return Pull(lines, every_s=every_s)


def outcomes_once_running(system, instance):
    """How each try of an instance's activate ended, once its container runs.

    Cattle itself is not waited for: it counts progress for images only.
    """

    def running():
        return [one for one in system.containers_of(instance) if one["State"]["Running"]]

    wait_until(running, 40, "the container to run")
    wait_until(lambda: outcomes(system)[-1:] == ["success"], 20, "the end of the event")
    return outcomes(system)


def outcomes(system):
    """How each try so far ended."""
    return [fact["outcome"] for fact in facts(system.worker, "event.done")]


def test_image_that_is_pulled_longer_than_its_timeout_is_a_success(system, scripted):
    """Cattle hears of it and waits (W 26)."""
    scripted.script("POST", "/images/create", downloading(24))
    event = sample.image_activate(new_instance(image="example/long:0"))
    answer = system.ask(event, timeout_ms=5_000)
    assert answer.state == "success", answer.message
    assert answer.elapsed_ms > 2 * 5_000


def test_long_pull_leaves_time_for_create_and_start(system, scripted):
    """It takes longer than the event's timeout: each progress moves the deadline (W 26)."""
    scripted.script("POST", "/images/create", downloading(24))
    instance = new_instance(image="example/long:1")
    system.send(sample.instance_activate(instance), timeout_ms=5_000)
    assert outcomes_once_running(system, instance)[-2:] == ["moved", "success"]


def test_long_pull_leaves_time_for_a_retry(system, scripted):
    """A start that fails for a moment after it is tried again (W 26)."""
    scripted.script("POST", "/images/create", downloading(16))
    scripted.script(*START, Drop())
    instance = new_instance(image="example/long:2")
    system.send(sample.instance_activate(instance), timeout_ms=5_000)
    assert outcomes_once_running(system, instance)[-3:] == ["moved", "retried", "success"]


def test_silent_pull_is_answered_before_the_deadline(system, scripted):
    """No bytes are no progress (W 26)."""
    stalled = Pull(({"status": "Pulling from x", "id": "latest"},), arrives=False, stalls=True)
    scripted.script("POST", "/images/create", stalled)
    instance = new_instance(image="example/silent:1")
    answer = system.ask(sample.instance_activate(instance), timeout_ms=TIMEOUT_MS)
    assert answer.state == "error"
    assert "Pulling example/silent:1 did not end within the time of this event" in answer.message


def test_pull_goes_on_after_the_event_that_began_it(system, scripted):
    """A long silent step is not canceled with its event; a later event finds the image (W 26)."""
    silent = threading.Event()
    name = "example/patience:1"
    scripted.script("POST", "/images/create", Pull(({"status": "Pulling from x"},), wait=silent))
    pulls = scripted.count("POST", "/images/create")
    instance = new_instance(image=name)
    first = system.ask(sample.instance_activate(instance), timeout_ms=5_000)
    assert (first.state, name in first.message) == ("error", True)
    second = system.send(sample.instance_activate(instance), timeout_ms=20_000)
    system.wait_claimed(second)
    silent.set()
    assert system.cattle.wait(second, 30).state == "success"
    assert scripted.count("POST", "/images/create") == pulls + 1


def test_long_stop_is_reported_while_it_lasts(system, scripted):
    """A container that was given more time than the event has prolongs it (W 26, W 3)."""
    instance = new_instance()
    assert system.ask(sample.instance_activate(instance)).state == "success"
    held = Held()
    scripted.script("POST", "/containers/.*/stop", held)
    event = sample.instance_deactivate(instance, stop_timeout_s=60)
    event_id = system.send(event, timeout_ms=12_000)
    held.wait_reached()
    began_s = time.monotonic()
    try:
        wait_until(lambda: time.monotonic() - began_s > 13, 30, "the first deadline to pass")
    finally:
        held.let_go()
    wait_until(lambda: outcomes(system)[-2:] == ["success"] * 2, 20, "the end of the stop")
    call = Call.of_record(system.cattle.record(event_id))
    assert call.progress
    assert all("stopping container" in one["transitioningMessage"] for one in call.progress)


# -- single calls ----------------------------------------------------------------------------------


@pytest.fixture
def hurry():
    """Run something with a deadline: `hurry(left_s)` as a context."""

    def until(left_s, timeout_s=0.0):
        return deadline.bound(Deadline(remaining_s=left_s, timeout_s=timeout_s))

    return until


@pytest.mark.parametrize("fault", [Hang(), Drip(every_s=0.05)], ids=["hang", "drip"])
@pytest.mark.parametrize("call", [CREATE, START, LIST, INSPECT, ("GET", "/version")])
def test_call_ends_with_the_event(engine, host, hurry, call, fault):
    """Whatever it is and however it hangs (W 26)."""
    engine.script(*call, *[fault] * 9)
    began_s = time.monotonic()
    with hurry(0.7), pytest.raises(EngineUnavailableError, match="did not answer within "):
        host.run(ACTIVATE, factories.instance_data())
    assert time.monotonic() - began_s < 5


def test_no_call_begins_after_the_deadline(engine, host, hurry):
    """Its answer would come too late (W 26)."""
    with hurry(0), pytest.raises(EngineUnavailableError, match="no time is left"):
        host.run(ACTIVATE, factories.instance_data())
    assert engine.requests == []


def test_wait_for_a_lock_ends_with_the_event(host, hurry):
    """A busy resource is waited for within the event's time (W 26)."""
    locks = host.host.locks
    with locks.hold("instance:x"):
        began_s = time.monotonic()
        with hurry(0.2), pytest.raises(LockHeldError), locks.hold("instance:x", wait_s=30):
            pass
    assert time.monotonic() - began_s < 5


def test_wait_for_somebody_elses_pull_ends_with_the_event(engine, make_host, hurry):
    """Its holder may go on for hours (W 26)."""
    host = make_host()
    with host.host.locks.hold("pull:example/other:2"):
        began_s = time.monotonic()
        with hurry(0.7), pytest.raises(LockHeldError, match="Pulling example/other:2 did not"):
            host.run("storage.image.activate", factories.image_data(full_name=OTHER))
    assert time.monotonic() - began_s < 5


def test_progress_prolongs_a_read_that_waits_already(engine, host):
    """The stop of a patient container is silent; its reports are not (W 26)."""
    engine.add_container("a" * 64, name="r-web", uuid=factories.UUID, running=True)
    held = Held()
    engine.script("POST", "/containers/.*/stop", held)
    of_event = Deadline(remaining_s=3.0, timeout_s=60.0)
    began_s = time.monotonic()
    with ThreadPoolExecutor(1) as pool, deadline.bound(of_event):
        context = contextvars.copy_context()
        data = factories.instance_data(processData={"timeout": 0})
        run = pool.submit(context.run, host.run, "compute.instance.deactivate", data)
        held.wait_reached()
        of_event.restart()
        wait_until(lambda: time.monotonic() - began_s > 1.5, 10, "the first deadline to pass")
        held.let_go()
        run.result(20)
    assert not engine.containers["a" * 64]["State"]["Running"]
