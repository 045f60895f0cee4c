"""cowpoke's own containers on the real Engine: no event stops, removes or forgets them.

Row numbers (A, B, C, W) refer to docs/parity.md.
"""

import pytest

from tests import factories
from worker.errors import ProtectedContainerError

PARTS = ["bridge", "worker", "redis"]


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
def test_no_event_stops_or_removes_a_part_of_the_installation(
    host, native_part, docker_client, name
):
    """Each is refused with a reason, and the container runs on (parity B.6, C 18)."""
    data = native_part(name)
    container_id = data["instanceHostMap"]["instance"]["externalId"]
    before = docker_client.inspect_container(container_id)
    for event, payload in events(data, container_id).items():
        with pytest.raises(ProtectedContainerError, match=f"cowpoke's own {name} and is not"):
            host.run(event, payload)
    assert docker_client.inspect_container(container_id)["State"] == before["State"]


def test_a_part_found_by_its_docker_id_is_protected_too(host, native_part, docker_client):
    """Cattle may know it under another uuid (parity B.6, A 11.6)."""
    container_id = native_part("redis")["instanceHostMap"]["instance"]["externalId"]
    native = factories.instance_data(
        {}, uuid="another", externalId=container_id, nativeContainer=True
    )
    with pytest.raises(ProtectedContainerError):
        host.run("compute.instance.remove", native)
    assert docker_client.inspect_container(container_id)["State"]["Running"]


@pytest.mark.parametrize("label", ["io.cowpoke.part", "io.cowpoke.other"])
def test_label_set_by_a_user_does_not_protect(host, new_instance, containers_of, label):
    """Every event works on a container that cattle made, whatever its labels (parity B.6, W 35)."""
    data = new_instance({"labels": {label: "redis"}})
    for number in range(4):
        host.run("compute.instance.activate", data)
        (found,) = containers_of(data)
        event, payload = list(events(data, found["Id"]).items())[number]
        host.run(event, payload)
        left = containers_of(data)
        assert left == [] or not left[0]["State"]["Running"]


def test_container_of_an_older_version_with_our_label_is_removed(
    host, new_instance, docker_client, test_image, containers_of
):
    """It carries cattle's label beside ours, so an event made it (W 35)."""
    data = new_instance()
    own = data["instanceHostMap"]["instance"]["uuid"]
    labels = {"io.cowpoke.part": "redis", "io.rancher.container.uuid": own}
    docker_client.create_container(test_image, labels=labels)
    assert host.run("compute.instance.remove", data) == {}
    assert containers_of(data) == []
