"""The compose stack: on a base image made on the spot, against the session's Engine."""

import json
import shutil
import subprocess
import uuid
from collections import Counter
from urllib.parse import urlsplit

import pytest
import redis

from cowpoke.routes import Lane
from cowpoke.seal import host_key
from simulator import sample
from simulator.rig.base_image import BaseImageError, make_base_image, remove_base_image
from simulator.rig.containers import remove_containers
from simulator.rig.packages import can_install, install_packages
from simulator.rig.processes import wait_until
from tests.compose_stack import HOSTS, TOKEN, WORKERS, Stack

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def compose_command(missing_part) -> list[str]:
    """Compose as this machine has it: Docker's plugin, else docker-compose, installed by root."""
    if shutil.which("docker"):
        plugin = ["docker", "compose"]
        if subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode == 0:
            return plugin
    if not shutil.which("docker-compose"):
        if not can_install():
            missing_part("Compose is missing: install docker-compose or Docker's compose plugin")
        install_packages("docker-compose")
    return ["docker-compose"]


@pytest.fixture(scope="module")
def stack(engine, test_image, compose_command, missing_part, tmp_path_factory):
    """The running stack: redis, bridge, three workers, Flower and the simulated server."""
    if not engine.host.startswith("unix://"):
        missing_part(f"the stack mounts the Engine's socket, and this one is at {engine.host}")
    client = engine.client(timeout_s=600)
    stack = Stack(engine, client, compose_command, tmp_path_factory.mktemp("cattle"))
    try:
        try:
            base_image = make_base_image(client)
        except BaseImageError as error:
            missing_part(str(error))
        try:
            stack.up(base_image)
            _wait_until_ready(stack)
            yield stack
        finally:
            stack.down()
            remove_base_image(client)
    finally:
        client.close()


def _wait_until_ready(stack: Stack) -> None:
    """Ready: three workers in every lane, and the bridge listens to cattle."""
    wait_until(
        lambda: stack.log("worker").count("lane.ready") >= 3 * WORKERS, 90, "the workers' lanes"
    )
    wait_until(
        lambda: "bridge.ready" in stack.log("bridge") and "stream.opened" in stack.log("bridge"),
        60,
        "the bridge's subscription",
        interval_s=0.5,
    )


@pytest.fixture
def instance(docker_client, test_image):
    """An instance of the test's own; its container is removed at the end."""
    made = sample.Instance(uuid=str(uuid.uuid4()), name="compose", image=test_image)
    yield made
    left = _containers_of(docker_client, made)
    remove_containers(docker_client, *(one["Id"] for one in left))


def _containers_of(docker_client, instance) -> list[dict]:
    label = f"io.rancher.container.uuid={instance.uuid}"
    return docker_client.containers(all=True, filters={"label": label})


def test_an_event_sent_to_the_stack_starts_a_container(stack, docker_client, instance):
    """Cattle's event goes in, a container runs on the Engine, and the reply names it."""
    answer = stack.send(sample.instance_activate(instance))

    assert answer["state"] == "success", answer
    (container,) = _containers_of(docker_client, instance)
    assert container["State"] == "running"
    replied = answer["reply"]["data"]["instanceHostMap"]["instance"]["externalId"]
    assert replied == container["Id"]


def test_flower_shows_the_task_of_an_event(stack, docker_client, instance):
    """The task has the event's name and id in Flower's API, and its success."""
    answer = stack.send(sample.instance_activate(instance))

    def task():
        tasks = stack.flower("/api/tasks") or {}
        found = tasks.get(answer["id"]) or {}
        return found if found.get("state") == "SUCCESS" else None

    assert wait_until(task, 30, "the task in Flower")["name"] == "compute.instance.activate"


def test_flower_lists_the_three_workers_of_the_host(stack):
    """`--scale worker=3` gives three workers in each lane, all under the one machine's name."""

    def nodes():
        workers = stack.flower("/api/workers?refresh=1") or {}
        return workers if len(workers) >= 3 * WORKERS else None

    workers = wait_until(nodes, 60, "three workers in Flower", interval_s=1)
    assert Counter(name.partition("-")[0] for name in workers) == dict.fromkeys(Lane, WORKERS)
    assert len({name.partition("@")[2] for name in workers}) == 1
    queues = {queue["name"] for worker in workers.values() for queue in worker["active_queues"]}
    assert len({name for name in queues if name.startswith("host.")}) == 3


