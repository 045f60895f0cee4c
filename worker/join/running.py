"""`run`: the programs of the long-lived container, kept running by one small supervisor.

The worker, on a single host a Redis and a bridge beside it, and `cowpoke join` until the host has
joined. They stop in the opposite order, so that what a worker finishes still reaches cattle.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

from cowpoke.environment import CREDENTIALS_VARIABLE
from cowpoke.log import logger
from worker.join import embedded
from worker.join.command import REMOVED_CODE
from worker.join.long_lived import Places

_log = logger(__name__)

_POLL_S = 0.2
_RESTART_FIRST_S, _RESTART_MOST_S = 1.0, 60.0
#: A program that lived this long had a good start.
_STEADY_S = 60.0


@dataclass(slots=True, eq=False)
class _Part:
    """A program, and its process while it runs."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    #: How long it may take to stop.
    stop_s: float
    #: Exit codes after which it is not started again; empty: it must always run.
    final_codes: frozenset[int] = frozenset()
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    due_s: float = 0.0
    restart_s: float = _RESTART_FIRST_S
    is_over: bool = False

    def tick(self) -> None:
        """Start it when it is due, and see whether it ended."""
        now_s = time.monotonic()
        if self.is_over:
            return
        if self.process is None:
            if now_s >= self.due_s:
                self.process = subprocess.Popen(  # noqa: S603 -- our own programs
                    self.command, env=dict(self.environment)
                )
                self.started_s = now_s
            return
        code = self.process.poll()
        if code is None:
            return
        self.process = None
        if code in self.final_codes:
            self.is_over = True
            return
        if now_s - self.started_s > _STEADY_S:
            self.restart_s = _RESTART_FIRST_S
        self.due_s = now_s + self.restart_s
        _log.warning("program.ended", program=self.name, exit_code=code, retry_in_s=self.restart_s)
        self.restart_s = min(self.restart_s * 2, _RESTART_MOST_S)

    def stop(self) -> None:
        """Ask it to stop, wait, and kill it when it does not."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(self.stop_s)
        except subprocess.TimeoutExpired:
            _log.warning("program.killed", program=self.name)
            self.process.kill()
            self.process.wait()
        self.process = None


class Running:
    """The programs of one host."""

    def __init__(
        self, places: Places, environment: Mapping[str, str], *, redis_port: int, takes_over: bool
    ) -> None:
        self._places = places
        self._environment = environment
        self._redis_port = redis_port
        self._takes_over = takes_over
        self._is_stopping = False

    def run(self) -> int:
        """Run until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        parts = self._parts()
        _log.info("agent.started", programs=[part.name for part in parts])
        while not self._is_stopping:
            for part in parts:
                part.tick()
            time.sleep(_POLL_S)
        for part in reversed(parts):
            part.stop()
        return 0

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True

    def _parts(self) -> list[_Part]:
        python = [sys.executable, "-m"]
        parts = []
        if embedded.is_embedded(self._places):
            command = embedded.redis_command(self._places, port=self._redis_port)
            parts.append(_Part("redis", command, self._environment_of("redis"), stop_s=10))
            bridge = self._environment_of("bridge")
            parts.append(_Part("bridge", [*python, "bridge"], bridge, stop_s=15))
        worker = self._environment_of("worker")
        parts.append(_Part("worker", [*python, "worker"], worker, stop_s=45))
        if not (self._places.state / ".joined").exists():
            join = [*python, "cowpoke", "join", *(["--take-over"] if self._takes_over else [])]
            final = frozenset({0, REMOVED_CODE})
            parts.append(_Part("join", join, worker, stop_s=5, final_codes=final))
        return parts

    def _environment_of(self, program: str) -> dict[str, str]:
        self._places.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return {
            **self._environment,
            CREDENTIALS_VARIABLE: str(self._places.credentials / program),
            "CATTLE_STATE_DIR": str(self._places.state),
            "CATTLE_HOME": str(self._places.home),
        }
