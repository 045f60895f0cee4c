"""cowpoke's own containers on the real Engine: no event stops, removes or forgets them."""

import pytest

from tests import factories
from worker.errors import ProtectedContainerError

PARTS = ["bridge", "worker", "redis"]


@pytest.fixture
def part(host, new_instance, containers_of):
    """Start a container of the installation: its instance data."""

    def make(name):
        data = new_instance({"labels": {"io.cowpoke.part": name}})
        host.run("compute.instance.activate", data)
        return data

    return make


def events(data, docker_id):
    """Every event that would stop or remove the container."""
    instance = data["instanceHostMap"]["instance"]
    root = {
        **factories.volume_data({}, deviceNumber=0, instance=instance),
        "processData": {"containerNoOpEvent": False},
    }
    force_stop = {"instanceForceStop": {"kind": "docker", "id": docker_id}}
    return {
        "compute.instance.deactivate": {**data, "processData": {"timeout": 0}},
        "compute.instance.remove": data,
        "compute.instance.force.stop": force_stop,
        "storage.volume.remove": root,
    }


@pytest.mark.parametrize("name", PARTS)
def test_no_event_stops_or_removes_a_part_of_the_installation(host, part, containers_of, name):
    """Each is refused with a reason, and the container runs on (parity B.6, C 18)."""
    data = part(name)
    (before,) = containers_of(data)
    for event, payload in events(data, before["Id"]).items():
        with pytest.raises(ProtectedContainerError, match=f"cowpoke's own {name} and is not"):
            host.run(event, payload)
    (after,) = containers_of(data)
    assert after["State"] == before["State"]


def test_a_part_found_by_its_docker_id_is_protected_too(host, part, containers_of):
    """Cattle may know it as a native container (parity B.6, A 11.6)."""
    data = part("redis")
    (found,) = containers_of(data)
    native = factories.instance_data(
        {}, uuid="another", externalId=found["Id"], nativeContainer=True
    )
    with pytest.raises(ProtectedContainerError):
        host.run("compute.instance.remove", native)
    assert containers_of(data)[0]["State"]["Running"]


def test_a_container_of_users_is_not_protected(host, new_instance, containers_of):
    """The label is needed, a similar name is not enough (parity B.6)."""
    data = new_instance({"labels": {"io.cowpoke.other": "redis"}})
    host.run("compute.instance.activate", data)
    assert host.run("compute.instance.remove", data) == {}
    assert containers_of(data) == []
