"""The database rows that cattle 1.6 writes into events, with all of their columns.

The columns are those of recorded events; a column that an event of ours never uses is null. Ids and
uuids are derived from the instance, so that every event of an instance names the same rows.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.sample import Instance

Row = dict[str, Any]

CREATED_MS = 1_795_726_330_000
DOCKER_HUB = "index.docker.io"
POOL_ID = 1


def row_uuid(instance: Instance, table: str) -> str:
    """Return the uuid of an instance's row in a table."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{table}/{instance.uuid}"))


def empty(*columns: str) -> Row:
    """Return columns that are null."""
    return dict.fromkeys(columns)


def split_image(name: str) -> tuple[str, str]:
    """Return the registry and the rest of an image's name, as cattle splits a name."""
    first, slash, rest = name.partition("/")
    has_registry = slash and ("." in first or ":" in first or first == "localhost")
    return (first, rest) if has_registry else (DOCKER_HUB, name)


def image_row(instance: Instance, *, state: str = "active") -> Row:
    """Return an image: the registry is in `server`, the uuid is random, the name joins the two."""
    server, full_name = split_image(instance.image)
    return {
        **empty("accountId", "checksum", "description", "physicalSizeMb", "registryCredentialId"),
        **empty("removeTime", "removed", "url", "virtualSizeMb"),
        "id": instance.id + 2,
        "uuid": row_uuid(instance, "image"),
        "name": f"{server}/{full_name}",
        "type": "image",
        "kind": "image",
        "state": state,
        "format": "docker",
        "instanceKind": "container",
        "isPublic": False,
        "created": CREATED_MS,
        "data": {"dockerImage": {"fullName": full_name, "server": server}},
    }


def pool_row(instance: Instance) -> Row:
    """Return the storage pool of the instance's host."""
    fields = {"reportedUuid": "host-pool", "type": "storagePool", "hostUuid": "host"}
    return {
        **empty("description", "driverName", "externalId", "physicalTotalSizeMb", "removeTime"),
        **empty("removed", "storageDriverId", "virtualTotalSizeMb", "volumeAccessMode"),
        "id": POOL_ID,
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"pool/{instance.host_id}")),
        "name": "host Storage Pool",
        "type": "storagePool",
        "kind": "docker",
        "state": "active",
        "accountId": 5,
        "agentId": 2,
        "zoneId": 1,
        "external": False,
        "created": CREATED_MS,
        "data": {"fields": fields},
    }


def map_row(instance: Instance, kind: str, /, *, state: str, **columns: Any) -> Row:  # noqa: ANN401  JSON
    """Return a row that joins two others: `instanceHostMap`, `volumeStoragePoolMap` and so on."""
    return {
        **empty("description", "name", "removeTime", "removed"),
        "id": instance.id,
        "uuid": row_uuid(instance, kind),
        "type": kind,
        "kind": kind,
        "state": state,
        "created": CREATED_MS,
        "data": {},
        **columns,
    }


def volume_row(instance: Instance, body: Row, *, state: str, format_: str | None) -> Row:
    """Return the root volume, device 0, with a copy of its instance."""
    return {
        **empty("accessMode", "deploymentUnitId", "description", "externalId", "hostId", "name"),
        **empty("physicalSizeMb", "removeTime", "removed", "sizeMb", "stackId", "storageDriverId"),
        **empty("uri", "virtualSizeMb", "volumeTemplateId"),
        "id": instance.id,
        "uuid": row_uuid(instance, "volume"),
        "type": "volume",
        "kind": "volume",
        "state": state,
        "format": format_,
        "deviceNumber": 0,
        "accountId": 5,
        "zoneId": 1,
        "imageId": instance.id + 2,
        "instanceId": instance.id,
        "allocationState": "active",
        "attachedState": "active",
        "created": CREATED_MS,
        "data": {"fields": {"driver": None}},
        "instance": body,
        "storagePools": [pool_row(instance)],
        "image": image_row(instance),
    }


