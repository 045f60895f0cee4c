"""Find out the name of the machine: CATTLE_HOSTNAME, else what `hostname -f` says there (B.6).

It is looked up once, when a worker starts, and stored for all its processes: a name server may be
slow, and each lane must tell cattle the same name.
"""

import shutil
import socket
import subprocess

from cowpoke.log import logger
from worker.engine.client import Engine
from worker.errors import WorkerError
from worker.host.engine_process import (
    EngineAwayError,
    NotEnteredError,
    engine_pid,
    run_beside_engine,
)
from worker.host.identity import keep_hostname, kept_hostname
from worker.operations.protection import own_container_id
from worker.settings import WorkerSettings

LOOK_UP_TIMEOUT_S = 5.0
_COMMAND = ("hostname", "-f")

_log = logger(__name__)


def learn_hostname(settings: WorkerSettings) -> None:
    """Store the name of the machine, unless it is configured; see `worker.host.identity`.

    In a container a stored name is not looked up again.
    """
    if settings.hostname:
        return
    kept = kept_hostname(settings)
    if own_container_id() is None:
        _keep_own(settings, kept)
    elif not kept and (name := _engines_name(settings)):
        keep_hostname(settings, _full_name_there(settings, name) or name)


def _keep_own(settings: WorkerSettings, kept: str | None) -> None:
    short = socket.gethostname()
    # While no name server answers, the last full name is the better one.
    name = _full_name() or (kept if kept and _is_same(kept, short) else short)
    if name != (kept or short):
        keep_hostname(settings, name)


def _full_name() -> str | None:
    program = shutil.which(_COMMAND[0])
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 -- a constant
            [program, *_COMMAND[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LOOK_UP_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return _usable(done)


def _full_name_there(settings: WorkerSettings, short: str) -> str | None:
    """Return the full name as the machine itself knows it, seen from a container."""
    if socket.gethostname() == short and (name := _full_name()):
        return name
    try:
        pid = engine_pid(settings.docker_host)
        if pid is None:
            return None
        done = run_beside_engine(
            pid, ("mount", "uts", "net"), *_COMMAND, timeout_s=LOOK_UP_TIMEOUT_S
        )
    except (EngineAwayError, NotEnteredError):
        return None
    return _usable(done)


def _usable(done: subprocess.CompletedProcess[str]) -> str | None:
    """Return the name that was found; None for an error or a form of `localhost`."""
    name = done.stdout.strip()
    is_name = done.returncode == 0 and len(name.split()) == 1
    return name if is_name and not name.lower().startswith("localhost") else None


def _is_same(full: str, short: str) -> bool:
    return full.partition(".")[0].lower() == short.partition(".")[0].lower()


def _engines_name(settings: WorkerSettings) -> str | None:
    engine = Engine(settings)
    try:
        name = engine.facts(timeout_s=engine.read_timeout_s).get("Name")
    except WorkerError as error:
        _log.warning("hostname.unknown", reason=error.message, advice="set CATTLE_HOSTNAME")
        return None
    finally:
        engine.close()
    return str(name) if name else None
