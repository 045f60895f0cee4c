"""Rancher's storage drivers: what is called when, in which order, and what of it fails (B.3).

Row numbers (A, B) refer to docs/parity.md.
"""

import pytest

from simulator.storage_protocol import Fault
from tests import factories
from tests.drivers import DRIVERS, OPTIONS, OTHERS, REPLY, map_of, volume, with_volumes
from tests.faults.scripted_engine import Answer
from worker.errors import (
    EngineError,
    EngineUnavailableError,
    StorageDriverAbsentError,
    StorageDriverError,
)
from worker.host.name_store import orphan_volumes

pytestmark = pytest.mark.usefixtures("quick_removals")

START = "compute.instance.activate"
ACTIVATE = "storage.volume.activate"
REMOVALS = ("storage.volume.remove", "volume.remove")
FLEX = ["Capabilities", "Create", "Attach", "Mount"]
ONE = "/volumes/vol1"
CREATE = ("POST", "/volumes/create")
DELETE = ("DELETE", ONE)


@pytest.fixture
def host(make_host, make_driver):
    """A host whose drivers are those of the test."""
    return make_host(WORKER_STORAGE_DIR=str(make_driver.folder))


def started(host, engine, data):
    """Run the activate; the bind mounts of the container."""
    host.run(START, data)
    (container,) = engine.containers.values()
    assert container["State"]["Running"]
    return container["HostConfig"].get("Binds", [])


def instance(*volumes, binds, **changes):
    """The data of an instance with volumes."""
    return factories.instance_data(None, **with_volumes(*volumes, binds=binds, **changes))


# -- start of a container: flex --------------------------------------------------------------------


@pytest.mark.parametrize("name", DRIVERS)
def test_a_flex_volume_is_mounted_by_its_driver_and_bound_from_there(
    host, engine, make_driver, name
):
    """Capabilities once, then Create, Attach, Mount, each with the options; Docker is not asked."""
    driver = make_driver(name)
    data = instance(volume("vol1", name), binds=["vol1:/data:ro"])
    assert started(host, engine, data) == [f"{driver.folder_of('vol1')}:/data:ro"]
    assert driver.actions() == FLEX
    assert [one.body for one in driver.calls] == [{"Name": "vol1", "Opts": OPTIONS}] * 4
    assert [at for _, at in engine.requests if "volumes" in at] == []


def test_each_text_of_a_volume_is_bound_with_its_own_mode(host, engine, make_driver):
    """Without a mode `rw`; one part only is skipped; other volumes stay as they are (B.3)."""
    folder = make_driver().folder_of("vol1")
    binds = ["vol1:/a", "vol1:/b:ro", "vol1:/c:z", "vol1", "/anonymous", "other:/d", "/e:/f"]
    data = instance(volume("vol1"), binds=binds)
    assert started(host, engine, data) == [
        *(f"{folder}:/a:rw", f"{folder}:/b:ro", f"{folder}:/c:z", "other:/d:rw", "/e:/f:rw")
    ]
    (container,) = engine.containers.values()
    assert container["Body"]["Volumes"] == {"/anonymous": {}}


def test_volumes_of_several_drivers_are_mounted_in_order(host, engine, make_driver):
    """Each by its own driver."""
    nfs, ebs = make_driver("rancher-nfs"), make_driver("rancher-ebs")
    volumes = [volume("a"), volume("b", "rancher-ebs"), volume("c")]
    data = instance(*volumes, binds=["a:/a", "b:/b", "c:/c"])
    folders = [nfs.folder_of("a"), ebs.folder_of("b"), nfs.folder_of("c")]
    assert started(host, engine, data) == [
        f"{folder}:/{name}:rw" for folder, name in zip(folders, "abc", strict=True)
    ]
    assert (nfs.actions("a"), ebs.actions("b"), nfs.actions("c")) == (FLEX, FLEX, FLEX)


