"""Run the project's programs as real processes, and never leave one behind."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

PROJECT_DIR = Path(__file__).resolve().parents[2]
POLL_INTERVAL_S = 0.02
SHOWN_OUTPUT_CHARS = 4000
KEPT_VARIABLES = (
    *("PATH", "HOME", "LANG", "TMPDIR", "PYTHONDONTWRITEBYTECODE"),
    *("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"),
)

#: A program of a test, a demo or a measurement leaves the machine as it is, and asks no cloud: no
#: program listens on the port `discard`.
HARMLESS_VARIABLES = {
    "WORKER_PREPARE_HOST": "false",
    "WORKER_METADATA_URL": "http://127.0.0.1:9",
    "WORKER_ALIYUN_METADATA_URL": "http://127.0.0.1:9",
}

T = TypeVar("T")


class WaitTimeoutError(AssertionError):
    """A condition was not met in time."""


class ProgramEndedError(RuntimeError):
    """A program exited before an expected event."""


def wait_until(
    condition: Callable[[], T], timeout_s: float, what: str, *, interval_s: float = POLL_INTERVAL_S
) -> T:
    """Poll a condition until it returns a true value, and return that value.

    Errors:
        WaitTimeoutError: contains `what` and the last value.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise WaitTimeoutError(f"waited {timeout_s:g} s for {what}; last seen: {value!r}")
        time.sleep(interval_s)


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def dies_with_parent(command: Sequence[str]) -> list[str]:
    """Wrap a command so that it gets SIGTERM when the thread that started it ends.

    A killed test run or demo leaves nothing behind. On systems other than Linux the command is
    unchanged.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", *command] if setpriv else list(command)


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the minimal environment of a program, plus the given variables."""
    inherited = os.environ  # noqa: TID251 -- a child process's environment begins with ours
    base = {name: inherited[name] for name in KEPT_VARIABLES if name in inherited}
    return {**base, "PYTHONUNBUFFERED": "1", **HARMLESS_VARIABLES, **(extra or {})}


class Program:
    """One of the project's programs in its own process group, with its output in a file.

    Start it from a long-lived thread: it is killed when that thread ends.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        enter: Sequence[str] = (),
    ) -> None:
        self.module = module
        #: A command that runs the program somewhere else, see `simulator.rig.machine`.
        self.enter = tuple(enter)
        self.arguments = arguments
        self.environment = dict(environment or {})
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._output_path: Path | None = None

    def __enter__(self) -> Self:
        try:
            return self if self._process is not None else self.start()
        except BaseException:
            # Ctrl-C while it starts: no block has begun, so nobody else stops it.
            self.stop()
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Start `python -m MODULE` with a clean environment; append output to the same file."""
        if self._output_path is None:
            handle, name = tempfile.mkstemp(prefix=f"cowpoke-{self.module}-", suffix=".log")
            os.close(handle)
            self._output_path = Path(name)
        with self._output_path.open("ab") as output:
            self._process = subprocess.Popen(
                dies_with_parent([*self.enter, sys.executable, "-m", self.module, *self.arguments]),
                env=clean_environment(self.environment),
                cwd=self._directory or PROJECT_DIR,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    @property
    def pid(self) -> int:
        """Process id; also the id of its process group."""
        return self._started().pid

    @property
    def returncode(self) -> int | None:
        """Exit code, or None while it runs; negative for a signal."""
        return self._started().poll()

    @property
    def running(self) -> bool:
        """Return whether the main process runs."""
        return self._process is not None and self._process.poll() is None

    def output(self) -> str:
        """Return the output so far."""
        if self._output_path is None or not self._output_path.exists():
            return ""
        return self._output_path.read_text(encoding="utf-8", errors="replace")

    def wait_for_line(self, pattern: str, timeout_s: float = 30, *, after_chars: int = 0) -> str:
        """Wait until a line of the output matches, and return that line.

        `after_chars` skips earlier output (an earlier `len(program.output())`).

        Errors:
            ProgramEndedError: it exited without that line.
            WaitTimeoutError: the line did not appear in time. Both quote the end of the output.
        """
        matching = re.compile(pattern)
        deadline = time.monotonic() + timeout_s
        while True:
            ended = not self.running  # asked before reading: the last lines are still read
            text = self.output()[after_chars:]
            for line in text.splitlines():
                if matching.search(line):
                    return line
            last = f"its last output:\n{text[-SHOWN_OUTPUT_CHARS:]}"
            if ended:
                raise ProgramEndedError(
                    f"{self.module} ended with code {self.returncode}"
                    f" before a line matched {pattern!r}; {last}"
                )
            if time.monotonic() >= deadline:
                raise WaitTimeoutError(
                    f"waited {timeout_s:g} s for {self.module} to print {pattern!r}; {last}"
                )
            time.sleep(POLL_INTERVAL_S)

    def wait(self, timeout_s: float = 30) -> int:
        """Wait for the program's end and return its exit code."""
        try:
            return self._started().wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise WaitTimeoutError(
                f"waited {timeout_s:g} s for {self.module} to end; its last output:\n"
                f"{self.output()[-SHOWN_OUTPUT_CHARS:]}"
            ) from error

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the main process only."""
        self._started().send_signal(number)

    def terminate(self, timeout_s: float = 30) -> int:
        """Stop the program with SIGTERM and return its exit code."""
        self.send_signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def kill(self) -> None:
        """Kill the whole process group (SIGKILL)."""
        process = self._started()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def stop(self, timeout_s: float = 15) -> None:
        """Stop the program if it runs, kill the rest of its group, remove its output file."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, WaitTimeoutError):
                if self.running:
                    self.terminate(timeout_s)
            self.kill()
            self._process = None
        if self._output_path is not None:
            self._output_path.unlink(missing_ok=True)
            self._output_path = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ProgramEndedError(f"{self.module} has not been started")
        return self._process
