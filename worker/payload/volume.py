"""Volumes and their storage pools.

Row numbers (A, B) refer to docs/parity.md.
"""

from pydantic import Field

from worker.payload.base import Flag, Payload, Text, TextMap, Whole, member, parse
from worker.payload.parts import ContainerRef

#: Drivers with a socket of Rancher's. Others, such as `rancher-longhorn`, are Docker's alone.
RANCHER_DRIVERS = frozenset(
    {"rancher-ebs", "rancher-nfs", "rancher-efs", "rancher-secrets", "secrets-bridge-v2"}
)


class StoragePool(Payload):
    """The storage pool of a volume; any kind is accepted (A 13.12)."""

    id: Text | None = None
    uuid: Text | None = None
    kind: Text | None = None
    name: Text | None = None


class VolumeFields(Payload):
    """The fields of a volume that we use."""

    driver: Text | None = None
    driver_opts: TextMap = Field(default_factory=dict)
    is_host_path: Flag = None


class VolumeData(Payload):
    """The data column of a volume."""

    fields: VolumeFields = Field(default_factory=VolumeFields)


class Volume(Payload):
    """A volume: of a driver, the root of a container, or a path of the host."""

    id: Text | None = None
    uuid: Text | None = None
    name: Text | None = None
    uri: Text | None = None
    #: 0: the root of a container, -1: any other volume.
    device_number: Whole = None
    data: VolumeData = Field(default_factory=VolumeData)
    #: The container of the volume.
    instance: ContainerRef | None = None
    storage_pool: StoragePool | None = None

    @property
    def driver(self) -> str | None:
        """The volume driver, if the volume has one."""
        return self.data.fields.driver

    @property
    def driver_opts(self) -> dict[str, str]:
        """The options of the driver, all as text."""
        return dict(self.data.fields.driver_opts)

    @property
    def is_managed(self) -> bool:
        """Whether the worker creates and removes it: it has a driver and a name (A 13.1)."""
        return bool(self.driver and self.name)

    @property
    def has_rancher_driver(self) -> bool:
        """Whether its driver is one of Rancher's, which are asked over their sockets (B.3)."""
        return self.is_managed and self.driver in RANCHER_DRIVERS

    @property
    def is_root(self) -> bool:
        """Whether it is the root file system of a container (A 13.7)."""
        return self.device_number == 0

    @property
    def is_host_path(self) -> bool:
        """Whether it is a folder of the host, which is never removed (A 13.10)."""
        return self.data.fields.is_host_path is True


def volume_of(data: object) -> Volume:
    """Parse the volume of a `volumeStoragePoolMap` event, with its storage pool."""
    pool_map = member(data, "volumeStoragePoolMap")
    volume = {**member(pool_map, "volume"), "storagePool": pool_map.get("storagePool")}
    return parse(Volume, volume, "volumeStoragePoolMap.volume")
