"""A host on the real Engine, and instances of the test's own that are gone at its end."""

import contextlib
import io
import os
import tarfile
import uuid

import docker.errors
import pytest

from simulator.rig.containers import remove_containers
from tests import factories
from tests.docker.registries import PASSWORD, USER, started
from tests.hosts import hosts_on

UUID_LABEL = "io.rancher.container.uuid"


@pytest.fixture
def make_host(engine_host, tmp_path):
    """Hosts on the session's Engine; all share one state folder."""
    with hosts_on(engine_host, tmp_path) as make:
        yield make


@pytest.fixture
def host(make_host):
    """One host on the session's Engine."""
    return make_host()


@pytest.fixture
def new_instance(docker_client, test_image):
    """Data of instance events, each with a uuid and a name of its own; containers go at the end."""
    uuids = []

    def make(fields=None, **changes):
        own = str(uuid.uuid4())
        uuids.append(own)
        given = {"uuid": own, "name": f"t-{own}", "image": factories.image(test_image)}
        return factories.instance_data(fields, **{**given, **changes})

    yield make
    for own in uuids:
        wanted = {"label": f"{UUID_LABEL}={own}"}
        left = docker_client.containers(all=True, filters=wanted)
        remove_containers(docker_client, *(one["Id"] for one in left))


@pytest.fixture
def containers_of(docker_client):
    """Inspects of an instance's containers, as Docker has them."""

    def find(data):
        wanted = {"label": f"{UUID_LABEL}={data['instanceHostMap']['instance']['uuid']}"}
        found = []
        for one in docker_client.containers(all=True, filters=wanted):
            with contextlib.suppress(docker.errors.NotFound):  # it went since it was listed
                found.append(docker_client.inspect_container(one["Id"]))
        return found

    return find


@pytest.fixture
def volume_name(docker_client):
    """A name for a volume that is gone at the end."""
    name = f"cowpoke-{uuid.uuid4().hex[:12]}"
    yield name
    with contextlib.suppress(docker.errors.NotFound):
        docker_client.remove_volume(name)


@pytest.fixture(scope="module")
def registry(missing_part):
    """A registry that everybody may use."""
    with started(missing_part) as one:
        yield one


@pytest.fixture(scope="module")
def locked_registry(missing_part):
    """A registry that asks everybody for a password (htpasswd)."""
    with started(missing_part, username=USER, password=PASSWORD) as one:
        yield one


@pytest.fixture
def push(docker_client, test_image):
    """Push the test image under a new name; all its names here go at the end."""
    names = []

    def make(registry, *, folder="team", tag="1", server=None):
        path = f"{folder}/{uuid.uuid4().hex[:12]}:{tag}"
        registry.push(docker_client, test_image, path)
        names.append(f"{server or registry.server}/{path}")
        return names[-1]

    yield make
    for name in names:
        for one in (name, f"{name}-temp"):
            with contextlib.suppress(docker.errors.NotFound):
                docker_client.remove_image(one, force=True)


@pytest.fixture
def new_layer(docker_client):
    """The name of an image with a layer that no other image has; gone at the end."""
    name = f"cowpoke-layer-{uuid.uuid4().hex[:12]}:1"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for path, content in (
            ("Dockerfile", b"FROM scratch\nCOPY random /\n"),
            ("random", os.urandom(100_000)),
        ):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    context.seek(0)
    list(docker_client.build(fileobj=context, custom_context=True, tag=name, rm=True))
    yield name
    with contextlib.suppress(docker.errors.NotFound):
        docker_client.remove_image(name, force=True)


@pytest.fixture
def native_part(docker_client, test_image):
    """Start a container with our label beside cattle, as Compose does: its instance data.

    Cattle knows it as a native container.
    """
    made = []

    def make(part):
        name = f"t-{uuid.uuid4().hex[:12]}"
        labels = {"io.cowpoke.part": part}
        made.append(docker_client.create_container(test_image, name=name, labels=labels)["Id"])
        docker_client.start(made[-1])
        return factories.instance_data(
            {}, uuid=name, name=name, externalId=made[-1], nativeContainer=True
        )

    yield make
    remove_containers(docker_client, *made)