def test_celery_inspect_in_the_container_of_flower_sees_every_lane(stack):
    """As README says; the user of a host may not ask."""
    words = ["celery", "-A", "worker.app", "inspect", "active_queues", "--timeout=20"]
    assert stack.run_in("flower", *words).count("host.") >= 3 * WORKERS


def test_the_image_has_the_command_for_operators(stack):
    """`cowpoke` is on the path, whatever the folder, and has the login of its container."""
    stack.compose("exec", "-T", "--workdir", "/", "bridge", "cowpoke", "--version")
    stack.compose("exec", "-T", "bridge", "cowpoke", "status")
    stack.compose("exec", "-T", "worker", "cowpoke", "health")


def test_redis_lets_nobody_in_without_a_user(stack):
    """Any process of the host reaches its address: it refuses them, and the parts have a key."""
    (container,) = stack.containers("redis")
    networks = container["NetworkSettings"]["Networks"].values()
    (address,) = [network["IPAddress"] for network in networks]
    with redis.Redis(address, socket_timeout=5) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    assert "payloads.not_sealed" not in stack.log("bridge") + stack.log("worker")


PARTS = ("bridge", "worker", "flower")


def secrets_of(stack: Stack) -> dict[str, str]:
    """Path -> content of each secret of the installation, from the containers that have it."""
    paths = {"redis": ["admin"], "bridge": ["REDIS_URL", "QUEUE_KEY"], "flower": ["REDIS_URL"]}
    paths["worker"] = ["REDIS_URL", "HOST_KEY"]
    return {
        f"{part}/{name}": stack.run_in(part, "cat", f"/etc/cowpoke/{part}/{name}")
        for part, names in paths.items()
        for name in names
    }


def test_each_part_has_its_own_login_and_no_other(stack):
    """A worker has the key of its host and cannot read the one of the cluster."""
    found = secrets_of(stack)
    users = [urlsplit(found[f"{part}/REDIS_URL"]).username for part in PARTS]
    assert [user.removesuffix(host_uuid(stack)) for user in users] == [
        *("cowpoke-bridge", "cowpoke-host-", "cowpoke-flower")
    ]
    assert found["worker/HOST_KEY"] == host_key(found["bridge/QUEUE_KEY"], host_uuid(stack))
    for part in (*PARTS, "redis"):
        folders = stack.run_in(part, "find", "/etc/cowpoke", "-type", "f", user="root").split()
        assert {path.split("/")[3] for path in folders} == {part}


UUID_FILE = "/var/lib/rancher/state/.docker_uuid"


def host_uuid(stack: Stack) -> str:
    """The uuid that the first run made."""
    return stack.run_in("worker", "cat", UUID_FILE).strip()


RANCHER_HOST = """\
import json, os
from pathlib import Path
from worker.host.engine_process import engine_pid, run_beside_engine
from worker.process.runtime import process_space
FOLDERS = ("/.r", "/var/run/rancher/storage", "/var/lib/rancher/state")
SEEN = ("readlink", "/proc/self/ns/mnt")
pid = engine_pid("unix:///var/run/docker.sock")
print(json.dumps({
    "namespace": run_beside_engine(pid, ["mount"], *SEEN, timeout_s=30).stdout.strip(),
    "engines": os.readlink(f"/proc/{pid}/ns/mnt"),
    "key_mode": oct(Path("/var/lib/rancher/etc/ssl/host.key").stat().st_mode & 0o777),
    "folders": [os.access(path, os.W_OK) for path in FOLDERS],
    "space": process_space(),
}))
"""


