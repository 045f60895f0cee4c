"""The part of `cowpoke doctor` about a host: state folder, identity, Engine, lanes, keys."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from cowpoke import scrubbing
from cowpoke.doctor.finding import CORRECT_IT, Finding, Part
from cowpoke.environment import BadEnvironmentError, is_given, read
from cowpoke.keys import is_host_uuid
from cowpoke.routes import Lane
from worker.host.preparation import note_for_operator
from worker.process.readiness import look_at_engine, redis_problems
from worker.settings import WorkerSettings

_PART = Part("worker")
#: One of these is set where a worker runs.
_MARKS = ("HOST_KEY", "CATTLE_HOME", "CATTLE_STATE_DIR", "CATTLE_DOCKER_UUID", "DOCKER_HOST")
#: Locks, pulls and the files of image builds need room.
LEAST_FREE_BYTES = 100 * 1024 * 1024
MEGABYTE = 1024 * 1024
_LOGIN_ADVICE = (
    "store the newest bundle of this host (`cowpoke join --bundle`); on the hub, `cowpoke hosts "
    "add --host UUID --again` makes another one, also after `cowpoke hosts remove`"
)


def examine(*, asked: bool) -> Iterator[Finding]:
    """Yield what there is to say about this host, where a worker has its settings."""
    try:
        settings = read(WorkerSettings)
    except BadEnvironmentError as error:
        if asked or any(map(is_given, _MARKS)):
            for line in str(error).splitlines():
                yield _PART.problem("settings", line, advice=CORRECT_IT)
        return
    scrubbing.keep_secret(settings)
    if not (asked or any(map(is_given, _MARKS)) or settings.docker_uuid_file.exists()):
        said = f"no worker has run here: {', '.join(_MARKS)} are not set"
        yield _PART.skipped("settings", said)
        return
    yield _PART.good("settings", "they are complete")
    yield from _folder("state folder", settings.state_dir)
    if settings.lock_dir != settings.state_dir:
        yield from _folder("lock folder", settings.lock_dir)
    yield _identity(settings)
    yield _engine(settings)
    found = redis_problems(settings, tuple(Lane))
    for line in found:
        # The part about Redis says what to do about Redis.
        code = {"QUEUE_KEY": "keys-differ", "Redis": "redis-down"}.get(line.partition(":")[0])
        advice = _LOGIN_ADVICE if line.startswith("Redis: refuses the login") else ""
        yield _PART.problem("lanes", line, code=code or "host-without-worker", advice=advice)
    if not found:
        yield _PART.good("lanes", "all lanes take events, with keys that the bridges know")
    if note := note_for_operator(settings):
        yield _PART.note("host", note)


def _folder(check: str, folder: Path) -> Iterator[Finding]:
    if not folder.is_dir():
        said = f"{folder} does not exist; a worker makes it"
        yield _PART.note(check, said)
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        said = f"{folder} is not writable for this user (uid {os.geteuid()})"
        yield _PART.problem(check, said, code="state-folder")
        return
    free_bytes = shutil.disk_usage(folder).free
    said = f"{folder} is writable, {free_bytes // MEGABYTE} MB are free"
    if free_bytes < LEAST_FREE_BYTES:
        yield _PART.problem(check, said, code="state-folder")
    else:
        yield _PART.good(check, said)


def _identity(settings: WorkerSettings) -> Finding:
    """Return which host this is, without making one."""
    stored = ""
    if settings.docker_uuid_file.is_file():
        # Not trimmed: rancher/agent does not trim it either.
        stored = settings.docker_uuid_file.read_text(encoding="utf-8", errors="replace")
    found = settings.docker_uuid or stored
    if not found:
        return _PART.note("identity", "this host has no uuid yet; the first worker makes one")
    if not is_host_uuid(found):
        said = f"the uuid of the host is not valid: {found}"
        advice = "a uuid has letters, digits and . _ - only, and no newline: correct "
        return _PART.problem("identity", said, advice=f"{advice}{settings.docker_uuid_file}")
    return _PART.good("identity", f"host {found}")


def _engine(settings: WorkerSettings) -> Finding:
    if not settings.docker_enabled:
        return _PART.skipped("Engine", "CATTLE_DOCKER_ENABLED is false")
    state = look_at_engine(settings)
    where = settings.docker_host
    if not state.reachable:
        return _PART.problem("Engine", f"{where}: {state.reason}", code="engine-unreachable")
    said = f"Docker {state.version} at {where}, API {state.api_version} is used"
    if state.reason:
        return _PART.problem("Engine", f"{said}: {state.reason}", code="engine-version")
    return _PART.good("Engine", said)
