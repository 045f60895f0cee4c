"""The rig's private Engine: beside others, killed and restarted, and gone without a trace."""

import ipaddress
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from simulator.rig.docker_engine import engine_answers
from simulator.rig.engine import find_engine, start_private_engine
from simulator.rig.engine_leftovers import RECORD_NAME, remove_abandoned, run_ip
from simulator.rig.errors import RigError
from simulator.rig.image import build_image
from simulator.rig.private_engine import FOLDER_PREFIX
from simulator.rig.processes import PROJECT_DIR, clean_environment

OTHER_RUN = """\
import signal
from simulator.rig.engine import start_private_engine
engine = start_private_engine()
print(engine.root, engine.subnet, flush=True)
signal.pause()
"""


@pytest.fixture
def private_engine(missing_part):
    """A private Engine of the test's own."""
    try:
        engine = start_private_engine()
    except (RigError, OSError) as error:
        missing_part(error)
    if not engine.private:
        missing_part("installing Docker started the machine's own Engine; it is used instead")
    yield engine
    engine.stop()


@pytest.fixture
def client(private_engine):
    """A client of the test's own Engine, with the test image on it."""
    client = private_engine.client()
    build_image(client)
    yield client
    client.close()


@pytest.fixture
def other_run(private_engine):
    """A run beside this one that has an Engine: its process, its Engine's folder and addresses."""
    with subprocess.Popen(
        [sys.executable, "-c", OTHER_RUN],
        env=clean_environment(),
        cwd=PROJECT_DIR,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        root, subnet = process.stdout.readline().split()
        yield process, Path(root), subnet
        process.kill()
    remove_abandoned(Path(root).parent, FOLDER_PREFIX)


def traces_of(root: Path, subnet: str) -> list[str]:
    """What is left of an Engine: its folder, mounts in it, and links with its addresses."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    found = [line for line in mounts if f"{root}/" in line]
    network = ipaddress.IPv4Network(subnet)
    addresses = run_ip("-4", "-o", "address").splitlines()
    found += [one for one in addresses if ipaddress.IPv4Interface(one.split()[3]).ip in network]
    return found + ([str(root)] if root.exists() else [])


def test_two_engines_do_not_see_each_other(client, engine):
    """A container on one is unknown to the other, and their bridges have different addresses."""
    container = client.create_container("cowpoke-test:latest")
    client.start(container)

    other = engine.client()
    try:
        ids = [found["Id"] for found in other.containers(all=True)]
    finally:
        other.close()
    assert container["Id"] not in ids


def test_a_killed_engine_comes_back_with_its_containers(private_engine, client):
    """After SIGKILL and a restart the container is still there and starts again."""
    container = client.create_container("cowpoke-test:latest")
    client.start(container)

    private_engine.kill()
    private_engine.restart()

    client.start(container)
    assert client.inspect_container(container)["State"]["Running"]


def test_a_stopped_engine_leaves_no_trace(private_engine, client):
    """Containers, networks, mounts and folders are gone, also those nobody removed."""
    client.create_network("left-over")
    client.start(client.create_container("cowpoke-test:latest"))

    private_engine.stop()

    assert traces_of(private_engine.root, str(private_engine.subnet)) == []


def test_the_link_of_a_container_that_never_started_goes_too(private_engine, client):
    """A daemon that is killed while it starts a container leaves one on its bridge."""
    network = client.inspect_network("bridge")
    bridge = network["Options"]["com.docker.network.bridge.name"]
    ends = [f"v{uuid.uuid4().hex[:8]}" for _ in range(2)]
    run_ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
    run_ip("link", "set", ends[0], "master", bridge)

    private_engine.stop()

    left = run_ip("-o", "link")
    assert [one for one in (bridge, *ends) if one in left] == []


def test_the_engine_of_a_killed_run_is_removed_by_the_next(other_run):
    """What a run that was killed left behind goes, and a living run's Engine stays."""
    process, root, subnet = other_run

    remove_abandoned(root.parent, FOLDER_PREFIX)
    assert engine_answers({"DOCKER_HOST": f"unix://{root}/docker.sock"})

    process.kill()
    process.wait()
    assert (root / RECORD_NAME).exists()
    remove_abandoned(root.parent, FOLDER_PREFIX)
    assert traces_of(root, subnet) == []


def test_an_engine_that_does_not_answer_is_not_found(tmp_path):
    """DOCKER_HOST of a dead Engine counts as none."""
    assert find_engine({"DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_without_root_one_line_says_what_to_do():
    """An ordinary user without an Engine reads what is missing and how to get it."""
    script = (
        "import os; os.setuid(65534)\n"
        "from simulator.rig.engine import EngineMissingError, start_private_engine\n"
        "try: start_private_engine()\n"
        "except EngineMissingError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", "from simulator.rig import engine\n" + script],
        env=clean_environment(),
        cwd=PROJECT_DIR,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    (line,) = done.stdout.splitlines()
    assert "no Docker Engine answers" in line
    assert "DOCKER_HOST" in line
