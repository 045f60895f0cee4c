"""Events as cattle 1.6 sends them for one small instance; used by demo, bench and chaos run.

Rows and columns are cattle's; the values are ours. An event of an instance that ran before
contains the data that earlier replies reported: `instance = after(instance, reply_data)`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from simulator.networks import BRIDGE, Network, nic_row, primary_address
from simulator.rows import (
    host_row,
    image_row,
    instance_row,
    map_row,
    pool_row,
    port_row,
    volume_row,
)
from simulator.volumes import DataVolume, mounts, volume_of_mount


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """The instance the events are about."""

    uuid: str
    name: str
    image: str
    id: int = 50
    host_id: int = 5
    start_count: int = 0
    external_id: str | None = None
    network: Network = BRIDGE
    #: Started by somebody on the host and imported by cattle.
    native: bool = False
    #: What replies added to the instance's `data` column, its `fields` apart.
    data: Mapping[str, Any] = field(default_factory=dict, hash=False)
    fields: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleEvent:
    """The arguments of an event for the simulator's control API."""

    name: str
    resource_type: str
    resource_id: str | None
    data: dict[str, Any]

    @property
    def event(self) -> dict[str, Any]:
        """Return the event as its frame has it, without what belongs to one call."""
        ids = {"resourceType": self.resource_type, "resourceId": self.resource_id}
        return {"name": self.name, **ids, "data": self.data}


def after(instance: Instance, reply_data: Mapping[str, Any]) -> Instance:
    """Return the instance as cattle stores it after a reply to one of its activates."""
    reported = reply_data["instanceHostMap"]["instance"]
    data = dict(reported["+data"])
    fields = data.pop("+fields", {})
    # What cattle makes of the inspected container by itself.
    labels = ((data.get("dockerInspect") or {}).get("Config") or {}).get("Labels")
    ports = [text.removeprefix("0.0.0.0:") for text in fields.get("dockerPorts") or []]
    derived: dict[str, Any] = {"labels": dict(labels or {}), "ports": ports, "userPorts": ports}
    derived["primaryIpAddress"] = primary_address(
        instance.network, instance.uuid, fields.get("dockerIp")
    )
    return replace(
        instance,
        start_count=instance.start_count + 1,
        external_id=reported["externalId"],
        data={**instance.data, **data},
        fields={**derived, **instance.fields, **fields},
    )


def image_activate(instance: Instance) -> SampleEvent:
    """Return the event that asks for the image in the host's pool."""
    links = {
        "imageId": instance.id + 2,
        "storagePoolId": 1,
        "storagePool": pool_row(instance),
        "image": {**image_row(instance), "registryCredential": None},
    }
    pool_map = map_row(instance, "imageStoragePoolMap", state="activating", **links)
    return SampleEvent(
        name="storage.image.activate",
        resource_type="imageStoragePoolMap",
        resource_id=f"1ispm{instance.id}",
        data={"imageStoragePoolMap": pool_map},
    )


def volume_activate(instance: Instance) -> SampleEvent:
    """Return the event that asks for the root volume."""
    body = instance_row(instance, _fields(instance), state="starting")
    volume = volume_row(instance, body, state="activating", format_=None)
    return _volume_event("storage.volume.activate", instance, volume, state="activating")


def volume_remove(instance: Instance) -> SampleEvent:
    """Return the event that removes the root volume: how cattle 1.6 removes a container."""
    body = instance_row(instance, _fields(instance), state="removed")
    volume = volume_row(instance, body, state="removed", format_="docker")
    return _volume_event("storage.volume.remove", instance, volume, state="removing")


def instance_activate(
    instance: Instance,
    *,
    command: Sequence[str] | None = None,
    ports: Mapping[int, int | None] | None = None,
    labels: Mapping[str, str] | None = None,
    volumes: Sequence[DataVolume] = (),
    **fields: Any,  # noqa: ANN401 -- whatever cattle's data.fields may hold
) -> SampleEvent:
    """Return the event that starts the instance; `ports` is private -> public."""
    asked = {**(mounts(volumes) if volumes else {}), **fields}
    if command is not None:
        asked["command"] = list(command)
    if labels:
        asked["labels"] = {**instance.fields.get("labels", {}), **labels}
    if ports:
        asked["ports"] = [
            f"{public}:{private}/tcp" if public else f"{private}/tcp"
            for private, public in ports.items()
        ]
    body = _instance(instance, asked, state="starting")
    body["ports"] = [
        port_row(instance, number, private, public)
        for number, (private, public) in enumerate((ports or {}).items(), 1)
    ]
    body["volumesFromDataVolumeMounts"] = [volume_of_mount(volume) for volume in volumes]
    return _host_event("compute.instance.activate", instance, body, state="activating")


