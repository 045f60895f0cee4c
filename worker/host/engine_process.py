"""The Engine's process as this machine shows it, and programs run in its namespaces.

The Engine mounts volumes in its own mount namespace, and the name of the machine is known where it
runs. A worker in a container reaches both with `pid: host` and the right to enter namespaces.
"""

import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

PROC = Path("/proc")
_UNIX = "unix://"
_ENGINE = "dockerd"
_TIMEOUT_S = 5.0
# struct ucred: pid, uid, gid.
_CREDENTIALS = struct.Struct("3i")


class NotEnteredError(Exception):
    """A program could not be run in the namespaces of the Engine; the text says why."""


class EngineAwayError(Exception):
    """Nobody listens at the Engine's socket."""


def engine_pid(docker_host: str, proc: Path = PROC) -> int | None:
    """Return the process of the Engine behind a socket; None where this process cannot see it.

    The kernel names the process that listens. That may be systemd, which opened the socket for the
    Engine; then the Engine is the first process of its name in the same PID namespace.
    Errors: EngineAwayError.
    """
    if not docker_host.startswith(_UNIX):
        return None
    listener = _listener(docker_host.removeprefix(_UNIX))
    if listener is None or _name(listener, proc) == _ENGINE:
        return listener
    try:
        space = _space(listener, proc)
        running = sorted(int(one.name) for one in proc.iterdir() if one.name.isdigit())
    except OSError:
        return listener
    for pid in running:
        try:
            if _name(pid, proc) == _ENGINE and _space(pid, proc) == space:
                return pid
        except OSError:  # it ended, or may not be looked at
            continue
    return listener


def _listener(path: str) -> int | None:
    """Errors: EngineAwayError."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_TIMEOUT_S)
            client.connect(path)
            raw = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError as error:
        raise EngineAwayError(f"{path}: {error.strerror or error}") from error
    pid: int = _CREDENTIALS.unpack(raw)[0]
    return pid or None  # 0: of another PID namespace


def _name(pid: int, proc: Path) -> str:
    try:
        return (proc / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _space(pid: int, proc: Path) -> int:
    """Errors: OSError."""
    return (proc / str(pid) / "ns" / "pid").stat().st_ino


def run_beside_engine(
    pid: int, namespaces: Sequence[str], *command: str, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run a program of the machine in namespaces of the Engine: `mount`, `uts`, `net`.

    Errors: NotEnteredError when it cannot be run; a program that fails is no error.
    """
    nsenter = shutil.which("nsenter")
    if nsenter is None:
        raise NotEnteredError("the program nsenter is missing (package util-linux)")
    entered = [nsenter, f"--target={pid}", *(f"--{name}" for name in namespaces), "--", *command]
    try:
        done = subprocess.run(  # noqa: S603 -- programs and arguments are ours
            entered,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            # Programs of the machine lie elsewhere than in our image.
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotEnteredError(f"{command[0]}: {error}") from error
    # What nsenter itself says begins with its name: it entered nothing, or found no program.
    if done.returncode and done.stderr.startswith("nsenter:"):
        raise NotEnteredError(done.stderr.strip())
    return done


def may_enter() -> bool:
    """Whether this process may enter another mount namespace: the capability SYS_ADMIN."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return os.geteuid() == 0
    held = next((line.split()[1] for line in lines if line.startswith("CapEff:")), "0")
    return bool(int(held, 16) >> 21 & 1)
