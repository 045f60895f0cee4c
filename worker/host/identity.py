"""The identity of this host: its uuids, its name and its address.

A uuid that is not configured is generated once and stored in the state folder. All workers of a
host share the file, so it is written atomically and the first writer wins.

The files are those of `rancher/agent`, and after a way back it reads them again. It does not trim
them: a newline at the end would be part of the uuid, and so make a second host.

Row numbers (A, B, C) refer to docs/parity.md.
"""

import ipaddress
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
#: The address of this host as cattle saw it when the host joined.
DETECTED_IP_FILE = ".detected_agent_ip"


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """The identity of this host for cattle and the bridge."""

    host_uuid: str
    physical_host_uuid: str
    hostname: str
    #: The address that the operator configured, or a name of it.
    given_ip: str | None
    #: Where a join stores the address that cattle saw; read each time, for a worker may run then.
    detected_ip_file: Path | None = None

    @property
    def host_ip(self) -> str | None:
        """The address of published ports, which pings report; None when none is known."""
        if self.given_ip or self.detected_ip_file is None:
            return self.given_ip
        return detected_ip(self.detected_ip_file)


def identify(settings: WorkerSettings) -> Identity:
    """Return the identity of this host; generate and store the uuids that are not configured.

    Errors: HostFactsError when a uuid is invalid, or the state folder cannot be written.
    Source: python-agent `cattle/__init__.py` (docker uuid, physical host uuid).
    """
    physical, docker = settings.physical_host_uuid_file, settings.docker_uuid_file
    return Identity(
        host_uuid=_uuid(settings.docker_uuid, docker, settings.home / docker.name),
        physical_host_uuid=_uuid(
            settings.physical_host_uuid, physical, settings.home / physical.name
        ),
        hostname=settings.hostname or kept_hostname(settings) or socket.gethostname(),
        given_ip=settings.docker_host_ip or settings.agent_ip,
        detected_ip_file=settings.state_dir / DETECTED_IP_FILE,
    )


def detected_ip(path: Path) -> str | None:
    """Return the address that a join stored; None without a file, or when it has no usable one."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
        found = ipaddress.ip_address(text)
    except (OSError, ValueError):
        return None
    # The server sees such an address of a host beside it; nobody else reaches it.
    return None if found.is_loopback or found.is_unspecified else str(found)


def kept_hostname(settings: WorkerSettings) -> str | None:
    """Return the name of the machine that `keep_hostname` stored; None where nothing is stored."""
    try:
        return (settings.state_dir / HOSTNAME_FILE).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def keep_hostname(settings: WorkerSettings, name: str) -> None:
    """Store the name of the machine for all workers of this host.

    In a container the kernel knows only the name of the container, which differs for each worker.
    cattle would rename the host with every ping. See `worker.process.hostname`.
    """
    _keep(name, settings.state_dir / HOSTNAME_FILE)


def _uuid(given: str | None, path: Path, former: Path) -> str:
    """`former` is where workers kept it that had no state folder of their own yet."""
    if given is None:
        return _checked(kept_uuid(path, former), str(path))
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
    """Store a value without a newline, unless the file has exactly it already (A 15.12)."""
    try:
        if path.exists() and path.read_text(encoding="utf-8", errors="replace") == given:
            return
        write_whole(path, given)
    except OSError as error:
        _log.warning("identity.not_written", path=str(path), reason=error.strerror)


def kept_uuid(path: Path, former: Path | None = None) -> str:
    """Return the uuid in the file; if it does not exist, take it from the former one, or make it.

    An existing file is only read, so that a host with a full disk can start (C 10); but a newline
    at its end is taken away, once.
    """
    try:
        if not path.exists():
            _store_first(path, _former_uuid(former) or str(uuid.uuid4()))
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise HostFactsError(
            f"cannot store the uuid of this host in {path}: {error.strerror}; make the folder "
            "writable, or set CATTLE_HOME or CATTLE_STATE_DIR to a writable one"
        ) from error
    found = text.strip()
    # The text need not look like a uuid: a value that the operator configured is stored here too.
    if len(found.split()) != 1:
        raise HostFactsError(
            f"{path} contains no uuid but {found[:60]!r}; restore the file, or remove it to become "
            "a new host"
        )
    if text != found:
        _keep(found, path)
    return found


def _former_uuid(path: Path | None) -> str | None:
    """Errors: OSError, HostFactsError when the file exists and cannot be used."""
    return kept_uuid(path) if path is not None and path.exists() else None


def _store_first(path: Path, made: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False) as fresh:
        try:
            fresh.write(made)
            fresh.flush()
            os.fsync(fresh.fileno())
            # A link fails if the file exists, so two workers that start at once share one uuid.
            with suppress(FileExistsError):
                os.link(fresh.name, path)
        finally:
            Path(fresh.name).unlink()
