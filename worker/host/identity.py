"""Who this host is: its uuids, name and addresses.

A uuid that is not given is made once and kept in the state folder; several workers of one host
share it, so it is written whole or not at all and the first writer wins.
"""

import os
import socket
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from cowpoke.keys import is_host_uuid
from cowpoke.log import logger
from worker.errors import HostFactsError
from worker.host.files import write_whole
from worker.settings import WorkerSettings

_log = logger(__name__)

HOSTNAME_FILE = ".hostname"


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """How this host introduces itself to cattle and to the bridge."""

    host_uuid: str
    physical_host_uuid: str
    hostname: str
    #: The address ping reports and published ports are shown with; None when it was not given.
    host_ip: str | None


def identify(settings: WorkerSettings) -> Identity:
    """This host's identity; makes and keeps the uuids that were not given.

    Errors: HostFactsError when the state folder cannot be written.
    Source: python-agent `cattle/__init__.py` (docker uuid, physical host uuid).
    """
    return Identity(
        host_uuid=_uuid(settings.docker_uuid, settings.docker_uuid_file),
        physical_host_uuid=_uuid(settings.physical_host_uuid, settings.physical_host_uuid_file),
        hostname=settings.hostname or kept_hostname(settings) or socket.gethostname(),
        host_ip=settings.docker_host_ip or settings.agent_ip,
    )


def kept_hostname(settings: WorkerSettings) -> str | None:
    """The machine's name as `keep_hostname` learned it; None outside of containers."""
    try:
        return (settings.state_dir / HOSTNAME_FILE).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def keep_hostname(settings: WorkerSettings, name: str) -> None:
    """Keep the machine's name for all workers of this host.

    In a container the kernel only knows the container's name, another one for each worker, and
    cattle would rename the host with every ping.
    """
    _keep(name, settings.state_dir / HOSTNAME_FILE)


def _uuid(given: str | None, path: Path) -> str:
    if given is None:
        return _checked(kept_uuid(path), str(path))
    _checked(given, "the environment")
    _keep(given, path)
    return given


def _checked(found: str, where: str) -> str:
    """Errors: HostFactsError for a uuid that cannot be part of a Redis key and of its patterns."""
    if not is_host_uuid(found):
        raise HostFactsError(
            f"wanted a uuid of letters, digits, '.', '_' and '-' in {where}, found {found[:60]!r}"
        )
    return found


def _keep(given: str, path: Path) -> None:
    """Write a given uuid down, for the day it is not given any more (A 15.12)."""
    try:
        if path.exists() and path.read_text(encoding="utf-8", errors="replace").strip() == given:
            return
        write_whole(path, f"{given}\n")
    except OSError as error:
        _log.warning("identity.not_written", path=str(path), reason=error.strerror)


def kept_uuid(path: Path) -> str:
    """The uuid in the file, made and written atomically by whoever comes first.

    One that is there is only read: a host whose disk is full must be able to start (C 10).
    """
    try:
        if not path.exists():
            _make_uuid(path)
        found = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise HostFactsError(
            f"wanted to keep this host's uuid in {path}: {error.strerror}; make the folder "
            "writable, or point CATTLE_HOME or CATTLE_STATE_DIR to one that is"
        ) from error
    # Not necessarily a uuid's form: what was once given by the operator is kept here too.
    if len(found.split()) != 1:
        raise HostFactsError(
            f"wanted a uuid in {path}, found {found[:60]!r}; restore the file, or remove it to "
            "become a new host"
        )
    return found


def _make_uuid(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False) as fresh:
        try:
            fresh.write(f"{uuid.uuid4()}\n")
            fresh.flush()
            os.fsync(fresh.fileno())
            # A link fails when the name is taken, so two workers starting at once agree on one.
            with suppress(FileExistsError):
                os.link(fresh.name, path)
        finally:
            Path(fresh.name).unlink()
