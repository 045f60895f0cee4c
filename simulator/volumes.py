"""Named volumes in events: mounted by an instance, and removed.

A driver volume's removal comes as `volume.remove` when the volume was never mounted, an event that
neither old agent subscribes to, and as `storage.volume.remove` from its mount. A volume in a docker
pool is removed twice, by the pool and by the mount: the same resource both times.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulator.rows import CREATED_MS, empty, map_row, pool_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from simulator.rows import Row
    from simulator.sample import Instance

VOLUME_REMOVE = "volume.remove"
STORAGE_VOLUME_REMOVE = "storage.volume.remove"
DATA_DEVICE = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class DataVolume:
    """One named volume and where its instance mounts it; `mode` is Docker's, such as `ro`."""

    id: int
    name: str
    driver: str = "local"
    driver_opts: Mapping[str, str] | None = field(default=None, hash=False)
    path: str = "/data"
    mode: str = ""

    @property
    def mount(self) -> str:
        """Return the key of `dataVolumeMounts`: the path with its mode."""
        return f"{self.path}:{self.mode}" if self.mode else self.path


def mounts(volumes: Sequence[DataVolume]) -> dict[str, Any]:
    """Return the fields of an instance that mounts volumes; cattle fills each from the other."""
    return {
        "dataVolumes": [f"{volume.name}:{volume.mount}" for volume in volumes],
        "dataVolumeMounts": {volume.mount: volume.id for volume in volumes},
    }


def volume_of_mount(volume: DataVolume, *, state: str = "inactive") -> Row:
    """Return a volume's row, as `volumesFromDataVolumeMounts` has it."""
    fields: Row = {"driver": volume.driver, "isHostPath": False}
    if volume.driver_opts is not None:
        fields["driverOpts"] = dict(volume.driver_opts)
    is_local = volume.driver == "local"
    return {
        **empty("accessMode", "attachedState", "deploymentUnitId", "description", "format"),
        **empty("hostId", "imageId", "instanceId", "physicalSizeMb", "removeTime", "removed"),
        **empty("sizeMb", "stackId", "storageDriverId", "virtualSizeMb", "volumeTemplateId"),
        "id": volume.id,
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"dataVolume/{volume.name}")),
        "name": volume.name,
        "type": "volume",
        "kind": "volume",
        "state": state,
        "deviceNumber": DATA_DEVICE,
        "externalId": volume.name if is_local else None,
        "uri": f"{volume.driver}:///{volume.name}",
        "accountId": 5,
        "zoneId": 1,
        "allocationState": "active",
        "created": CREATED_MS,
        "data": {"fields": fields},
    }


def removal(instance: Instance, volume: DataVolume, *, name: str = STORAGE_VOLUME_REMOVE) -> Row:
    """Return the event that removes a named volume from the host of an instance."""
    pool = pool_row(instance)
    if volume.driver != "local":
        # The pool of a driver is cattle's own: it belongs to no agent.
        pool |= {"kind": volume.driver, "driverName": volume.driver, "agentId": None}
    row = {**volume_of_mount(volume, state="removing"), "instance": None, "image": None}
    pool_map = map_row(
        instance,
        "volumeStoragePoolMap",
        state="removing",
        volumeId=volume.id,
        storagePoolId=pool["id"],
        volume={**row, "hostId": instance.host_id, "storagePools": [pool]},
        storagePool=pool,
    )
    return {
        "name": name,
        "resourceType": "volumeStoragePoolMap",
        "resourceId": f"1vspm{volume.id}",
        "data": {"volumeStoragePoolMap": {**pool_map, "id": volume.id}},
    }
