"""Run a command, adopt its orphaned processes, and leave no process behind.

    python -m simulator.rig.reaper COMMAND [ARGUMENT...]

Tests kill programs whose children become orphans. Without this module, process 1 of the system
adopts them. In a container that may be `make`, which does not expect other children.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence

PR_SET_CHILD_SUBREAPER = 36
#: Time for orphans to end by themselves, for example after a signal they just got.
GRACE_S = 10.0
POLL_INTERVAL_S = 0.05
USAGE_ERROR = 2
_USAGE = "Usage: python -m simulator.rig.reaper COMMAND [ARGUMENT...]\n"


def run(command: Sequence[str], *, grace_s: float = GRACE_S) -> int:
    """Run the command, reap every descendant, and return the exit code for the shell.

    Orphans that still run `grace_s` after the command are killed and printed to standard error.
    The exit code is then 1 instead of 0.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    # A terminal signals the whole foreground group, so the command gets its own SIGINT.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    environment = os.environ  # noqa: TID251 -- the command gets what this process got
    main_pid = os.posix_spawnp(command[0], [*command], environment, setsigdef=[signal.SIGINT])
    signal.signal(signal.SIGTERM, lambda *_: _send(main_pid, signal.SIGTERM))
    code = _reap_until(main_pid)
    left = _end_orphans(grace_s)
    if left:
        sys.stderr.write(f"{command[0]} left processes behind:\n")
        sys.stderr.writelines(f"  {one}\n" for one in left)
    return code or int(bool(left))


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _reap_until(main_pid: int) -> int:
    while True:
        pid, status = os.wait()
        if pid == main_pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _end_orphans(grace_s: float) -> list[str]:
    """Wait for the orphans, kill the remaining ones, and return their command lines."""
    left: list[str] = []
    deadline_s = time.monotonic() + grace_s
    while _reap_ended():
        if time.monotonic() >= deadline_s:
            for orphan in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    left.append(" ".join(orphan.cmdline()) or orphan.name())
                    orphan.kill()
            deadline_s += grace_s
        time.sleep(POLL_INTERVAL_S)
    return left


def _reap_ended() -> bool:
    """Reap every child that exited; return whether any is left."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return False
    return True


if __name__ == "__main__":
    if sys.argv[1:] in (["--help"], []):
        # Only these: options behind the command belong to it.
        sys.stderr.write(_USAGE) if not sys.argv[1:] else sys.stdout.write(_USAGE)
        sys.exit(0 if sys.argv[1:] else USAGE_ERROR)
    sys.exit(run(sys.argv[1:]))
