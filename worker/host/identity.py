"""The identity of this host: its uuids, its name and its address.

A uuid that is not configured is generated once and stored in the state folder. All workers of a
host share the file, so it is written atomically and the first writer wins.

Row numbers (A, C) refer to docs/parity.md.
"""

import os
import socket
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from cowpoke.keys import RESERVED_ENDS, is_host_uuid
from cowpoke.log import logger
from worker.errors import HostFactsError
from worker.host.files import write_whole
from worker.settings import WorkerSettings

_log = logger(__name__)

HOSTNAME_FILE = ".hostname"


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """The identity of this host for cattle and the bridge."""

    host_uuid: str
    physical_host_uuid: str
    hostname: str
    #: The address of published ports, which pings report; None when it is not configured.
    host_ip: str | None


def identify(settings: WorkerSettings) -> Identity:
    """Return the identity of this host; generate and store the uuids that are not configured.

    Errors: HostFactsError when a uuid is invalid, or the state folder cannot be written.
    Source: python-agent `cattle/__init__.py` (docker uuid, physical host uuid).
    """
    return Identity(
        host_uuid=_uuid(settings.docker_uuid, settings.docker_uuid_file),
        physical_host_uuid=_uuid(settings.physical_host_uuid, settings.physical_host_uuid_file),
        hostname=settings.hostname or kept_hostname(settings) or socket.gethostname(),
        host_ip=settings.docker_host_ip or settings.agent_ip,
    )


def kept_hostname(settings: WorkerSettings) -> str | None:
    """Return the name of the machine that `keep_hostname` stored; None outside of containers."""
    try:
        return (settings.state_dir / HOSTNAME_FILE).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def keep_hostname(settings: WorkerSettings, name: str) -> None:
    """Store the name of the machine for all workers of this host.

    In a container the kernel knows only the name of the container, which differs for each worker.
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
            f"{found[:60]!r} in {where} cannot be a host's uuid: it may have letters, digits, '.', "
            f"'_' and '-', and must not end with {', '.join(RESERVED_ENDS)}"
        )
    return found


def _keep(given: str, path: Path) -> None:
    """Store a configured value, in case it is not configured any more later (A 15.12)."""
    try:
        if path.exists() and path.read_text(encoding="utf-8", errors="replace").strip() == given:
            return
        write_whole(path, f"{given}\n")
    except OSError as error:
        _log.warning("identity.not_written", path=str(path), reason=error.strerror)


def kept_uuid(path: Path) -> str:
    """Return the uuid in the file; generate it if the file does not exist.

    An existing file is only read, so that a host with a full disk can start (C 10).
    """
    try:
        if not path.exists():
            _make_uuid(path)
        found = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise HostFactsError(
            f"cannot store the uuid of this host in {path}: {error.strerror}; make the folder "
            "writable, or set CATTLE_HOME or CATTLE_STATE_DIR to a writable one"
        ) from error
    # The text need not look like a uuid: a value that the operator configured is stored here too.
    if len(found.split()) != 1:
        raise HostFactsError(
            f"{path} contains no uuid but {found[:60]!r}; restore the file, or remove it to become "
            "a new host"
        )
    return found


def _make_uuid(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False) as fresh:
        try:
            fresh.write(f"{uuid.uuid4()}\n")
            fresh.flush()
            os.fsync(fresh.fileno())
            # A link fails if the file exists, so two workers that start at once share one uuid.
            with suppress(FileExistsError):
                os.link(fresh.name, path)
        finally:
            Path(fresh.name).unlink()
