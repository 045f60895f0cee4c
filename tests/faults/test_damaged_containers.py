"""A container that the Engine lists, stops and removes, and cannot inspect any more."""

import pytest

from tests import factories
from tests.faults.scripted_engine import Answer
from worker.errors import EngineUnavailableError, ProtectedContainerError

ID = "a" * 64
INSPECT = f"/containers/({ID}|r-web)/json"
DAMAGED = Answer(500, {"message": "readlink /var/lib/docker/overlay2/l: no such file"})


@pytest.fixture(autouse=True)
def container(engine):
    """Put one running container there whose inspect fails for ever."""
    engine.add_container(ID, name="r-web", uuid=factories.UUID, running=True)
    engine.script("GET", INSPECT, *[DAMAGED] * 99)
    return engine.containers[ID]


def native(**changes):
    """An instance that cattle knows by its Docker id only."""
    return factories.instance_data({}, uuid="other", externalId=ID, nativeContainer=True, **changes)


@pytest.mark.parametrize("data", [factories.instance_data(), native()])
def test_damaged_container_is_removed(engine, host, data):
    """By its list entry, and its volumes stay (W 19)."""
    assert host.run("compute.instance.remove", data) == {}
    assert engine.containers == {}


def test_damaged_container_goes_with_its_root_volume(engine, host):
    """The way of a 1.6 server to remove a container (W 19)."""
    instance = factories.instance_data()["instanceHostMap"]["instance"]
    host.run("storage.volume.remove", factories.volume_data(deviceNumber=0, instance=instance))
    assert engine.containers == {}


@pytest.mark.parametrize("data", [factories.instance_data(), native()])
def test_damaged_container_is_stopped_and_reported_by_its_list_entry(host, container, data):
    """The reply has the list entry, and null where the inspect would be (W 19, A 3.15)."""
    reply = host.run("compute.instance.deactivate", data)
    assert container["State"]["Status"] == "exited"
    told = reply["instanceHostMap"]["instance"]
    assert told["externalId"] == ID
    assert told["+data"]["dockerInspect"] is None
    assert told["+data"]["dockerContainer"]["Id"] == ID


def test_damaged_container_is_force_stopped(host, container):
    """An id is all the event has (W 19, A 11.8)."""
    host.run("compute.instance.force.stop", {"instanceForceStop": {"kind": "docker", "id": ID}})
    assert container["State"]["Status"] == "exited"


def test_damaged_part_of_the_installation_is_protected(engine, host, container):
    """The labels of the list are as good as those of an inspect (W 19, C 18)."""
    container["Config"]["Labels"] = {"io.cowpoke.part": "redis"}
    force_stop = {"instanceForceStop": {"kind": "docker", "id": ID}}
    for name, data in (
        ("compute.instance.remove", native()),
        ("compute.instance.deactivate", native()),
        ("compute.instance.force.stop", force_stop),
    ):
        with pytest.raises(ProtectedContainerError, match="cowpoke's own redis"):
            host.run(name, data)
    assert engine.containers[ID]["State"]["Running"]


def test_damaged_container_is_not_started(engine, host):
    """Its state cannot be told: an error that is tried again, and nothing is made (W 19)."""
    with pytest.raises(EngineUnavailableError, match="readlink"):
        host.run("compute.instance.activate", factories.instance_data())
    assert list(engine.containers) == [ID]


def test_ill_engine_is_no_damaged_container(engine, host):
    """With neither list nor inspect nothing is known: nothing is removed (W 19, C 8)."""
    engine.script("GET", "/containers/json", *[Answer(500, {"message": "ill"})] * 9)
    with pytest.raises(EngineUnavailableError, match="ill"):
        host.run("compute.instance.remove", factories.instance_data())
    assert ID in engine.containers
