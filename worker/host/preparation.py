"""Prepare the machine for Rancher's networks and storage drivers, as the old agent did (B.6).

- Kernel modules for ipsec, vxlan and port rules. Which of them exist depends on the kernel; those
  that do not are no error.
- Shared folders: what a storage driver mounts in its container must be visible to the Engine. Where
  `/` is shared, as systemd makes it, nothing is to be done; otherwise the folder becomes a shared
  mount in the Engine's mount namespace.

Both need root's rights on the machine; in a container also its processes (`pid: host`).
"""

import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from cowpoke.log import logger
from worker.host.engine_process import (
    PROC,
    EngineAwayError,
    NotEnteredError,
    engine_pid,
    may_enter,
    run_beside_engine,
)
from worker.host.locks import Locks
from worker.host.mounts import covering
from worker.settings import WorkerSettings

MODULES = (
    *("ansi_cprng", "drbg", "esp4", "veth", "xfrm4_mode_tunnel", "xfrm6_mode_tunnel"),
    *("xt_mark", "xt_nat", "vxlan"),
)
SHARED_FOLDERS = (PurePosixPath("/var/lib/rancher/volumes"), PurePosixPath("/var/lib/kubelet"))
_LOADED_MODULES = Path("/sys/module")
_TIMEOUT_S = 30.0
_LOOK_EVERY_S = 5.0
_LOCK = "host preparation"
#: As modprobe says it; a module that does not exist is another sentence.
_FORBIDDEN = ("not permitted", "denied")
_SHARE = 'mkdir -p "$1" && mount --bind "$1" "$1" && mount --make-shared "$1"'
_SHARE_MOUNT = 'mount --make-shared "$1"'

_log = logger(__name__)


def prepare_host(settings: WorkerSettings) -> None:
    """Load the modules and share the folders, as far as the worker has the right.

    Waits for an Engine that is away. One warning says what could not be done.
    Errors: OSError for an unusable lock folder.
    """
    if not settings.prepare_host or not settings.docker_enabled:
        return
    while (reason := obstacle(settings)) is _AWAY:
        time.sleep(_LOOK_EVERY_S)
    with Locks(settings.lock_dir, wait_s=settings.lock_wait_s).try_hold(_LOCK) as held:
        if not held:
            return
        problems = [reason] if reason is not None else _prepare(settings)
    if problems:
        _log.warning("host.not_prepared", reason="; ".join(problems), advice=ADVICE)


def _prepare(settings: WorkerSettings) -> list[str]:
    problems = []
    for step in (load_modules, share_folders):
        try:
            pid = engine_pid(settings.docker_host)
            if pid is not None:
                step(pid)
        except (EngineAwayError, NotEnteredError, OSError, ValueError) as error:
            problems.append(str(error))
    return problems


ADVICE = (
    "run the worker as root, in a container with `pid: host` and the privileges in "
    "docker-compose.yml; or load the modules and share the folders yourself, and set "
    "WORKER_PREPARE_HOST=false"
)


def note_for_operator(settings: WorkerSettings) -> str | None:
    """Return what an operator should know about a machine that is not prepared; else None."""
    if not settings.prepare_host or not settings.docker_enabled:
        return None
    reason = obstacle(settings)
    if reason is None or reason is _AWAY:
        return None
    return f"this machine is not prepared for Rancher: {reason}; {ADVICE}"


#: An Engine that is away is no obstacle: it may come.
_AWAY = "the Engine does not answer"


def obstacle(settings: WorkerSettings) -> str | None:
    """Return why this process cannot prepare the machine; None when nothing is known against it."""
    if not settings.docker_host.startswith("unix://"):
        return "the Engine is not reached by a socket of this machine"
    if not may_enter():
        return "the worker may not enter the namespaces of the machine (SYS_ADMIN)"
    try:
        pid = engine_pid(settings.docker_host)
    except EngineAwayError:
        return _AWAY
    return None if pid is not None else "the worker does not see the Engine's process"


def load_modules(pid: int, modules: Sequence[str] = MODULES) -> None:
    """Load what is missing of the kernel modules.

    Errors: NotEnteredError when the machine does not let the worker try.
    """
    missing = [one for one in modules if not (_LOADED_MODULES / one).exists()]
    if not missing:
        return
    done = run_beside_engine(pid, ("mount",), "modprobe", "-a", *missing, timeout_s=_TIMEOUT_S)
    refused = [line for line in done.stderr.splitlines() if any(w in line for w in _FORBIDDEN)]
    if refused:
        raise NotEnteredError(refused[0])
    loaded = [one for one in missing if (_LOADED_MODULES / one).exists()]
    if loaded:
        _log.info("host.modules_loaded", modules=loaded)


def share_folders(pid: int, folders: Sequence[PurePosixPath] = SHARED_FOLDERS) -> None:
    """Make each folder a shared mount for the Engine, unless it lies in one.

    Errors: NotEnteredError, OSError, ValueError.
    """
    for folder in folders:
        mounts = (PROC / str(pid) / "mountinfo").read_text(encoding="utf-8", errors="replace")
        mount = covering(mounts, folder)
        if mount.is_shared:
            continue
        script = _SHARE_MOUNT if mount.path == folder else _SHARE
        done = run_beside_engine(
            pid, ("mount",), "sh", "-c", script, "sh", str(folder), timeout_s=_TIMEOUT_S
        )
        if done.returncode:
            raise NotEnteredError(f"{folder} is not shared: {done.stderr.strip()[:200]}")
        _log.info("host.folder_shared", folder=str(folder))
