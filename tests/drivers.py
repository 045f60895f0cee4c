"""Events about volumes of Rancher's storage drivers, and what is expected of them."""

from typing import Any

from tests import factories

DRIVERS = ("rancher-ebs", "rancher-nfs", "rancher-efs", "rancher-secrets", "secrets-bridge-v2")
#: Drivers that are asked by Docker alone.
OTHERS = ("local", "rancher-longhorn", "convoy", "rancher-nfs2", "RANCHER-NFS")
OPTIONS = {"host": "10.0.0.1"}
REPLY = {"volumeStoragePoolMap": {"volume": {"format": "docker"}}}
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJ1dWlkIjoiMSJ9.c2lnbmF0dXJl"
SECRET_OPTIONS = {"io.rancher.secrets.token": f'{{"value":"{TOKEN}"}}'}


def volume(name: str, driver: str = "rancher-nfs", options: Any = None) -> dict[str, Any]:
    """A volume among those of an instance."""
    fields = {"driver": driver, "driverOpts": OPTIONS if options is None else options}
    return {"id": 12, "name": name, "state": "inactive", "data": {"fields": fields}}


def with_volumes(*volumes: dict[str, Any], binds: list[str], **changes: Any) -> dict[str, Any]:
    """The changes of an instance that mounts volumes: its fields and its list of volumes."""
    return {
        "data": {"fields": {"dataVolumes": binds}},
        "volumesFromDataVolumeMounts": list(volumes),
        **changes,
    }


def map_of(name: str, driver: str = "rancher-nfs", options: Any = None) -> dict[str, Any]:
    """The data of a volumeStoragePoolMap event."""
    fields = {"driver": driver, "driverOpts": OPTIONS if options is None else options}
    return factories.volume_data(fields, name=name, deviceNumber=-1)
