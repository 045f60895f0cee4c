"""A hub and its hosts on machines of their own: a Redis with TLS, an Engine and keys for each host.

Everything is made as docs/install.md says; Redis has the command line of `deploy/compose/hub.yml`.
"""

import re
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis, RedisError

from simulator.client import Cattle
from simulator.rig.image import TEST_IMAGE, build_image
from simulator.rig.machine import Machine, start_machines
from simulator.rig.private_engine import PrivateEngine
from simulator.rig.processes import (
    PROJECT_DIR,
    Program,
    clean_environment,
    dies_with_parent,
)
from simulator.rig.redis_server import find_redis_server

#: For documentation; no machine has it.
NETWORK = "192.0.2.0/24"
HUB_FILE = PROJECT_DIR / "deploy" / "compose" / "hub.yml"
CATTLE_PORT = 8080
REDIS_PORT = 6380


def cowpoke(
    machine: Machine, *arguments: str, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `cowpoke ...` on a machine, to its end."""
    return subprocess.run(
        [*machine.enter, sys.executable, "-m", "cowpoke", *arguments],
        check=False,
        capture_output=True,
        text=True,
        input=stdin,
        timeout=120,
        cwd=PROJECT_DIR,
        env=clean_environment(variables),
    )


def redis_command(folder: Path) -> list[str]:
    """The command of Redis in hub.yml, for a folder of credentials instead of a volume."""
    service = re.search(r"(?ms)^  redis:\n(.*?)^  \w", HUB_FILE.read_text(encoding="utf-8"))[1]
    lines = re.search(r"(?m)^    command:\n((?:^      .*\n)+)", service)[1]
    words = [word.strip('"') for word in re.findall(r"(?m)^ +- (.*)$", lines)]
    data = folder / "data"
    data.mkdir()
    moved = {"redis-server": find_redis_server(), "/data": str(data)}
    return [moved.get(word, word.replace("/etc/cowpoke", str(folder))) for word in words]


@dataclass
class Host:
    """One host of the hub."""

    machine: Machine
    engine: PrivateEngine
    #: Its part of the file system.
    folder: Path
    bundle: str = field(default="", repr=False)
    worker: Program | None = None

    @property
    def credentials(self) -> Path:
        """What `cowpoke join --bundle` stores."""
        return self.folder / "credentials"

    @property
    def uuid(self) -> str:
        """The uuid that its bundle brought."""
        return self.secret("CATTLE_DOCKER_UUID")

    @property
    def environment(self) -> dict[str, str]:
        """The settings of its programs."""
        return {
            "COWPOKE_CREDENTIALS_DIR": str(self.credentials),
            "CATTLE_HOME": str(self.folder / "cattle"),
            "CATTLE_STATE_DIR": str(self.folder / "rancher" / "state"),
            "CATTLE_DETECT_CLOUD_PROVIDER": "false",
            **self.engine.environment,
        }

    def secret(self, name: str) -> str:
        """One of its settings."""
        return (self.credentials / name).read_text(encoding="utf-8")

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run `cowpoke ...` on it."""
        return cowpoke(self.machine, *arguments, stdin=stdin, **self.environment)

    def store(self, bundle: str) -> subprocess.CompletedProcess[str]:
        """Store a bundle."""
        words = ("join", "--bundle", "-", "--credentials", str(self.credentials))
        return cowpoke(self.machine, *words, stdin=bundle, **self.environment)

    def redis(self, url: str = "") -> Redis:
        """Redis as the host reaches it, with its login or another one."""
        return self.machine.call(_connected, url or self.secret("REDIS_URL"))


class Hub:
    """Redis, the simulated cattle and two bridges, on a machine of their own."""

    def __init__(self, exits: ExitStack, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self.folder = folder
        self._exits = exits
        self.cattle_url = f"http://{machine.ip}:{CATTLE_PORT}/v1"
        self.redis_url = f"rediss://{machine.ip}:{REDIS_PORT}/0"
        self.cattle = Cattle(f"http://127.0.0.1:{CATTLE_PORT}/v1")

    def start(self) -> None:
        """Make the credentials, and start everything."""
        folder = str(self.folder)
        (self.folder / "redis").mkdir(parents=True)
        self.run("certificates", f"{folder}/redis", "--name", self.machine.ip)
        self.run("credentials", folder, "--redis", "127.0.0.1:6379")
        redis = subprocess.Popen(
            dies_with_parent([*self.machine.enter, *redis_command(self.folder)]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self._exits.callback(redis.wait)
        self._exits.callback(redis.terminate)
        self.program(
            "simulator",
            SIMULATOR_HOST="0.0.0.0",
            SIMULATOR_PORT=str(CATTLE_PORT),
            SIMULATOR_AGENTS="[]",
            SIMULATOR_PING_INTERVAL_S="0.5",
            SIMULATOR_STRICT_PUBLISH="true",
        ).wait_for_line(r"^simulator: http", timeout_s=60)
        self._exits.callback(self.machine.call, self.cattle.close)
        self.bridges = [
            self.program(
                "bridge",
                COWPOKE_CREDENTIALS_DIR=f"{folder}/bridge",
                CATTLE_URL=self.cattle_url,
            )
            for _ in range(2)
        ]
        for bridge in self.bridges:
            bridge.wait_for_line("bridge.ready", 60)

    def run(self, *arguments: str, **variables: str) -> str:
        """Run `cowpoke ...`, which must succeed; what it prints."""
        done = cowpoke(self.machine, *arguments, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def program(self, module: str, **variables: str) -> Program:
        """Start a program on the hub."""
        made = Program(module, environment=variables, enter=self.machine.enter)
        return self._exits.enter_context(made)

    def add_host(self, *options: str) -> str:
        """Add a host; its bundle."""
        ca_file = f"{self.folder}/redis/ca.crt"
        words = ("--redis", self.redis_url, "--redis-ca", ca_file, "--cattle-url", self.cattle_url)
        return self.run("hosts", "add", "--credentials", str(self.folder), *words, *options)

    def registration_url(self) -> str:
        """The url of Rancher's page for a new host."""
        url = self.machine.call(self.cattle.registration_token)["registrationUrl"]
        return str(url).replace("127.0.0.1", self.machine.ip)

    def access_key(self, host_uuid: str) -> str:
        """The access key of the agent of a host, as its note has it."""
        hosts = {one["reportedUuid"]: one for one in self.machine.call(self.cattle.hosts)}
        agents = {one["id"]: one for one in self.machine.call(self.cattle.agents)}
        return str(agents[hosts[host_uuid]["agentId"]]["access_key"])

    def status(self) -> str:
        """What `cowpoke status` says of everything, as JSON."""
        return self.run("status", "--json", COWPOKE_CREDENTIALS_DIR=str(self.folder / "bridge"))

    def redis(self) -> Redis:
        """Redis with the login of the administrator."""
        password = (self.folder / "redis" / "admin").read_text(encoding="utf-8")
        return self.machine.call(_connected, f"redis://admin:{password}@127.0.0.1:6379/0")


def _connected(url: str) -> Redis:
    # The pool makes further connections in the thread that asks for them: one is enough.
    client = Redis.from_url(url, decode_responses=True, single_connection_client=True)
    try:
        client.ping()
    except RedisError:
        client.close()
        raise
    return client


def start_system(exits: ExitStack, folder: Path) -> tuple[Hub, list[Host]]:
    """Start a hub, and two hosts with an Engine each that have not joined."""
    hub_machine, *machines = start_machines(exits, NETWORK, "hub", "one", "two")
    hub = Hub(exits, hub_machine, folder / "hub")
    hosts = []
    for machine in machines:
        engine = PrivateEngine(enter=machine.enter)
        exits.callback(engine.stop)
        engine.start()
        client = engine.client()
        exits.callback(client.close)
        build_image(client, TEST_IMAGE)
        hosts.append(Host(machine, engine, folder / machine.name))
    hub.start()
    return hub, hosts


def start_worker(exits: ExitStack, hub: Hub, host: Host) -> None:
    """Give a machine its bundle, and start its worker."""
    host.bundle = hub.add_host()
    stored = host.store(host.bundle)
    assert stored.returncode == 0, stored.stderr
    made = Program("worker", environment=host.environment, enter=host.machine.enter)
    host.worker = exits.enter_context(made)


def join(hub: Hub, host: Host) -> None:
    """Make a machine with a worker a host of Rancher, by one command."""
    done = host.run("join", hub.registration_url())
    assert done.returncode == 0, done.stdout + done.stderr
    hosts = hub.machine.call(hub.cattle.hosts)
    assert host.uuid in [one["reportedUuid"] for one in hosts]
