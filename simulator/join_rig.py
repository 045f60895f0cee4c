"""A host that joins: simulator, bridge, worker and Redis as real processes, and `cowpoke join`.

For the demo and the tests.
"""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from cryptography.fernet import Fernet
from redis import Redis

from cowpoke.broker import connect
from cowpoke.joined import JoinedAgent, handed_over
from cowpoke.seal import ClusterKeyring
from cowpoke.settings import BrokerSettings
from simulator.client import Cattle
from simulator.rig.processes import PROJECT_DIR, Program, clean_environment, wait_until
from simulator.rig.redis_server import RedisServer

#: A loopback address that registration does not refuse.
ADDRESS = "127.0.0.2"


def client_of(redis: RedisServer) -> Redis:
    """A client as the programs have it."""
    return connect(BrokerSettings.model_validate({"REDIS_URL": redis.url}))


class JoinRig:
    """The hub of a cattle, and one host that has not joined yet."""

    def __init__(
        self,
        *,
        redis: RedisServer,
        folder: Path,
        engine_environment: dict[str, str],
        simulator: dict[str, str] | None = None,
        host: dict[str, str] | None = None,
    ) -> None:
        self._stack = ExitStack()
        self.redis = redis
        #: /var/lib/rancher of the host.
        self.folder = folder
        self.state_dir = folder / "state"
        self.engine_environment = engine_environment
        self.queue_key = Fernet.generate_key().decode()
        self._simulator_extra = simulator or {}
        self._host_extra = host or {}

    def __enter__(self) -> Self:
        try:
            self.simulator = self._program(
                "simulator",
                {
                    "SIMULATOR_HOST": ADDRESS,
                    "SIMULATOR_PING_INTERVAL_S": "0.5",
                    "SIMULATOR_STRICT_PUBLISH": "true",
                    **self._simulator_extra,
                },
            )
            line = self.simulator.wait_for_line(r"^simulator: http", timeout_s=30)
            self.cattle_url = line.split(" ", 1)[1].strip()
            self.cattle = Cattle(self.cattle_url)
            self._stack.callback(self.cattle.close)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def host_environment(self) -> dict[str, str]:
        """The settings of the host's programs."""
        return {
            "REDIS_URL": self.redis.url,
            "QUEUE_KEY": self.queue_key,
            "CATTLE_HOME": str(self.folder),
            "CATTLE_STATE_DIR": str(self.state_dir),
            **self.engine_environment,
            **self._host_extra,
        }

    @property
    def host_uuid(self) -> str:
        """The uuid of the host, once it has one."""
        return (self.state_dir / ".docker_uuid").read_text().strip()

    def registration_url(self) -> str:
        """A new url of the page for a new host."""
        return str(self.cattle.registration_token()["registrationUrl"])

    def start_bridge(self, **extra: str) -> Program:
        """A bridge of this cattle."""
        return self._program(
            "bridge",
            {
                "REDIS_URL": self.redis.url,
                "QUEUE_KEY": self.queue_key,
                "CATTLE_URL": self.cattle_url,
                **extra,
            },
        )

    def start_worker(self, **extra: str) -> Program:
        """A worker of the host."""
        return self._program("worker", {**self.host_environment, **extra})

    def start(self) -> None:
        """Start a bridge, and a worker until its host has a uuid."""
        self.bridge = self.start_bridge()
        self.worker = self.start_worker()
        wait_until((self.state_dir / ".docker_uuid").exists, 30, "a uuid")

    def command(self, *arguments: str) -> Program:
        """A subcommand of `cowpoke` on the host, not started."""
        return Program("cowpoke", *arguments, environment=self.host_environment)

    def run(
        self, *arguments: str, stdin: str = "", **extra: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a subcommand of `cowpoke` on the host, to its end."""
        return subprocess.run(  # noqa: S603 -- our own program
            [sys.executable, "-m", "cowpoke", *arguments],
            check=False,
            capture_output=True,
            text=True,
            input=stdin,
            timeout=100,
            cwd=PROJECT_DIR,
            env=clean_environment({**self.host_environment, **extra}),
        )

    def hosts(self) -> list[dict[str, Any]]:
        """The live hosts in cattle."""
        return self.cattle.hosts()

    def wait_host(self) -> dict[str, Any]:
        """Wait for the one host, with its agent active."""
        wait_until(self.hosts, 30, "a host in cattle")
        (host,) = self.hosts()
        return host

    def note(self) -> JoinedAgent | None:
        """What the bridges have of the host."""
        sealer = ClusterKeyring(self.queue_key).host(self.host_uuid)
        with client_of(self.redis) as client:
            return handed_over(client, sealer, self.host_uuid)

    def program(self, module: str, *arguments: str, environment: dict[str, str]) -> Program:
        """Start a program, which ends with the rig."""
        return self._stack.enter_context(Program(module, *arguments, environment=environment))

    def _program(self, module: str, environment: dict[str, str]) -> Program:
        return self.program(module, environment=environment)
