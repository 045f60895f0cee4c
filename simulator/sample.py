"""Events as cattle v1.6 sends them for one small instance: for the demo, the bench and the chaos.

The shapes are cattle's (instanceHostMap, imageStoragePoolMap, volumeStoragePoolMap); the values are
ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """The instance the events are about."""

    uuid: str
    name: str
    image: str
    id: int = 50
    host_id: int = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleEvent:
    """What the simulator's control API wants to know of an event."""

    name: str
    resource_type: str
    resource_id: str
    data: dict[str, Any]


def image_activate(instance: Instance) -> SampleEvent:
    """The image is wanted in the host's pool."""
    data = {"image": _image(instance), "storagePool": _pool(), "type": "imageStoragePoolMap"}
    return SampleEvent(
        name="storage.image.activate",
        resource_type="imageStoragePoolMap",
        resource_id=f"1ispm{instance.id}",
        data={"imageStoragePoolMap": data},
    )


def volume_activate(instance: Instance) -> SampleEvent:
    """The root volume is wanted."""
    return _volume_event("storage.volume.activate", instance)


def volume_remove(instance: Instance) -> SampleEvent:
    """The root volume is wanted no more."""
    return _volume_event("storage.volume.remove", instance)


def instance_activate(
    instance: Instance,
    *,
    command: Sequence[str] | None = None,
    ports: Mapping[int, int | None] | None = None,
    labels: Mapping[str, str] | None = None,
    **fields: Any,  # noqa: ANN401 -- whatever cattle's data.fields may hold
) -> SampleEvent:
    """The instance is to run; `ports` is private -> public."""
    body = _instance(instance)
    body["data"]["fields"].update(fields)
    body["data"]["fields"]["labels"] = dict(labels or {})
    if command is not None:
        body["data"]["fields"]["command"] = list(command)
    body["ports"] = [
        {"protocol": "tcp", "privatePort": private, "publicPort": public, "type": "port"}
        for private, public in (ports or {}).items()
    ]
    return _map_event("compute.instance.activate", instance, body)


def instance_deactivate(instance: Instance, *, stop_timeout_s: int = 10) -> SampleEvent:
    """The instance is to stop."""
    event = _map_event("compute.instance.deactivate", instance, _instance(instance))
    event.data["processData"] = {"timeout": stop_timeout_s}
    return event


def instance_remove(instance: Instance) -> SampleEvent:
    """The instance is to go."""
    return _map_event("compute.instance.remove", instance, _instance(instance))


def _map_event(name: str, instance: Instance, body: dict[str, Any]) -> SampleEvent:
    host = {"id": instance.host_id, "kind": "docker", "type": "host", "data": {"fields": {}}}
    data = {
        "id": instance.id,
        "hostId": instance.host_id,
        "instanceId": instance.id,
        "type": "instanceHostMap",
        "host": host,
        "instance": body,
    }
    return SampleEvent(
        name=name,
        resource_type="instanceHostMap",
        resource_id=f"1ihm{instance.id}",
        data={"instanceHostMap": data},
    )


def _volume_event(name: str, instance: Instance) -> SampleEvent:
    volume = {
        "id": instance.id,
        "deviceNumber": 0,
        "type": "volume",
        "uuid": f"volume-{instance.uuid}",
        "name": None,
        "data": {},
        "instance": _instance(instance),
    }
    data = {"volume": volume, "storagePool": _pool(), "type": "volumeStoragePoolMap"}
    return SampleEvent(
        name=name,
        resource_type="volumeStoragePoolMap",
        resource_id=f"1vspm{instance.id}",
        data={"volumeStoragePoolMap": data},
    )


def _instance(instance: Instance) -> dict[str, Any]:
    return {
        "id": instance.id,
        "uuid": instance.uuid,
        "name": instance.name,
        "hostname": None,
        "kind": "container",
        "type": "instance",
        "nativeContainer": False,
        "systemContainer": None,
        "data": {"fields": {"imageUuid": f"docker:{instance.image}", "startOnCreate": True}},
        "image": _image(instance),
        "nics": [
            {
                "deviceNumber": 0,
                "macAddress": None,
                "ipAddresses": [],
                "network": {"kind": "dockerBridge", "networkServices": []},
            }
        ],
        "ports": [],
        "instanceLinks": [],
        "volumes": [],
    }


def _image(instance: Instance) -> dict[str, Any]:
    repository, _, tag = instance.image.rpartition(":")
    docker_image = {
        "fullName": instance.image,
        "qualifiedName": repository,
        "repository": repository.rpartition("/")[2],
        "tag": tag,
    }
    return {
        "id": 14,
        "uuid": f"docker:{instance.image}",
        "name": instance.image,
        "type": "image",
        "data": {"dockerImage": docker_image},
        "registryCredential": None,
    }


def _pool() -> dict[str, Any]:
    return {"id": 6, "kind": "docker", "type": "storagePool", "uuid": "pool"}