def instance_row(instance: Instance, fields: Row, *, state: str) -> Row:
    """Return the columns of an instance, without the rows linked to it."""
    return {
        **empty("agentId", "compute", "createIndex", "deploymentUnitUuid", "description"),
        **empty("dnsInternal", "dnsSearchInternal", "domain", "firstRunning", "healthState"),
        **empty("healthUpdated", "hostname", "memoryMb", "memoryReservation"),
        **empty("milliCpuReservation", "networkContainerId", "registryCredentialId", "removeTime"),
        **empty("removed", "serviceId", "serviceIndexId", "stackId", "userdata"),
        "id": instance.id,
        "uuid": instance.uuid,
        "name": instance.name,
        "type": "instance",
        "kind": "container",
        "state": state,
        "system": False,
        "version": "0",
        "token": hashlib.sha256(instance.uuid.encode()).hexdigest()[:40],
        "accountId": 5,
        "zoneId": 1,
        "imageId": instance.id + 2,
        "externalId": instance.external_id,
        "nativeContainer": instance.native,
        "startCount": instance.start_count,
        "allocationState": "active",
        "instanceTriggeredStop": "stop",
        "created": CREATED_MS,
        "data": {"fields": fields, **instance.data},
        "dataVolumesFromContainers": [],
        "volumesFromDataVolumeMounts": [],
    }


def port_row(instance: Instance, number: int, private: int, public: int | None) -> Row:
    """Return a published port; the Engine chooses a public port of None."""
    return {
        **empty("description", "name", "privateIpAddressId", "removeTime", "removed"),
        "id": number,
        "uuid": row_uuid(instance, f"port/{private}"),
        "type": "port",
        "kind": "userPort",
        "state": "active",
        "protocol": "tcp",
        "privatePort": private,
        "publicPort": public,
        "publicIpAddressId": 1,
        "accountId": 5,
        "instanceId": instance.id,
        "created": CREATED_MS,
        "data": {},
    }


def host_row(instance: Instance) -> Row:
    """Return the instance's host with the figures that a ping of it reported."""
    info = {
        "memoryInfo": dict.fromkeys(
            (
                *("memTotal", "memFree", "memAvailable", "buffers", "cached", "swapCached"),
                *("active", "inactive", "swapTotal", "swapFree"),
            ),
            1024.5,
        ),
        "iopsInfo": {},
        "osInfo": {
            "operatingSystem": "Debian GNU/Linux 12 (bookworm)",
            "kernelVersion": "6.1.0",
            "dockerVersion": "Docker version 20.10.24+dfsg1, build 297e128",
        },
        "diskInfo": {
            "fileSystems": {"/dev/vda": {"capacity": 258019.5}},
            "mountPoints": {
                "/dev/vda": {
                    "free": 73118.0,
                    "total": 258019.5,
                    "used": 20144.5,
                    "percentUsed": 7.8,
                }
            },
            "dockerStorageDriver": "overlay2",
            "dockerStorageDriverStatus": {"Backing Filesystem": "extfs", "Supports d_type": "true"},
        },
        "cpuInfo": {
            "modelName": "Simulated",
            "count": 2,
            "mhz": 2600.0,
            "loadAvg": [0.1, 0.2, 0.3],
            "cpuCoresPercentages": [1.0, 2.0],
        },
    }
    fields = {
        "reportedUuid": "host",
        "physicalHostUuid": "physical-host",
        "hostname": "host",
        "type": "host",
        "createLabels": {},
        "labels": {
            "io.rancher.host.docker_version": "20.10",
            "io.rancher.host.linux_kernel_version": "6.1",
            "io.rancher.host.os": "linux",
        },
        "info": info,
        "agentIpAddress": "127.0.0.1",
    }
    return {
        **empty("agentState", "description", "hostTemplateId", "name", "removeAfter"),
        **empty("removeTime", "removed", "stackId", "uri"),
        "id": instance.host_id,
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"host/{instance.host_id}")),
        "type": "host",
        "kind": "docker",
        "state": "active",
        "accountId": 5,
        "agentId": 2,
        "zoneId": 1,
        "physicalHostId": 1,
        "isPublic": False,
        "memory": 25_276_502_016,
        "milliCpu": 2000,
        "localStorageMb": 73_118,
        "computeFree": 1_000_000,
        "computeTotal": 1_000_000,
        "created": CREATED_MS,
        "data": {"fields": fields},
    }