def test_a_worker_has_what_a_rancher_host_needs(stack):
    """Parity B.6: it reaches the Engine's namespaces; the host's folders are writable."""
    found = json.loads(stack.run_in("worker", "python", "-c", RANCHER_HOST))
    assert found["namespace"] == found["engines"]
    assert found["key_mode"] == "0o400"
    assert found["folders"] == [True] * 3
    assert len(host_uuid(stack)) == len(stack.run_in("worker", "cat", UUID_FILE)) == 36
    # Workers that share the machine's processes are still told apart by their health checks.
    assert found["space"].endswith(stack.containers("worker")[0]["Id"][:12])


def test_secrets_are_in_files_of_their_owner_only(stack):
    """No variable, command line, label or log contains one."""
    for part in PARTS:
        modes = stack.run_in(part, "sh", "-c", f"stat -c %a /etc/cowpoke/{part}/*").split()
        assert set(modes) == {"400"}
    shown = [
        json.dumps(stack.inspect(container)) + stack.log(service)
        for service in (*PARTS, "redis", "credentials", "simulator")
        for container in stack.containers(service)
    ]
    for path, secret in secrets_of(stack).items():
        hidden = urlsplit(secret).password or secret
        assert [hidden in text for text in shown] == [False] * len(shown), path


def test_a_second_start_keeps_the_credentials(stack):
    """And nothing is refused to a part, whatever the tests before did."""
    before, printed = secrets_of(stack), stack.log("credentials")
    stack.start()
    assert secrets_of(stack) == before
    assert stack.log("credentials") == printed
    assert stack.redis_cli("ACL", "LOG") == ""


@pytest.fixture
def run_image(stack, docker_client, tmp_path):
    """Run the image as Rancher's page says, in the stack's network; its exit code and output."""
    made = []

    def run(*arguments, waits=True):
        host = docker_client.create_host_config(
            binds=[
                f"{stack.socket}:/var/run/docker.sock",
                f"{tmp_path}/rancher:/var/lib/rancher",
            ],
            network_mode=f"{stack.project}_default",
        )
        made.append(
            docker_client.create_container(stack.image, list(arguments), host_config=host)["Id"]
        )
        docker_client.start(made[-1])
        code = docker_client.wait(made[-1], timeout=300)["StatusCode"] if waits else None
        return code, docker_client.logs(made[-1]).decode()

    yield run
    started = docker_client.containers(all=True, filters={"name": "cowpoke-agent"})
    made += [one["Id"] for one in started]
    remove_containers(docker_client, *made)


def test_image_understands_the_command_of_ranchers_page(stack, run_image, tmp_path):
    """A host with a Redis and a bridge of its own joins; other arguments are a command."""
    assert run_image("--", "id", "-u") == (0, "0\n")
    assert "VAR_LIB_WRITABLE=true" in run_image("inspect-host")[1]
    code, said = run_image("upgrade")
    assert (code, "has not joined" in said) == (1, True), said
    url = stack.in_simulator(TOKEN)["url"]
    code, said = run_image(url)
    # An Engine inside of a container may not give the rights that the container needs.
    assert code == 0 or "cannot start container" in said, said
    if code:
        run_image("run", waits=False)
    joined = tmp_path / "rancher" / "state" / ".joined"
    wait_until(joined.exists, 120, "the keys of the agent", interval_s=0.5)
    own = (tmp_path / "rancher" / "state" / ".docker_uuid").read_text().strip()
    wait_until(lambda: own in stack.in_simulator(HOSTS)["uuids"], 60, "the host", interval_s=1)


def test_hosts_of_other_machines_are_kept_by_a_second_start(stack):
    """They are added as docs/migrate.md says; what the command stores is in a volume."""
    other = "3b1f0a52-6a0e-4f6e-8f0c-2f7a54c1d9aa"
    hub = ["--credentials", "/etc/cowpoke", "--redis", "redis://192.0.2.1:6379/0", "--host", other]
    stack.compose("run", "--rm", "-T", "credentials", "cowpoke", "host", "add", *hub)
    stack.start()
    assert f"user cowpoke-host-{other} on" in stack.redis_cli("ACL", "LIST")
    stack.compose(
        *("run", "--rm", "-T", "credentials", "cowpoke", "host", "remove", other),
        *("--credentials", "/etc/cowpoke"),
    )
    stack.start()
    assert other not in stack.redis_cli("ACL", "LIST")