def instance_deactivate(instance: Instance, *, stop_timeout_s: int = 10) -> SampleEvent:
    """Return the event that stops the instance."""
    body = _instance(instance, {}, state="stopping")
    event = _host_event("compute.instance.deactivate", instance, body, state="deactivating")
    event.data["processData"] = {"timeout": stop_timeout_s}
    return event


def instance_remove(instance: Instance) -> SampleEvent:
    """Return the event that removes the instance; cattle 1.6 sends `volume_remove` instead."""
    body = _instance(instance, {}, state="removed")
    return _host_event("compute.instance.remove", instance, body, state="removing")


def image_pull(
    instance: Instance, *, tag: str = "pull-1", mode: str = "all", complete: bool = False
) -> SampleEvent:
    """Return the event that pulls the instance's image for a pull task of a user."""
    image = {"data": image_row(instance)["data"]}
    pull = {"mode": mode, "image": image, "kind": "docker", "tag": tag, "complete": complete}
    return SampleEvent(
        name="compute.instance.pull",
        resource_type="resourcePull",
        resource_id=None,
        data={"instancePull": pull},
    )


def instance_inspect(container_id: str) -> SampleEvent:
    """Return the event that asks for a container which cattle does not know yet."""
    return SampleEvent(
        name="compute.instance.inspect",
        resource_type="instanceInspect",
        resource_id=None,
        data={"instanceInspect": {"kind": "docker", "id": container_id}},
    )


def _fields(instance: Instance, asked: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what the user asked for, as `data.fields` holds it."""
    if instance.native:
        return {**instance.fields, "hostId": instance.host_id}
    network = instance.network
    return {
        "networkMode": network.mode,
        **(
            {name: network.fields[name] for name in ("dns", "dnsSearch")}
            if network.is_managed
            else {}
        ),
        **dict.fromkeys(("privileged", "publishAllPorts", "runInit", "stdinOpen", "tty"), False),
        "readOnly": False,
        "startOnCreate": True,
        "imageUuid": f"docker:{instance.image}",
        "networkIds": [network.id],
        "dataVolumes": [],
        "dataVolumeMounts": {},
        "hostId": instance.host_id,
        **instance.fields,
        **(asked or {}),
    }


def _instance(instance: Instance, asked: Mapping[str, Any], *, state: str) -> dict[str, Any]:
    fields = _fields(instance, asked)
    bare = instance_row(instance, fields, state=state)
    return {
        **bare,
        "volumes": [volume_row(instance, bare, state="active", format_="docker")],
        "image": {**image_row(instance), "registryCredential": None},
        "ports": [],
        "nics": [
            nic_row(
                instance.network,
                instance.id,
                instance.uuid,
                docker_ip=instance.fields.get("dockerIp"),
            )
        ],
        "instanceLinks": [],
        "networkContainer": None,
    }


def _host_event(name: str, instance: Instance, body: dict[str, Any], *, state: str) -> SampleEvent:
    host_map = map_row(
        instance,
        "instanceHostMap",
        state=state,
        instanceId=instance.id,
        hostId=instance.host_id,
        instance=body,
        host=host_row(instance),
    )
    return SampleEvent(
        name=name,
        resource_type="instanceHostMap",
        resource_id=f"1ihm{instance.id}",
        data={"instanceHostMap": host_map},
    )


def _volume_event(
    name: str, instance: Instance, volume: dict[str, Any], *, state: str
) -> SampleEvent:
    pool_map = map_row(
        instance,
        "volumeStoragePoolMap",
        state=state,
        storagePoolId=1,
        volumeId=instance.id,
        volume=volume,
        storagePool=pool_row(instance),
    )
    return SampleEvent(
        name=name,
        resource_type="volumeStoragePoolMap",
        resource_id=f"1vspm{instance.id}",
        data={"volumeStoragePoolMap": pool_map},
    )
