"""The image, the Compose files of many machines, and the stack with the Compose of Debian 12."""

import json
import tomllib
import uuid
from dataclasses import asdict

import pytest

from simulator import sample
from simulator.client import Cattle
from simulator.rig.containers import remove_containers
from simulator.rig.loopback_server import free_port
from simulator.rig.processes import PROJECT_DIR, wait_until
from tests.compose_stack import LOGIN, Compose, compose_v1, folders

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]

FILES = ("docker-compose.yml", "deploy/compose/hub.yml", "deploy/compose/host.yml")
#: What the image may add to its base: 101 MB, of which rich and its pygments are 13, and a little
#: for the next dependency.
MOST_ADDED_BYTES = 105_000_000


def test_the_image_is_small_and_says_what_it_is(docker_client, compose_image):
    """Only the worker and the agent start as root; pip has stayed behind."""
    found = docker_client.inspect_image(compose_image.name)
    base = docker_client.inspect_image(compose_image.base)
    project = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text())["project"]
    labels = {name.rpartition(".")[2]: text for name, text in found["Config"]["Labels"].items()}
    assert (labels["version"], labels["revision"]) == (project["version"], "0123abc")
    assert (labels["title"], labels["licenses"]) == (project["name"], project["license"])
    assert found["Config"]["User"] == "cowpoke"
    assert docker_client.inspect_image(compose_image.agent)["Config"]["User"] == "root"
    layers = found["RootFS"]["Layers"]
    assert len(layers) == len(base["RootFS"]["Layers"]) + 2, "the packages, and our files"
    assert found["Size"] - base["Size"] < MOST_ADDED_BYTES


def test_the_same_sources_give_the_same_files(docker_client, compose_image):
    """No file tells when it was made, and byte code names no time."""
    look = """\
import json, os, pathlib
times = {int(path.lstat().st_mtime) for top in ("/opt", "/etc/cowpoke", "/usr/local/bin")
         for path in pathlib.Path(top).rglob("*")}
compiled = {path.read_bytes()[4:8].hex() for path in pathlib.Path("/opt").rglob("*.pyc")}
programs = sorted(os.listdir("/opt/venv/bin"))
print(json.dumps([sorted(times), sorted(compiled), programs]))
"""
    made = docker_client.create_container(compose_image.name, ["python", "-c", look])
    try:
        docker_client.start(made)
        assert docker_client.wait(made)["StatusCode"] == 0
        times, compiled, programs = json.loads(docker_client.logs(made))
    finally:
        remove_containers(docker_client, made["Id"])
    assert times == [315532800]
    assert compiled == ["01000000"], "unchecked hashes"
    assert not [name for name in programs if name.startswith("pip")]


@pytest.fixture
def compose(engine, compose_v2, compose_image):
    """Make Compose projects, which end with the test: `compose("hub.yml", {...})`."""
    made = []
    client = engine.client(timeout_s=600)

    def make(file, settings, command=compose_v2, **options):
        settings = {**compose_image.settings, **settings}
        made.append(Compose(engine, client, command, settings, file=file, **options))
        return made[-1]

    yield make
    for one in reversed(made):
        one.down()
    client.close()


@pytest.fixture
def gateway(docker_client):
    """The address of this machine as containers reach it."""
    (config,) = docker_client.inspect_network("bridge")["IPAM"]["Config"][:1]
    return config["Gateway"]


@pytest.fixture
def cattle(make_program):
    """A simulated cattle on this machine that containers reach: its port and its client."""
    port = free_port()
    settings = {"SIMULATOR_HOST": "0.0.0.0", "SIMULATOR_PORT": str(port), "SIMULATOR_AGENTS": "[]"}
    program = make_program(
        "simulator", environment={**settings, "SIMULATOR_PING_INTERVAL_S": "0.5"}
    )
    program.wait_for_line(r"^simulator: http", timeout_s=30)
    client = Cattle(f"http://127.0.0.1:{port}/v1")
    client.port = port
    yield client
    client.close()


def test_a_hub_and_a_host_of_it(compose, gateway, cattle, docker_client, test_image, tmp_path):
    """The commands of docs/install.md, with both on one Engine."""
    url = f"http://{gateway}:{cattle.port}/v1"
    ports = {name: str(free_port()) for name in ("STATUS_PORT", "STATUS_PORT_2", "FLOWER_PORT")}
    hub = compose(
        "deploy/compose/hub.yml",
        {
            "HUB_NAME": gateway,
            "REDIS_ADDRESS": gateway,
            "REDIS_PORT": str(free_port()),
            "CATTLE_URL": url,
            **ports,
        },
    )
    hub.run("up", "--detach")
    bundle = hub.run("run", "--rm", "-T", "host-add")
    host = compose(
        "deploy/compose/host.yml",
        {"COWPOKE_CREDENTIALS": str(tmp_path / "credentials"), **folders(tmp_path)},
    )
    words = ("cowpoke", "join", "--bundle", "-", "--credentials", "/etc/cowpoke/host")
    host.run("run", "--rm", "-T", "join", *words, stdin=bundle)
    host.run("up", "--detach")
    registration = cattle.registration_token()["registrationUrl"].replace("127.0.0.1", gateway)
    host.run("run", "--rm", "-T", "join", "cowpoke", "join", registration)
    host.run_in("worker", "cowpoke", "worker", "health")
    for service in ("redis", "bridge", "bridge-2"):
        wait_until(lambda one=service: hub.health(one) == {"healthy"}, 60, service, interval_s=0.5)
    made = sample.Instance(uuid=str(uuid.uuid4()), name="web", image=test_image)
    answer = cattle.call(**asdict(sample.instance_activate(made)))
    assert answer.state == "success", answer.message
    remove_containers(docker_client, answer.data["instanceHostMap"]["instance"]["externalId"])
    # The same bundle for the same host; nobody else reads the key of Redis.
    modes = hub.run(
        "run",
        "--rm",
        "-T",
        "credentials",
        "stat",
        "-c",
        "%u %a",
        "/etc/cowpoke/redis/redis.key",
        "/etc/cowpoke/redis/ca.key",
    )
    assert modes.split("\n")[:2] == ["999 400", "0 400"]
    host.run("run", "--rm", "-T", "join", "cowpoke", "leave")


def test_the_compose_of_debian_12_runs_the_stack(compose, tmp_path):
    """A small part of it: what the files say is what it knows."""
    command = compose_v1()
    if command is None:
        pytest.skip("this release has no Compose 1.29")
    for file in FILES:
        settings = {"HUB_NAME": "hub.example.org", "FLOWER_BASIC_AUTH": LOGIN}
        compose(file, settings, command).run("config", "--quiet")
    stack = compose("docker-compose.yml", folders(tmp_path), command)
    stack.run("up", "--detach", "--no-build", "redis")
    wait_until(lambda: stack.health("redis") == {"healthy"}, 60, "Redis", interval_s=0.5)