@pytest.mark.parametrize("options", [{}, {"size": 10, "encrypted": True, "kms": None}])
def test_options_arrive_as_texts(host, engine, make_driver, options):
    """Empty ones are left out (B.3)."""
    driver = make_driver()
    started(host, engine, instance(volume("vol1", options=options), binds=["vol1:/data"]))
    texts = {"Opts": {"size": "10", "encrypted": "true", "kms": ""}} if options else {}
    assert [one.body for one in driver.calls] == [{"Name": "vol1", **texts}] * 4


def test_a_container_that_is_started_again_gets_its_mount_again(host, engine, make_driver):
    """After a reboot of the host it would have an empty folder (B.3)."""
    driver, data = make_driver(), instance(volume("vol1"), binds=["vol1:/data"])
    started(host, engine, data)
    host.run("compute.instance.deactivate", data)
    started(host, engine, data)
    assert driver.actions() == FLEX * 2


def test_a_running_container_costs_no_call(host, engine, make_driver):
    """It is only reported."""
    driver, data = make_driver(), instance(volume("vol1"), binds=["vol1:/data"])
    for _ in range(3):
        started(host, engine, data)
    assert driver.actions() == FLEX


def test_stop_and_removal_of_the_container_do_not_ask_the_driver(host, engine, make_driver):
    """It unmounts by itself (B.3)."""
    driver, data = make_driver(), instance(volume("vol1"), binds=["vol1:/data"])
    started(host, engine, data)
    for name in ("deactivate", "remove"):
        host.run(f"compute.instance.{name}", data)
    assert engine.containers == {}
    assert driver.actions() == FLEX


def test_a_start_that_fails_does_not_unmount(host, engine, make_driver):
    """Its container is removed, the next try mounts again (B.3)."""
    driver, data = make_driver(), instance(volume("vol1"), binds=["vol1:/data"])
    engine.script("POST", "/containers/.*/start", Answer(500, {"message": "no such program"}))
    with pytest.raises(EngineError, match="no such program"):
        host.run(START, data)
    assert engine.containers == {}
    started(host, engine, data)
    assert driver.actions() == FLEX * 2


# -- start of a container: not flex ----------------------------------------------------------------


@pytest.mark.parametrize("name", DRIVERS)
@pytest.mark.parametrize("scope", ["local", "global", ""])
def test_another_scope_means_docker_and_attach(host, engine, make_driver, name, scope):
    """Inspect, create with options, then Attach; bound by its name (B.3)."""
    driver = make_driver(name, scope=scope)
    engine.script(*CREATE, Answer(201, {"Name": "vol1"}))
    data = instance(volume("vol1", name), binds=["vol1:/data:ro"])
    seen = []
    driver.on_call = lambda one: seen.append((one.action, engine.count(*CREATE)))
    assert started(host, engine, data) == ["vol1:/data:ro"]
    assert seen == [("Capabilities", 0), ("Attach", 1)]
    assert driver.calls[-1].body == {"Name": "vol1", "Opts": OPTIONS}
    assert engine.count("GET", ONE) == 1


def test_a_volume_that_docker_has_is_attached_all_the_same(host, engine, make_driver):
    """Nothing is created (B.3)."""
    driver = make_driver(scope="local")
    engine.script("GET", ONE, Answer(200, {"Name": "vol1", "Mountpoint": "/x"}))
    started(host, engine, instance(volume("vol1"), binds=["vol1:/data"]))
    assert driver.actions() == ["Capabilities", "Attach"]
    assert engine.count(*CREATE) == 0


@pytest.mark.parametrize("action", ["Capabilities", "Attach"])
def test_a_driver_without_an_action_is_one_of_dockers(host, engine, make_driver, action):
    """4xx with JSON: no scope, nothing to attach (B.3)."""
    driver = make_driver(scope="local")
    driver.fault(Fault.UNSUPPORTED, action)
    engine.script(*CREATE, Answer(201, {"Name": "vol1"}))
    data = instance(volume("vol1"), binds=["vol1:/data"])
    assert started(host, engine, data) == ["vol1:/data:rw"]
    assert driver.actions() == ["Capabilities", "Attach"]


