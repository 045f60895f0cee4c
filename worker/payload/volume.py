"""Volumes and the pools that cattle keeps them in."""

from pydantic import Field

from worker.payload.base import Flag, Payload, Text, TextMap, Whole, member, parse
from worker.payload.parts import ContainerRef


class StoragePool(Payload):
    """The pool of a volume; its kind is not ours to judge (A 13.12)."""

    id: Text | None = None
    uuid: Text | None = None
    kind: Text | None = None
    name: Text | None = None


class VolumeFields(Payload):
    """The part of a volume's fields that we use."""

    driver: Text | None = None
    driver_opts: TextMap = Field(default_factory=dict)
    is_host_path: Flag = None


class VolumeData(Payload):
    """A volume's own data column."""

    fields: VolumeFields = Field(default_factory=VolumeFields)


class Volume(Payload):
    """A volume: of a driver, of a container's root, or a path of the host."""

    id: Text | None = None
    uuid: Text | None = None
    name: Text | None = None
    uri: Text | None = None
    #: 0 is a container's root, -1 a volume of its own.
    device_number: Whole = None
    data: VolumeData = Field(default_factory=VolumeData)
    #: The container whose volume this is.
    instance: ContainerRef | None = None
    storage_pool: StoragePool | None = None

    @property
    def driver(self) -> str | None:
        """The volume driver, if the volume has one."""
        return self.data.fields.driver

    @property
    def driver_opts(self) -> dict[str, str]:
        """The driver's options, all as text."""
        return dict(self.data.fields.driver_opts)

    @property
    def is_managed(self) -> bool:
        """We create and remove it: it has a driver and a name (A 13.1)."""
        return bool(self.driver and self.name)

    @property
    def is_root(self) -> bool:
        """It stands for a container's root file system (A 13.7)."""
        return self.device_number == 0

    @property
    def is_host_path(self) -> bool:
        """It is a folder of the host, which is not ours to remove (A 13.10)."""
        return self.data.fields.is_host_path is True


def volume_of(data: object) -> Volume:
    """Read the volume of a `volumeStoragePoolMap` event, with its pool."""
    pool_map = member(data, "volumeStoragePoolMap")
    volume = {**member(pool_map, "volume"), "storagePool": pool_map.get("storagePool")}
    return parse(Volume, volume, "volumeStoragePoolMap.volume")
