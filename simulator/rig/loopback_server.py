"""A server program on a free loopback port with its own folder."""

from __future__ import annotations

import abc
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from simulator.rig.processes import dies_with_parent

if TYPE_CHECKING:
    from types import TracebackType

START_TIMEOUT_S = 15
STOP_TIMEOUT_S = 10
PORT_TRIES = 5


class LoopbackServer(abc.ABC):
    """One process and its data folder; subclasses define the program."""

    #: What it is called in its folder's name and in errors.
    name: ClassVar[str]
    #: Raised when it does not come up, with its last words.
    start_error: ClassVar[type[Exception]]

    def __init__(self) -> None:
        self.directory = Path()
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @abc.abstractmethod
    def command(self) -> list[str]:
        """Return the command line, after the settings are written to the folder.

        Errors: a RigError if the program is missing.
        """

    def environment(self) -> dict[str, str] | None:
        """Return its environment; None means the environment of this process."""
        return None

    @abc.abstractmethod
    def answers(self) -> bool:
        """Return whether it answers."""

    def __enter__(self) -> Self:
        return self if self._process is not None else self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._process is None:
            raise self.start_error(f"the {self.name} has not been started")
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start on a free port in a new folder and wait until it answers."""
        self.directory = Path(tempfile.mkdtemp(prefix=f"cowpoke-{self.name}-"))
        try:
            for last_try in [False] * (PORT_TRIES - 1) + [True]:
                self.port = free_port()
                try:
                    return self._launch()
                except self.start_error:
                    # Another process may have taken the port between our look and its start.
                    if last_try or "in use" not in self._log():
                        raise
        except BaseException:
            self.stop()
            raise
        return self

    def restart(self) -> Self:
        """Start again on the same port and the same data; a running server is stopped first."""
        self._end()
        return self._launch()

    def kill(self) -> None:
        """Kill the server (SIGKILL): its memory is lost, its files are kept."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)

    def stop(self) -> None:
        """Stop the server and remove its folder."""
        self._end()
        if self.directory != Path():
            shutil.rmtree(self.directory, ignore_errors=True)

    def _launch(self) -> Self:
        command = dies_with_parent(self.command())
        with self._log_path().open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() >= deadline:
                self._end()
                raise self.start_error(
                    f"the {self.name} on port {self.port} gave no answer; it printed:\n"
                    f"{self._log()[-2000:]}"
                )
            time.sleep(0.01)
        return self

    def _end(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def _log_path(self) -> Path:
        return self.directory / f"{self.name}.log"

    def _log(self) -> str:
        return self._log_path().read_text(encoding="utf-8", errors="replace")


def free_port() -> int:
    """Return a TCP port that is free on loopback now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
