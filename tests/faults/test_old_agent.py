"""The containers of the old agent, by their names: the way back, which events leave alone.

Row numbers (B) refer to docs/parity.md.
"""

import pytest

from tests import factories

OLD_AGENT = ("rancher-agent", "rancher-agent-upgrade")
OTHERS = ("rancher-agent-2", "my-rancher-agent", "r-rancher-agent", "Rancher-Agent")
DEACTIVATE = "compute.instance.deactivate"
REMOVE = "compute.instance.remove"
VOLUME_REMOVE = "storage.volume.remove"
FORCE_STOP = "compute.instance.force.stop"


def event_data(event, container_id, name):
    """The data of an event for a container that cattle knows as a native one."""
    data = factories.instance_data(uuid=name, externalId=container_id, nativeContainer=True)
    if event == FORCE_STOP:
        return {"instanceForceStop": {"kind": "docker", "id": container_id}}
    if event == VOLUME_REMOVE:
        instance = data["instanceHostMap"]["instance"]
        return factories.volume_data({}, deviceNumber=0, instance=instance)
    return data


def send(engine, host, event, name, **labels):
    """Send the event for a running container of this name; its reply, and whether it still runs."""
    container_id = (name.encode().hex() * 64)[:64]
    engine.add_container(container_id, name=name, running=True, **labels)
    reply = host.run(event, event_data(event, container_id, name))
    left = engine.containers.get(container_id)
    return reply, left is not None and left["State"]["Running"]


@pytest.mark.parametrize("name", OLD_AGENT)
@pytest.mark.parametrize("event", [DEACTIVATE, REMOVE, VOLUME_REMOVE])
def test_the_old_agent_is_spared_and_cattle_gets_a_success(engine, host, logged, event, name):
    """B.6: as the old agent did; a warning names the container and a way to do it."""
    reply, runs = send(engine, host, event, name)
    assert runs
    if event == DEACTIVATE:
        assert reply["instanceHostMap"]["instance"]["externalId"]
    else:
        gone = {"volumeStoragePoolMap": {"volume": {"format": "docker"}}}
        assert reply == ({} if event == REMOVE else gone)
    (line,) = logged("container.spared")
    assert line["container"] == name
    assert "use the docker command on the host" in line["advice"]


@pytest.mark.parametrize("name", OLD_AGENT)
def test_a_stopped_old_agent_is_not_removed(engine, host, name):
    """B.6: after a take-over it stands there, stopped, as the way back."""
    container_id = "c" * 64
    engine.add_container(container_id, name=name, running=False)
    engine.containers[container_id]["State"]["Status"] = "exited"
    for event in (DEACTIVATE, REMOVE, VOLUME_REMOVE):
        host.run(event, event_data(event, container_id, name))
    assert container_id in engine.containers


@pytest.mark.parametrize("name", OLD_AGENT)
def test_a_forced_stop_reaches_the_old_agent(engine, host, name):
    """B.6: as with the old agent; cattle sends it only for what it has removed."""
    assert send(engine, host, FORCE_STOP, name) == ({}, False)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("event", [DEACTIVATE, REMOVE, VOLUME_REMOVE, FORCE_STOP])
def test_other_names_protect_nothing(engine, host, event, name):
    """B.6: the whole name counts."""
    assert send(engine, host, event, name)[1] is False


@pytest.mark.parametrize("name", OLD_AGENT)
@pytest.mark.parametrize("event", [DEACTIVATE, REMOVE, VOLUME_REMOVE])
def test_a_container_of_cattles_own_is_no_old_agent(engine, host, event, name):
    """B.6: an event made it under this name, and another one may end it."""
    assert send(engine, host, event, name, uuid=name)[1] is False


def test_our_own_part_under_the_old_name_is_still_refused(engine, host):
    """B.6: our own containers are refused with an error, also to a forced stop."""
    container_id = "d" * 64
    engine.add_container(container_id, name="rancher-agent", running=True)
    engine.containers[container_id]["Config"]["Labels"]["io.cowpoke.part"] = "worker"
    for event in (DEACTIVATE, REMOVE, VOLUME_REMOVE, FORCE_STOP):
        with pytest.raises(Exception, match="cowpoke's own worker"):
            host.run(event, event_data(event, container_id, "rancher-agent"))
    assert engine.containers[container_id]["State"]["Running"]
