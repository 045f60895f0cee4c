"""Names of images on a real Engine: with the registry, and under Docker Hub's short names.

Row numbers (A, W) refer to docs/parity.md.
"""

import contextlib
import uuid

import docker.errors
import pytest

from tests.docker.registries import has

ACTIVATE = "compute.instance.activate"
REMOVE = "compute.instance.remove"
IMAGE = "storage.image.activate"
PULL = "compute.instance.pull"
REPLY = {"imageStoragePoolMap": {}}


def since_2016(name):
    """The image row of a server of today: the registry is in `server`, the uuid is random."""
    server, _, full_name = name.partition("/")
    docker_image = {"fullName": full_name, "server": server}
    return {"uuid": str(uuid.uuid4()), "name": name, "data": {"dockerImage": docker_image}}


@pytest.fixture
def decoy(docker_client, new_layer):
    """Give another local image the name that an image has without its registry."""
    names = []

    def make(name):
        names.append(name.partition("/")[2])
        docker_client.tag(new_layer, *names[-1].rsplit(":", 1))
        return docker_client.inspect_image(new_layer)["Id"]

    yield make
    for name in names:
        with contextlib.suppress(docker.errors.NotFound):
            docker_client.remove_image(name, force=True)


def test_container_runs_the_image_of_its_registry_and_not_a_local_one(
    host, registry, push, decoy, new_instance, containers_of, docker_client, test_image
):
    """W 1, A 3.4: the name with the registry is looked for, pulled and given to the container."""
    name = push(registry, folder="foo")
    other_id = decoy(name)
    data = new_instance({"imageUuid": f"docker:{name}"}, image=since_2016(name))
    host.run(ACTIVATE, data)
    (container,) = containers_of(data)
    assert container["State"]["Running"]
    assert container["Config"]["Image"] == name
    assert container["Image"] == docker_client.inspect_image(test_image)["Id"] != other_id
    host.run(REMOVE, data)


def test_image_event_and_pull_task_fetch_from_the_registry_in_server(
    host, registry, push, decoy, docker_client
):
    """W 1: the local image of the short name is neither taken for it nor given its tag."""
    name = push(registry)
    other_id = decoy(name)
    pool_map = {"type": "imageStoragePoolMap", "image": since_2016(name)}
    assert host.run(IMAGE, {"imageStoragePoolMap": pool_map}) == REPLY
    assert docker_client.inspect_image(name)["Id"] != other_id
    docker_client.remove_image(name)
    docker_image = since_2016(name)["data"]
    request = {"kind": "docker", "mode": "all", "tag": "-temp", "image": {"data": docker_image}}
    reply = host.run(PULL, {"instancePull": {**request, "complete": False}})
    assert reply["fields"]["dockerImage"]["Id"] != other_id
    assert docker_client.inspect_image(f"{name}-temp")["Id"] != other_id
    assert host.run(PULL, {"instancePull": {**request, "complete": True}}) == {}
    assert has(docker_client, name)
    assert not has(docker_client, f"{name}-temp")


@pytest.mark.parametrize("prefix", ["", "docker.io/", "index.docker.io/", "Registry-1.Docker.IO/"])
def test_local_image_of_docker_hub_is_found_under_its_short_name(
    host, docker_client, test_image, prefix
):
    """W 1: cattle writes Docker Hub's name before images that were built or loaded here."""
    name = f"cowpoke-hub-{uuid.uuid4().hex[:12]}"
    docker_client.tag(test_image, name, "1")
    try:
        row = {"data": {"dockerImage": {"fullName": f"{prefix}library/{name}:1"}}}
        pool_map = {"type": "imageStoragePoolMap", "image": row}
        assert host.run(IMAGE, {"imageStoragePoolMap": pool_map}) == REPLY
        assert "image.pull" not in host.calls
    finally:
        docker_client.remove_image(f"{name}:1", noprune=True)
