"""Volumes without a name that belong to containers which never ran, on the real Engine.

Row numbers (A, W) refer to docs/parity.md.
"""

import uuid

import docker.errors
import pytest

from simulator.rig.containers import remove_containers
from tests import factories
from worker.errors import EngineError

ACTIVATE = "compute.instance.activate"
REMOVE = "compute.instance.remove"
DEACTIVATE = "compute.instance.deactivate"
TRIES = 5  # of a cattle server, after an error


@pytest.fixture(autouse=True)  # set up first, so that containers go before their volumes
def volumes(docker_client):
    """Tell the names of the volumes that came since the test began; they go at its end."""
    before = names(docker_client)
    yield lambda: names(docker_client) - before
    for name in names(docker_client) - before:
        docker_client.remove_volume(name, force=True)


def names(client):
    """Every volume there is."""
    return {one["Name"] for one in client.volumes()["Volumes"] or ()}


def bad_command(new_instance, **fields):
    """An instance with two anonymous volumes whose start is refused."""
    given = {"dataVolumes": ["/data", "/more"], "command": ["/no/such/program"], **fields}
    return new_instance(given)


def test_failed_starts_leave_no_anonymous_volume(host, new_instance, containers_of, volumes):
    """Two volumes and a bad command, as often as cattle tries it: none is left (W 2)."""
    data = bad_command(new_instance)
    for _ in range(TRIES):
        with pytest.raises(EngineError, match="no such file"):
            host.run(ACTIVATE, data)
    assert containers_of(data) == []
    assert volumes() == set()


def test_failed_start_keeps_a_named_volume(host, new_instance, volume_name, volumes):
    """A name makes a volume somebody's (W 2)."""
    fields = {"dataVolumes": ["/data", f"{volume_name}:/named"]}
    with pytest.raises(EngineError, match="no such file"):
        host.run(ACTIVATE, bad_command(new_instance, **fields))
    assert volumes() == {volume_name}


def test_failed_start_keeps_the_volumes_of_its_source(host, new_instance, containers_of, volumes):
    """Shared volumes are another container's, also when that one does not run (W 2)."""
    source = new_instance({"dataVolumes": ["/shared"]})
    host.run(ACTIVATE, source)
    kept = volumes()
    (found,) = containers_of(source)
    own = source["instanceHostMap"]["instance"]["uuid"]
    given = {"dataVolumes": ["/data"], "command": ["/no/such/program"]}
    sharing = new_instance(given, dataVolumesFromContainers=[{"uuid": own, "name": "source"}])
    with pytest.raises(EngineError, match="no such file"):
        host.run(ACTIVATE, sharing)
    assert len(kept) == 1
    assert volumes() == kept
    assert [one["Name"] for one in found["Mounts"]] == list(kept)


def test_removed_container_that_never_ran_loses_its_anonymous_volumes(
    host, new_instance, docker_client, test_image, volumes
):
    """A worker died between create and start, and cattle gave the instance up (W 2)."""
    data = new_instance()
    unstarted(docker_client, test_image, data["instanceHostMap"]["instance"]["uuid"])
    assert len(volumes()) == 2
    host.run(REMOVE, data)
    assert volumes() == set()


def test_container_that_ran_keeps_its_anonymous_volumes(host, new_instance, volumes):
    """What it wrote is the user's (W 2, A 11.5)."""
    data = new_instance({"dataVolumes": ["/data", "/more"]})
    host.run(ACTIVATE, data)
    host.run(DEACTIVATE, {**data, "processData": {"timeout": 0}})
    host.run(REMOVE, data)
    assert len(volumes()) == 2


def test_native_container_that_never_ran_keeps_its_volumes(
    host, docker_client, test_image, volumes
):
    """A user made it, and may have copied something into it (W 2)."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    container_id = unstarted(docker_client, test_image, None, name=name)
    try:
        host.run(REMOVE, factories.instance_data({}, uuid=name, externalId=container_id))
        with pytest.raises(docker.errors.NotFound):
            docker_client.inspect_container(container_id)
    finally:
        remove_containers(docker_client, container_id)
    assert len(volumes()) == 2


def test_volumes_of_a_source_that_is_gone_are_kept(
    host, new_instance, docker_client, test_image, volumes
):
    """Nothing but the unstarted container holds them then, and they may be full of data (W 2)."""
    source = docker_client.create_container(test_image, volumes=["/shared"])["Id"]
    data = new_instance()
    sharing = docker_client.create_host_config(volumes_from=[source])
    labels = {"io.rancher.container.uuid": data["instanceHostMap"]["instance"]["uuid"]}
    docker_client.create_container(test_image, labels=labels, host_config=sharing)
    docker_client.remove_container(source, v=False)
    host.run(REMOVE, data)
    assert len(volumes()) == 1


def unstarted(client, image, instance_uuid, name=None):
    """Create a container with two anonymous volumes; its id."""
    labels = {"io.rancher.container.uuid": instance_uuid} if instance_uuid else {}
    given = {"name": name, "labels": labels, "volumes": ["/data", "/more"]}
    return client.create_container(image, **given)["Id"]
