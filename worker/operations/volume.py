"""`storage.volume.activate`, `.deactivate`, `.remove` and `volume.remove` (A.13, B.3).

Volumes of Docker's drivers are in `managed_volume`. A driver of Rancher is asked over its socket
whether it mounts the volume itself (`flex`), see `worker.storage`. cattle sends `volume.remove` for
a volume of a driver that no container ever mounted.

Row numbers (A, B, C) refer to docs/parity.md.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cowpoke.events import Event
from cowpoke.log import logger
from worker.engine import volumes as engine_volumes
from worker.errors import OperationError, PayloadError
from worker.host.name_store import orphan_volumes
from worker.operations.context import Host
from worker.operations.managed_volume import ensure_in_docker, remove_from_docker
from worker.operations.protection import own_container_id
from worker.operations.remove import remove_container_of
from worker.payload import Volume, volume_of
from worker.report import volume_reply, wrapped
from worker.storage.volume import DriverVolume

#: Folders of volumes are deleted only below these, and below `volumes` in the state folder.
FOLDER_ROOTS = (Path("/var/lib/rancher/volumes"),)

_FILE = "file://"
_log = logger(__name__)


def activate_volume(event: Event, host: Host) -> dict[str, Any]:
    """Create the volume if it is missing and has a driver and a name (A 13.1 to 13.5)."""
    volume = volume_of(event.data)
    if volume.is_managed:
        on_driver = _on_driver(volume, host)
        if on_driver is None or not on_driver.create():
            ensure_in_docker(volume, host)
    return wrapped(event, volume_reply())


def deactivate_volume(event: Event, host: Host) -> dict[str, Any]:  # noqa: ARG001 - one shape for all
    """Do nothing: Docker has no state for an inactive volume (A 13.6)."""
    volume_of(event.data)
    return wrapped(event, volume_reply())


def remove_volume(event: Event, host: Host) -> dict[str, Any]:
    """Remove a volume: a root with its container, a managed volume in Docker, or a folder.

    Errors: PayloadError for a folder outside of the volume folders; EngineError;
    StorageDriverError.
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


def provide_volume(volume: Volume, host: Host) -> str | None:
    """Prepare a volume for the start of a container: create it, and attach and mount it if needed.

    Return the path to mount instead of its name, or None when Docker mounts it by its name.
    Errors: EngineError; StorageDriverError.
    """
    if not volume.is_managed:
        return None
    if (on_driver := _on_driver(volume, host)) is None:
        ensure_in_docker(volume, host)
        return None
    if (mount_point := on_driver.mount()) is not None:
        return mount_point
    ensure_in_docker(volume, host)
    on_driver.attach()
    return None


def provide_volumes(volumes: Iterable[Volume], host: Host) -> dict[str, str]:
    """Prepare volumes; return the paths to mount, by name, of those that Docker does not mount."""
    paths = {volume.name: provide_volume(volume, host) for volume in volumes}
    return {name: path for name, path in paths.items() if name is not None and path is not None}


def remount_volumes(volumes: Iterable[Volume], host: Host) -> None:
    """Prepare the volumes of Rancher's drivers before an existing container starts.

    Their mounts do not outlast the host, and Docker would mount an empty folder.
    """
    provide_volumes((volume for volume in volumes if volume.has_rancher_driver), host)


def _on_driver(volume: Volume, host: Host) -> DriverVolume | None:
    """Return the volume as its Rancher driver has it; None for other drivers."""
    if not volume.has_rancher_driver:
        return None
    assert volume.name is not None
    assert volume.driver is not None
    return DriverVolume(
        volume.name,
        volume.driver,
        options=volume.driver_opts,
        settings=host.settings,
        locks=host.locks,
    )


def _remove_managed(volume: Volume, host: Host) -> None:
    """Remove a volume where it is known: in Docker, else at its flex driver."""
    assert volume.name is not None
    on_driver = _on_driver(volume, host)
    if on_driver is None or not on_driver.is_flex():
        remove_from_docker(volume.name, host)
    elif engine_volumes.inspect(host.engine, volume.name) is not None:
        # Docker passes it on to the driver.
        remove_from_docker(volume.name, host)
    else:
        on_driver.remove()
        orphan_volumes(host.settings.state_dir).discard(volume.name)


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
