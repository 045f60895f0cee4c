"""Change the log level of a running program with a signal.

SIGUSR1 turns debug messages on, SIGUSR2 goes back to the level of the settings. The kernel
lets only root and the user of the program send them, so no user of Redis can change a level.

A program has a name of its own in `/proc/<pid>/comm`, by which `cowpoke log-level` finds it. The
supervisor of a worker passes the signal on to its lanes.
"""

import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from cowpoke import log

_log = log.logger(__name__)

DEBUG = signal.SIGUSR1
AS_SET = signal.SIGUSR2
SIGNALS = (DEBUG, AS_SET)
#: Programs that a signal can be sent to, by the name of their process.
PROGRAMS = {"cowpoke-bridge": "bridge", "cowpoke-worker": "worker"}

_PR_SET_NAME = 15
#: The kernel cuts longer names.
_MOST_NAME_BYTES = 15


class LevelSwitch:
    """Changes the level of this process; `debug` is the value of the settings."""

    def __init__(self, *, debug: bool) -> None:
        self._as_set = debug

    def change(self, number: int) -> None:
        """Do what a signal asks for, and log it."""
        debug = self._as_set or number == DEBUG
        log.set_debug(debug)
        _log.info("log.level_changed", log_level="debug" if debug else "info")

    def listen(self) -> None:
        """Obey the signals from now on; call it in the main thread.

        A handler may interrupt the main thread while it writes a log line. So another thread logs.
        """

        def obey(number: int, _: FrameType | None) -> None:
            threading.Thread(target=self.change, args=(number,), daemon=True).start()

        for number in SIGNALS:
            signal.signal(number, obey)


def name_process(name: str) -> None:
    """Set the name of this process, as `ps -o comm` shows it; call it in the main thread."""
    raw = name.encode()[:_MOST_NAME_BYTES]
    ctypes.CDLL(None).prctl(_PR_SET_NAME, raw, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class RunningProgram:
    """A bridge, or the supervisor of a worker."""

    pid: int
    kind: str
    #: Whether it has begun to listen: the signal would end it before that.
    listens: bool


def running_programs(proc: Path = Path("/proc")) -> Iterator[RunningProgram]:
    """Yield the programs that run in this container, or on this machine outside of containers.

    Programs of other users are left out, unless this process belongs to root.
    """
    here = _mounts(proc / "self")
    for folder in sorted(proc.glob("[0-9]*"), key=lambda one: int(one.name)):
        try:
            kind = PROGRAMS.get((folder / "comm").read_text(encoding="utf-8").strip())
            if kind is None or _mounts(folder) != here:
                continue
            yield RunningProgram(int(folder.name), kind, _catches(folder / "status"))
        except OSError:  # it ended meanwhile, or belongs to another user
            continue


def send(pid: int, number: signal.Signals) -> None:
    """Send one of the signals.

    Errors: OSError.
    """
    os.kill(pid, number)


def _mounts(folder: Path) -> str:
    """Identify the mount namespace: containers share process ids, but never this one."""
    return str((folder / "ns" / "mnt").readlink())


def _catches(status: Path) -> bool:
    for line in status.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == "SigCgt":
            caught = int(value, 16)
            return all(caught >> (number - 1) & 1 for number in SIGNALS)
    return False
