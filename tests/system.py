"""The whole system as real processes on loopback: simulator, bridge, workers, Redis, an Engine."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from cryptography.fernet import Fernet

from simulator.client import Call, Cattle
from simulator.rig.processes import Program, wait_until
from simulator.rig.redis_server import RedisServer

AGENT = {"access_key": "agent-key", "secret_key": "agent-secret-5f1d", "kind": "agent"}


class System:
    """One cattle, one bridge and one worker, wired; more of each can be started beside them."""

    def __init__(
        self,
        *,
        redis: RedisServer,
        state_dir: Path,
        engine_environment: dict[str, str],
        host_uuid: str = "host-under-test",
        agent: dict[str, Any] | None = None,
        simulator: dict[str, str] | None = None,
        bridge: dict[str, str] | None = None,
        worker: dict[str, str] | None = None,
    ) -> None:
        self._stack = ExitStack()
        self.redis = redis
        self.host_uuid = host_uuid
        self.agent = agent or AGENT
        self.queue_key = Fernet.generate_key().decode()
        self._state_dir = state_dir
        self._engine_environment = engine_environment
        self._simulator_extra = {
            "SIMULATOR_PING_INTERVAL_S": "0",
            "SIMULATOR_STRICT_PUBLISH": "true",
            **(simulator or {}),
        }
        self._bridge_extra = bridge or {}
        self._worker_extra = worker or {}

    def __enter__(self) -> Self:
        try:
            self.simulator = self.start_simulator()
            self.cattle = Cattle(self.cattle_url)
            self._stack.callback(self.cattle.close)
            self.worker = self.start_worker()
            self.bridge = self.start_bridge()
            self.wait_subscribed()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_simulator(self) -> Program:
        """The simulated cattle server; `cattle_url` is its address."""
        program = self._program(
            "simulator", {"SIMULATOR_AGENTS": json.dumps([self.agent]), **self._simulator_extra}
        )
        line = program.wait_for_line(r"^simulator: http", timeout_s=30)
        self.cattle_url = line.split(" ", 1)[1].strip()
        return program

    def start_worker(self, **extra: str) -> Program:
        """One more `python -m worker` of the same host."""
        return self._program(
            "worker",
            {
                "REDIS_URL": self.redis.url,
                "QUEUE_KEY": self.queue_key,
                **self._engine_environment,
                "CATTLE_HOME": str(self._state_dir),
                "CATTLE_DOCKER_UUID": self.host_uuid,
                "CATTLE_AGENT_IP": "1.2.3.4",
                **self._worker_extra,
                **extra,
            },
        )

    def start_bridge(self, **extra: str) -> Program:
        """One more `python -m bridge` for the same agent."""
        return self._program(
            "bridge",
            {
                "REDIS_URL": self.redis.url,
                "QUEUE_KEY": self.queue_key,
                "CATTLE_URL": self.cattle_url,
                "CATTLE_ACCESS_KEY": self.agent["access_key"],
                "CATTLE_SECRET_KEY": self.agent["secret_key"],
                **self._bridge_extra,
                **extra,
            },
        )

    def wait_subscribed(self, sockets: int = 1, timeout_s: float = 30) -> None:
        """Until the bridge listens: an event sent before that would vanish, as at cattle."""
        wait_until(
            lambda: sum(self.cattle.stats()["open_sockets"].values()) >= sockets,
            timeout_s,
            f"{sockets} open subscription(s)",
        )

    def call(self, name: str, data: dict[str, Any], **more: Any) -> Call:
        """Send an event as cattle does and wait for its end."""
        return self.cattle.call(name, data, **more)

    def _program(self, module: str, environment: dict[str, str]) -> Program:
        return self._stack.enter_context(Program(module, environment=environment))
