"""The smallest payloads that are valid, plus what a test is about.

Everything is in cattle's own shape, as it comes over the wire; nothing here is parsed.
"""

from typing import Any

Json = dict[str, Any]

UUID = "5b2a8f0e-8f0e-4b7c-9d55-0a4b7c9d5511"
IMAGE = "example/sleep:1.0"


def image(full_name: str = IMAGE, **changes: Any) -> Json:
    """An image of cattle's; the changes are keys of the image."""
    repository, _, tag = full_name.rpartition(":")
    docker_image = {"fullName": full_name, "qualifiedName": repository, "tag": tag}
    return {
        "id": 14,
        "uuid": f"docker:{full_name}",
        "type": "image",
        "data": {"dockerImage": docker_image},
        **changes,
    }


def nic(kind: str | None = None, **changes: Any) -> Json:
    """A network card with a MAC and a primary address; the changes are keys of the card."""
    return {
        "deviceNumber": 0,
        "macAddress": "02:03:04:05:06:07",
        "ipAddresses": [
            {"address": "10.42.1.2", "role": "primary", "subnet": {"cidrSize": 16}},
        ],
        "network": {"name": "net", "kind": kind, "networkServices": []},
        **changes,
    }


def link(name: str = "db", *ports: tuple[int, str], **changes: Any) -> Json:
    """A link to another container; the changes are keys of the link."""
    fields = {"ports": [{"privatePort": number, "protocol": word} for number, word in ports]}
    return {
        "type": "instanceLink",
        "linkName": name,
        "targetInstanceId": 42,
        "targetInstance": {"uuid": f"uuid-of-{name}"},
        "data": {"fields": fields},
        **changes,
    }


def instance_data(fields: Json | None = None, **changes: Any) -> Json:
    """The `data` of an instanceHostMap event.

    `fields` are the user's fields, the other changes are keys of the instance, except `host` and
    `processData`, which stand beside it.
    """
    process = {"processData": changes.pop("processData")} if "processData" in changes else {}
    host = changes.pop("host", {"id": 5, "kind": "docker", "uuid": "host-1", "type": "host"})
    instance = {
        "id": 211,
        "uuid": UUID,
        "name": "web",
        "type": "instance",
        "kind": "container",
        "image": image(),
        "data": {"fields": fields or {}},
        **changes,
    }
    host_map = {"id": 50, "type": "instanceHostMap", "host": host, "instance": instance}
    return {"instanceHostMap": host_map, **process}


def image_data(**changes: Any) -> Json:
    """The `data` of an imageStoragePoolMap event; the changes are keys of the image."""
    pool = {"id": 6, "kind": "docker", "type": "storagePool"}
    pool_map = {"type": "imageStoragePoolMap", "storagePool": pool, "image": image(**changes)}
    return {"imageStoragePoolMap": pool_map}


def volume_data(fields: Json | None = None, **changes: Any) -> Json:
    """The `data` of a volumeStoragePoolMap event; the changes are keys of the volume."""
    volume = {
        "id": 178,
        "uuid": "9bd4d257-0000-4cbd-b496-21310d64772f",
        "type": "volume",
        "deviceNumber": -1,
        "data": {"fields": fields or {}},
        **changes,
    }
    pool = {"id": 6, "kind": "docker", "type": "storagePool"}
    pool_map = {"type": "volumeStoragePoolMap", "storagePool": pool, "volume": volume}
    return {"volumeStoragePoolMap": pool_map}


def event(**changes: Any) -> Json:
    """A whole event, compute.instance.activate unless changed; the changes are its keys."""
    return {
        "id": "8d4a1d5e-1f6b-4d10-a5f4-0f6d5b2a8f0e",
        "name": "compute.instance.activate",
        "replyTo": "reply.1234567890",
        "resourceType": "instanceHostMap",
        "resourceId": "1ihm50",
        "data": instance_data(),
        "time": 1_500_000_000_000,
        "timeoutMillis": 45_000,
        **changes,
    }
