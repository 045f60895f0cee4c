"""The volume `rancher-cni`, which contains the program that waits for the network.

Containers in managed networks mount it, and `/.r/r` is their entry point. A volume can be removed
at any time, and a fresh host has none. So the worker looks into it before it creates such a
container, and fills it if the program is missing or cannot run.

The worker reaches the volume only through the Engine: a worker in a container does not see the
folders of the Engine, and the Engine may be on another machine. A fresh host may have no image, so
a tiny one is imported. A container is created from it with the volume, and never started. The
Engine reads and writes files in such a container. Image and container are removed at once.
"""

import platform
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from cowpoke.log import logger
from worker.create.labels import PART
from worker.create.managed_network import WAIT_DIR, WAIT_PROGRAM, WAIT_VOLUME
from worker.engine import archives, containers, images, removal, volumes
from worker.engine.archives import File
from worker.engine.client import Engine
from worker.errors import HostFactsError, WorkerError
from worker.host.locks import Locks
from worker.image_reference import ImageReference
from worker.network.settings import NetworkSettings

_log = logger(__name__)

_PROGRAMS_DIR = Path(__file__).parent / "wait_program"
#: Name of the container and of its image; the lock of the volume makes them unique on a host.
_HELPER = "cowpoke-network-wait"
_TAG = "latest"
#: Our own program contains this text.
_OURS = b"cowpoke: no network after"
#: Our program and the headers of any other fit.
_READ_BYTES = 64 * 1024
#: Another event of this host fills the volume within this time.
_FILL_WAIT_S = 10.0
#: Architectures as the Engine names them -> machine of an ELF file.
_MACHINES: Mapping[str, int] = MappingProxyType(
    {"x86_64": 62, "amd64": 62, "aarch64": 183, "arm64": 183}
)
_NAMES = {"amd64": "x86_64", "arm64": "aarch64"}
_EXECUTABLE_BY_ALL = 0o001
_ELF_HEADER = struct.Struct("<4s2B10x2HI3QI3H")
_ELF64_LITTLE_ENDIAN = (b"\x7fELF", 2, 1)
_SEGMENT_INTERPRETER = 3

#: Address of an Engine -> creation time of its volume and the limit, when this process last looked.
_seen: dict[str, tuple[object, int]] = {}


def keep_filled(
    engine: Engine, locks: Locks, settings: NetworkSettings, *, is_broken: bool = False
) -> None:
    """Make sure that the volume exists and contains a program that runs.

    One call to the Engine if the volume is the one that this process looked into before, unless the
    caller found out that it `is_broken`.
    Errors: HostFactsError when there is no program for this machine; EngineError; LockHeldError.
    """
    limit_s = settings.network_wait_limit_s
    if not is_broken and _is_known(engine, limit_s):
        return
    with locks.hold(f"volume:{WAIT_VOLUME}", wait_s=_FILL_WAIT_S) as waited:
        if waited and not is_broken and _is_known(engine, limit_s):
            return
        volumes.create(engine, WAIT_VOLUME, driver="local", options={})
        _fill(engine, settings)
        found = volumes.inspect(engine, WAIT_VOLUME)
        if found is not None:
            _seen[engine.address] = found.get("CreatedAt"), limit_s


def _is_known(engine: Engine, limit_s: int) -> bool:
    if engine.address not in _seen:
        return False
    found = volumes.inspect(engine, WAIT_VOLUME)
    return found is not None and (found.get("CreatedAt"), limit_s) == _seen[engine.address]


def _fill(engine: Engine, settings: NetworkSettings) -> None:
    """Look into the volume by a container that is never started, and write what is missing."""
    _discard_helpers(engine)  # of a worker that was killed
    archives.import_image(engine, _HELPER, _TAG, [File("empty", b"", 0o444, 0)])
    try:
        # The label marks it as a part of cowpoke, which events do not touch.
        body = {
            "Image": f"{_HELPER}:{_TAG}",
            "Cmd": [WAIT_PROGRAM],
            "Labels": {PART: "network-wait"},
            "NetworkDisabled": True,
            "HostConfig": {"NetworkMode": "none", "Binds": [f"{WAIT_VOLUME}:{WAIT_DIR}"]},
        }
        # Its warnings are logged; they are nothing for a user.
        created = containers.create_from_body(engine, body, name=_HELPER, warn=lambda _: None)
        _fill_by(engine, created, settings)
    finally:
        with suppress(WorkerError):
            _discard_helpers(engine)


def _discard_helpers(engine: Engine) -> None:
    """Remove the container and its image; missing ones are no error."""
    removal.remove(engine, _HELPER)
    images.remove(engine, ImageReference.parse(f"{_HELPER}:{_TAG}"))


def _fill_by(engine: Engine, container_id: str, settings: NetworkSettings) -> None:
    found = archives.read(engine, container_id, WAIT_PROGRAM, at_most_bytes=_READ_BYTES)
    info = engine.facts(timeout_s=engine.read_timeout_s)
    architecture = str(info.get("Architecture") or platform.machine())
    is_ours = found is not None and _OURS in found.content
    limit = f"{settings.network_wait_limit_s}\n".encode()
    files = [File("limit_s", limit, 0o444, len(limit))]
    if found is None or is_ours or not runs(found, architecture):
        program = _program(settings, architecture)
        if found is None or found.content != program.content or not runs(found, architecture):
            files.append(program)
            _log.info("network_wait.written", volume=WAIT_VOLUME, replaced=found is not None)
    archives.write(engine, container_id, WAIT_DIR, files)


def _program(settings: NetworkSettings, architecture: str) -> File:
    name = _NAMES.get(architecture, architecture)
    path = settings.network_wait_program or _PROGRAMS_DIR / f"wait-{name}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise HostFactsError(
            f"cannot read {path}, the program that waits for a managed network on {architecture}: "
            f"{error.strerror}; build one with scripts/wait-program and set "
            "WORKER_NETWORK_WAIT_PROGRAM"
        ) from error
    return File("r", content, 0o555, len(content))


def runs(found: File, architecture: str) -> bool:
    """Return whether a program runs in any image on this architecture: static, and executable.

    Anything but a 64-bit ELF file is replaced on the architectures that we have a program for, and
    kept on others.
    """
    machine = _MACHINES.get(architecture)
    if not found.mode & _EXECUTABLE_BY_ALL or not found.content:
        return False
    if machine is None:
        return True
    try:
        magic, bits, order, _, its_machine, _, _, headers, _, _, _, size, count = (
            _ELF_HEADER.unpack_from(found.content)
        )
    except struct.error:
        return False
    if (magic, bits, order) != _ELF64_LITTLE_ENDIAN or its_machine != machine:
        return False
    kinds = (
        int.from_bytes(found.content[at : at + 4], "little")
        for at in range(headers, headers + size * count, size or 1)
    )
    return _SEGMENT_INTERPRETER not in kinds
