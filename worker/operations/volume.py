"""`storage.volume.activate`, `.deactivate` and `.remove`: volumes in Docker (A.13).

Row numbers (A, C) refer to docs/parity.md.
"""

import shutil
from pathlib import Path
from typing import Any

from cowpoke.events import Event
from cowpoke.log import logger
from worker.engine import volumes
from worker.errors import OperationError, PayloadError, VolumeInUseError
from worker.host.name_store import orphan_volumes
from worker.operations.context import Host
from worker.operations.protection import own_container_id
from worker.operations.remove import remove_container_of
from worker.payload import Volume, volume_of
from worker.report import volume_reply, wrapped

#: Folders of volumes are deleted only below these, and below `volumes` in the state folder.
FOLDER_ROOTS = (Path("/var/lib/rancher/volumes"),)

_MOVED = "moved"
_FILE = "file://"
_log = logger(__name__)


def activate_volume(event: Event, host: Host) -> dict[str, Any]:
    """Create the volume if it is missing and has a driver and a name (A 13.1 to 13.5)."""
    ensure_volume(volume_of(event.data), host)
    return wrapped(event, volume_reply())


def deactivate_volume(event: Event, host: Host) -> dict[str, Any]:  # noqa: ARG001 - one shape for all
    """Do nothing: Docker has no state for an inactive volume (A 13.6)."""
    volume_of(event.data)
    return wrapped(event, volume_reply())


def remove_volume(event: Event, host: Host) -> dict[str, Any]:
    """Remove a volume: a root with its container, a managed volume in Docker, or a folder.

    Errors: PayloadError for a folder outside of the volume folders; EngineError.
    """
    volume = volume_of(event.data)
    if volume.is_root:
        instance = volume.instance
        if instance is not None and (instance.uuid or instance.external_id):
            remove_container_of(instance.uuid or "", instance.external_id, host)
    elif volume.is_managed:
        _remove_managed(volume, host)
    elif volume.uri and volume.uri.startswith(_FILE) and not volume.is_host_path:
        _remove_folder(Path(volume.uri.removeprefix(_FILE)), host)
    return wrapped(event, volume_reply())


def ensure_volume(volume: Volume, host: Host) -> None:
    """Create a managed volume if it is missing; again if its driver moved it (A 13.4)."""
    if not volume.is_managed:
        return
    assert volume.name is not None
    assert volume.driver is not None
    keep_volume(volume.name, host)
    with host.locks.hold(f"volume:{volume.name}"):
        found = volumes.inspect(host.engine, volume.name)
        if found is not None and found.get("Mountpoint") == _MOVED:
            volumes.remove(host.engine, volume.name)
            found = None
        if found is None:
            options = volume.driver_opts
            volumes.create(host.engine, volume.name, driver=volume.driver, options=options)
            _log.info("volume.created", volume=volume.name, driver=volume.driver)


def keep_volume(name: str, host: Host) -> None:
    """Delete the orphan record of a volume that is wanted again, so that the janitor keeps it."""
    with host.locks.hold(f"volume:{name}"):
        orphan_volumes(host.settings.state_dir).discard(name)


def _remove_managed(volume: Volume, host: Host) -> None:
    assert volume.name is not None
    orphans = orphan_volumes(host.settings.state_dir)
    with host.locks.hold(f"volume:{volume.name}"):
        try:
            volumes.remove(host.engine, volume.name)
        except VolumeInUseError as error:
            if "should retry" in error.message.lower():
                raise
            # The janitor removes it later; an error makes cattle retry for ever (A 13.8, C 28).
            orphans.add(volume.name, error.message)
            _log.warning(
                "volume.orphaned",
                volume=volume.name,
                reason=error.message,
                orphans=orphans.count(),
            )
        else:
            orphans.discard(volume.name)


def _remove_folder(path: Path, host: Host) -> None:
    """Delete the folder of a volume below a volume folder, without following links (A 13.10).

    Errors: PayloadError; OperationError when the folder cannot be deleted.
    """
    roots = (*FOLDER_ROOTS, host.settings.state_dir / "volumes")
    root = next((one for one in roots if one in path.parents), None)
    if root is None or ".." in path.parts:
        raise PayloadError(
            f"volume folder {path} is not deleted: it is not below "
            f"{' or '.join(str(one) for one in roots)}"
        )
    steps = [path, *path.parents][: len(path.parts) - len(root.parts)]
    if any(step.is_symlink() for step in steps):
        raise PayloadError(f"volume folder {path} is not deleted: its path contains a link")
    if not root.is_dir() and own_container_id() is not None:
        # The folder is not mounted into the worker's container, so it may still exist.
        raise OperationError(
            f"volume folder {path} is not deleted: {root} is not mounted into the container of "
            "the worker"
        )
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OperationError(f"cannot delete volume folder {path}: {error}") from error
    _log.info("volume.folder_deleted", path=str(path))
