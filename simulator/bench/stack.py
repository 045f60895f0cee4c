"""The system under test: every part is a real process on loopback, as in `make demo`."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import redis
from cryptography.fernet import Fernet

from simulator.client import Call, Cattle
from simulator.rig.processes import Program, wait_until
from simulator.rig.redis_server import RedisServer
from simulator.sample import SampleEvent

LANES = 3
HOST_UUID = "bench-host"
START_TIMEOUT_S = 60.0
CALL_TIMEOUT_MS = 300_000


class CallFailedError(AssertionError):
    """An event failed, so its duration is meaningless."""


class Stack:
    """Redis, cattle, one worker and one bridge of one host; removed when the context ends."""

    def __init__(self, engine_environment: Mapping[str, str]) -> None:
        self._engine_environment = dict(engine_environment)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def call(self, event: SampleEvent) -> Call:
        """Send an event and wait for its reply.

        Errors: CallFailedError if the reply is not a success.
        """
        return checked(
            self.cattle.call(
                event.name,
                event.data,
                resource_type=event.resource_type,
                resource_id=event.resource_id,
                timeout_ms=CALL_TIMEOUT_MS,
                wait_s=CALL_TIMEOUT_MS / 1000,
            )
        )

    def send(self, event: SampleEvent) -> str:
        """Send an event and return its id."""
        return self.cattle.send(
            event.name,
            event.data,
            resource_type=event.resource_type,
            resource_id=event.resource_id,
            timeout_ms=CALL_TIMEOUT_MS,
        )

    def wait(self, event_id: str) -> Call:
        """Wait for the end of an event; errors as for `call`."""
        return checked(self.cattle.wait(event_id, wait_s=CALL_TIMEOUT_MS / 1000))

    def pids(self) -> dict[str, int]:
        """Return the process ids by process name."""
        pids = {"bridge": self.bridge.pid, "worker: supervisor": self.worker.pid}
        for line in self.worker.output().splitlines():
            if '"lane.ready"' in line:
                ready = json.loads(line)
                pids[f"worker: lane {ready['lane']}"] = int(ready["pid"])
        return {**pids, "redis-server": self._redis_server.pid}

    def _start(self) -> None:
        self._redis_server = self._stack.enter_context(RedisServer())
        self.redis: redis.Redis = redis.Redis.from_url(
            self._redis_server.url, decode_responses=True
        )
        self._stack.callback(self.redis.close)
        state = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="cowpoke-bench-"))
        secret = secrets.token_urlsafe(16)
        url = self._start_cattle(secret)
        shared = {
            "REDIS_URL": self._redis_server.url,
            "QUEUE_KEY": Fernet.generate_key().decode(),
            "CATTLE_URL": url,
        }
        self.worker = self._program(
            "worker",
            {
                **shared,
                **self._engine_environment,
                "CATTLE_HOME": str(Path(state)),
                "CATTLE_AGENT_IP": "127.0.0.1",
                "CATTLE_DOCKER_UUID": HOST_UUID,
            },
        )
        keys = {"CATTLE_ACCESS_KEY": "bench-agent", "CATTLE_SECRET_KEY": secret}
        self.bridge = self._program("bridge", {**shared, **keys})
        self.bridge.wait_for_line(r"stream\.opened", START_TIMEOUT_S)
        wait_until(
            lambda: self.worker.output().count('"lane.ready"') >= LANES,
            START_TIMEOUT_S,
            f"{LANES} lanes of the worker",
        )

    def _start_cattle(self, secret: str) -> str:
        agents = [{"access_key": "bench-agent", "secret_key": secret, "kind": "agent"}]
        program = self._program(
            "simulator",
            {"SIMULATOR_AGENTS": json.dumps(agents), "SIMULATOR_PING_INTERVAL_S": "0"},
        )
        line = program.wait_for_line(r"^simulator: http", START_TIMEOUT_S)
        url = line.split(" ", 1)[1].strip()
        self.cattle = Cattle(url)
        self._stack.callback(self.cattle.close)
        return url

    def _program(self, module: str, environment: Mapping[str, str]) -> Program:
        return self._stack.enter_context(Program(module, environment=environment))


def checked(call: Call) -> Call:
    """Return the call if it succeeded, else raise CallFailedError."""
    if call.state != "success":
        raise CallFailedError(
            f"wanted {call.record.get('name')} to succeed, it ended in {call.state}: "
            f"{call.message or 'no reply'}"
        )
    return call