@pytest.mark.parametrize("name", OTHERS)
def test_another_driver_is_never_asked(host, engine, make_driver, name):
    """Docker alone, even where a socket of that name listens: rancher-longhorn (B.3)."""
    driver = make_driver(name)
    engine.script(*CREATE, Answer(201, {"Name": "vol1"}))
    data = instance(volume("vol1", name), binds=["vol1:/data"])
    assert started(host, engine, data) == ["vol1:/data:rw"]
    assert driver.calls == []
    assert engine.count(*CREATE) == 1


# -- failures of a start ---------------------------------------------------------------------------


@pytest.mark.parametrize("action", FLEX)
@pytest.mark.parametrize("fault", [Fault.FAIL, Fault.FAIL_200, Fault.TEXT, Fault.SILENT_500])
def test_a_refusal_fails_the_start_in_the_drivers_words(host, engine, make_driver, action, fault):
    """At any step; no container is created, and the next start goes on (B.3)."""
    driver, data = make_driver(), instance(volume("vol1"), binds=["vol1:/data"])
    driver.fault(fault, action)
    with pytest.raises(StorageDriverError, match="storage driver rancher-nfs answered") as caught:
        host.run(START, data)
    assert type(caught.value) is StorageDriverError
    assert driver.actions() == FLEX[: FLEX.index(action) + 1]
    assert engine.containers == {}
    driver.heal()
    started(host, engine, data)


@pytest.mark.parametrize("fault", [Fault.EMPTY, Fault.UNSUPPORTED])
def test_a_mount_without_a_mount_point_fails_the_start(host, engine, make_driver, fault):
    """A bind of nothing would be another one (B.3)."""
    make_driver().fault(fault, "Mount")
    with pytest.raises(StorageDriverError, match="absolute path of the mount point, found ''"):
        host.run(START, instance(volume("vol1"), binds=["vol1:/data"]))
    assert engine.containers == {}


def test_a_driver_that_is_not_up_yet_is_waited_for(host, engine, make_driver):
    """Temporary, with a code of its own; it works once the driver is there (B.3)."""
    data = instance(volume("vol1"), binds=["vol1:/data"])
    with pytest.raises(StorageDriverAbsentError, match="socket file not found at"):
        host.run(START, data)
    driver = make_driver()
    driver.stop(leave_socket=True)
    with pytest.raises(StorageDriverAbsentError, match="nobody listens at"):
        host.run(START, data)
    driver.start()
    assert started(host, engine, data) == [f"{driver.folder_of('vol1')}:/data:rw"]


# -- storage.volume.activate -----------------------------------------------------------------------


@pytest.mark.parametrize("name", DRIVERS)
def test_activate_creates_a_flex_volume_by_its_name_alone(host, engine, make_driver, name):
    """The driver has the options in Rancher (B.3)."""
    driver = make_driver(name)
    assert host.run(ACTIVATE, map_of("vol1", name)) == REPLY
    assert [(one.action, one.body) for one in driver.calls] == [
        ("Capabilities", {"Name": "vol1", "Opts": OPTIONS}),
        ("Create", {"Name": "vol1"}),
    ]
    assert engine.requests == []


def test_activate_of_another_scope_is_dockers(host, engine, make_driver):
    """Without Attach: nothing starts yet (B.3)."""
    driver = make_driver(scope="local")
    engine.script(*CREATE, Answer(201, {"Name": "vol1"}))
    assert host.run(ACTIVATE, map_of("vol1")) == REPLY
    assert driver.actions() == ["Capabilities"]
    assert engine.count(*CREATE) == 1


def test_deactivate_asks_nobody(host, engine, make_driver):
    """Docker and drivers have no state for it (A 13.6)."""
    driver = make_driver()
    assert host.run("storage.volume.deactivate", map_of("vol1")) == REPLY
    assert (driver.calls, engine.requests) == ([], [])


# -- removal ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", REMOVALS)
@pytest.mark.parametrize("name", DRIVERS)
def test_a_flex_volume_that_docker_does_not_know_is_removed_by_socket(
    host, engine, make_driver, name, event
):
    """By its name alone; the second removal is an easy success (B.3)."""
    driver = make_driver(name)
    driver.created["vol1"] = {}
    driver.removing.add("vol1")
    for _ in range(2):
        assert host.run(event, map_of("vol1", name)) == REPLY
    assert driver.created == {}
    assert driver.actions() == ["Capabilities", "Remove"] * 2
    assert driver.calls[1].body == {"Name": "vol1"}
    assert engine.count(*DELETE) == 0


