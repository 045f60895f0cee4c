"""The volume with the wait program, filled through a real Engine.

Row numbers (B) refer to docs/parity.md.
"""

import contextlib

import docker.errors
import pytest

from simulator.plugin_manager.program import plugin_manager, start
from tests.managed_networks import activated, managed
from worker.create.managed_network import WAIT_VOLUME
from worker.engine import archives, containers, removal
from worker.engine.archives import File
from worker.network import wait_volume
from worker.network.wait_volume import keep_filled


@pytest.fixture
def client(host):
    """The worker's client."""
    return host.host.engine


@pytest.fixture
def fill(host):
    """Keep the volume filled, as a worker process that knows nothing of it yet."""

    def fill(*, first_time=True, settings=None, **options):
        if first_time:
            wait_volume._seen.clear()
        one = host.host
        keep_filled(one.engine, one.locks, settings or one.settings, **options)

    return fill


@pytest.fixture
def no_volume(docker_client):
    """The volume does not exist at the start of the test."""
    with contextlib.suppress(docker.errors.NotFound):
        docker_client.remove_volume(WAIT_VOLUME)


@pytest.fixture
def container(client, docker_client, test_image, no_volume):
    """A container that is never started, by which the test reads and writes the volume."""
    body = {"Image": test_image, "HostConfig": {"Binds": [f"{WAIT_VOLUME}:/.r"]}}
    found = containers.create_from_body(client, body, name="t-wait-volume", warn=print)
    yield found
    removal.remove(client, found)


@pytest.fixture
def program(client, container):
    """Read the program in the volume; None without one."""
    return lambda: archives.read(client, container, "/.r/r", at_most_bytes=1 << 20)


def test_fresh_host_gets_the_program(host, fill, container, program, client, docker_client):
    """B.2: static, executable by every user, with the limit; nothing else is left behind."""
    images = {image["Id"] for image in docker_client.images()}
    present = {one["Id"] for one in docker_client.containers(all=True)}
    assert program() is None
    fill()
    found = program()
    assert found.mode & 0o777 == 0o555
    assert wait_volume.runs(found, "x86_64") or wait_volume.runs(found, "aarch64")
    limit = archives.read(client, container, "/.r/limit_s", at_most_bytes=100)
    assert limit.content == b"300\n"
    assert {image["Id"] for image in docker_client.images()} == images
    assert {one["Id"] for one in docker_client.containers(all=True)} == present


def test_known_volume_costs_one_call(host, fill, container):
    """B.2: the worker looks into the volume once per process."""
    fill()
    before = host.host.engine.calls
    fill(first_time=False)
    assert dict(host.host.engine.calls - before) == {"volume.inspect": 1}


def test_leftovers_of_a_killed_worker_are_removed(fill, engine_host, docker_client, client):
    """B.2: container and image of a fill that was cut."""
    archives.import_image(client, "cowpoke-network-wait", "latest", [File("x", b"", 0o444, 0)])
    docker_client.create_container("cowpoke-network-wait", command="x", name="cowpoke-network-wait")
    fill()
    names = [name for one in docker_client.containers(all=True) for name in one["Names"]]
    assert "/cowpoke-network-wait" not in names
    assert docker_client.images("cowpoke-network-wait") == []


def test_removed_volume_is_filled_again(host, fill, docker_client, no_volume):
    """B.2: the volume of a user's clean-up is made anew for the next container."""
    fill()
    docker_client.remove_volume(WAIT_VOLUME)
    before = host.host.engine.calls
    fill(first_time=False)
    assert (host.host.engine.calls - before)["container.write"] == 1
    assert docker_client.inspect_volume(WAIT_VOLUME)["Name"] == WAIT_VOLUME


def test_working_program_of_the_old_agent_is_kept(fill, program, client, container):
    """B.2: what rancher/agent left in the volume stays in use."""
    other = _without_our_text(wait_volume._PROGRAMS_DIR / f"wait-{_machine(client)}")
    archives.write(client, container, "/.r", [File("r", other, 0o755, len(other))])
    fill()
    assert program().content == other


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        pytest.param(b"", 0o755, id="empty"),
        pytest.param(b'#!/bin/sh\nexec "$@"\n', 0o755, id="needs a shell in the image"),
        pytest.param(None, 0o644, id="not executable"),
        pytest.param(b"\x7fELF\x02\x01" + bytes(12), 0o755, id="cut"),
    ],
)
def test_broken_program_is_replaced(fill, program, client, container, content, mode):
    """B.2: a program that cannot run in every image is replaced by ours."""
    ours = (wait_volume._PROGRAMS_DIR / f"wait-{_machine(client)}").read_bytes()
    content = ours if content is None else content
    archives.write(client, container, "/.r", [File("r", content, mode, len(content))])
    fill()
    assert program().content == ours
    assert program().mode & 0o777 == 0o555


def test_program_lost_later_is_restored_by_the_start(
    make_host, engine_host, tmp_path, new_instance, docker_client, fill, container
):
    """B.2: the start of a container that finds no program restores it and starts again."""
    state_dir = tmp_path / "cni"
    host = make_host(WORKER_NETWORK_STATE_DIR=str(state_dir))
    with start(plugin_manager(engine_host, state_dir)):
        data = managed(new_instance)
        report = activated(host, data)
        docker_client.stop(report["externalId"], timeout=10)
        # Only the Engine can write there: a folder instead of the program.
        archives.write(host.host.engine, container, "/.r", [File("r", b"no program", 0o644, 10)])
        again = activated(host, data)
    assert again["externalId"] == report["externalId"]
    assert again["+data"]["dockerInspect"]["State"]["Running"] is True


def _machine(client):
    return client.facts(timeout_s=10)["Architecture"]


def _without_our_text(path):
    content = path.read_bytes()
    assert wait_volume._OURS in content
    return content.replace(
        wait_volume._OURS, b"another: no network after"[: len(wait_volume._OURS)]
    )