@pytest.mark.parametrize("event", REMOVALS)
def test_a_flex_volume_that_docker_knows_is_removed_by_docker(host, engine, make_driver, event):
    """Docker passes it on to the driver, without force (B.3)."""
    driver = make_driver()
    engine.script("GET", ONE, Answer(200, {"Name": "vol1"}))
    engine.script(*DELETE, Answer(204, None))
    assert host.run(event, map_of("vol1")) == REPLY
    assert driver.actions() == ["Capabilities"]
    assert engine.count(*DELETE) == 1


@pytest.mark.parametrize("words", ["No such volume", "vol1: no such volume"])
def test_a_driver_that_does_not_know_the_volume_has_removed_it(host, engine, make_driver, words):
    """An easy success (B.3)."""
    driver = make_driver()
    driver.words = words
    driver.fault(Fault.FAIL, "Remove")
    assert host.run(REMOVALS[0], map_of("vol1")) == REPLY


@pytest.mark.parametrize("words", ["volume is attached. Should retry", "access denied"])
def test_what_a_flex_driver_refuses_is_passed_up(host, engine, make_driver, words):
    """Only cattle can ask again: the driver removes nothing once Rancher has forgotten it (B.3)."""
    driver = make_driver()
    driver.words = words
    driver.fault(Fault.FAIL, "Remove")
    with pytest.raises(StorageDriverError, match=words):
        host.run(REMOVALS[0], map_of("vol1"))
    assert orphan_names(host) == []


def test_a_removal_waits_for_a_driver_that_is_not_up(host, make_driver):
    """Whether the volume is flex is not known (B.3)."""
    with pytest.raises(StorageDriverAbsentError):
        host.run(REMOVALS[0], map_of("vol1"))


@pytest.mark.parametrize("event", REMOVALS)
@pytest.mark.parametrize("name", ["rancher-nfs", "rancher-longhorn", "local"])
@pytest.mark.parametrize("status", [409, 500])
def test_docker_is_asked_three_times_to_remove_then_it_is_a_success(
    host, engine, make_driver, name, status, event
):
    """The janitor has it then; cattle would ask for ever (B.3)."""
    make_driver(scope="local")
    said = Answer(status, {"message": "remove vol1: device is busy"})
    engine.script(*DELETE, *[said] * 5)
    assert host.run(event, map_of("vol1", name)) == REPLY
    assert engine.count(*DELETE) == 3
    assert orphan_names(host) == ["vol1"]


def test_a_removal_that_succeeds_at_the_third_try_leaves_no_orphan(host, engine, make_driver):
    """Docker frees a volume a moment after its container is gone (B.3)."""
    make_driver(scope="local")
    said = Answer(409, {"message": "remove vol1: volume is in use"})
    engine.script(*DELETE, said, said, Answer(204, None))
    assert host.run(REMOVALS[0], map_of("vol1")) == REPLY
    assert orphan_names(host) == []


def test_should_retry_is_passed_up_at_once(host, engine, make_driver):
    """A driver that says so wants another event (B.3)."""
    make_driver(scope="local")
    said = Answer(500, {"message": "remove vol1: still attached. Should retry"})
    engine.script(*DELETE, *[said] * 3)
    with pytest.raises(EngineError, match="Should retry"):
        host.run(REMOVALS[0], map_of("vol1"))
    assert (engine.count(*DELETE), orphan_names(host)) == (1, [])


def test_an_engine_that_is_away_is_no_refusal(host, engine, make_driver):
    """The removal is tried again from the queue (B.3)."""
    make_driver(scope="local")
    engine.script(*DELETE, Answer(503, {"message": "dockerd is starting"}))
    with pytest.raises(EngineUnavailableError):
        host.run(REMOVALS[0], map_of("vol1"))
    assert orphan_names(host) == []


def orphan_names(host):
    """Names of the volumes that are on record as left over."""
    return [name for name, _ in orphan_volumes(host.host.settings.state_dir).all()]
