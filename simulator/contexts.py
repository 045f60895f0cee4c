"""The `context` of an event: the cattle process that sent it, in cattle's spelling."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from simulator.wire import Event


class _Process(NamedTuple):
    """A process and the one that started it, each as name and Java class."""

    top: tuple[str, str]
    name: str
    logic: str
    between: str = ""


_START = ("instance.start", "InstanceStart")
_STOP = ("instance.stop", "InstanceStop")
_VOLUME = "volume.activate->(VolumeActivate)->"
_NO_TOP = ("", "")

_PROCESSES = {
    "compute.instance.activate": _Process(
        _START, "instancehostmap.activate", "InstanceHostMapActivate"
    ),
    "compute.instance.deactivate": _Process(
        _STOP, "instancehostmap.deactivate", "InstanceHostMapDeactivate"
    ),
    "storage.image.activate": _Process(
        _START, "imagestoragepoolmap.activate", "ImageStoragePoolMapActivate", _VOLUME
    ),
    "storage.volume.activate": _Process(
        _START, "volumestoragepoolmap.activate", "VolumeStoragePoolMapActivate", _VOLUME
    ),
    "storage.volume.remove": _Process(
        _NO_TOP, "volumestoragepoolmap.remove", "VolumeStoragePoolMapRemove"
    ),
    "compute.instance.inspect": _Process(_NO_TOP, "containerevent.create", "ContainerEventCreate"),
    "compute.instance.pull": _Process(_NO_TOP, "genericobject.create", "PullTaskCreate"),
    "agent.activate": _Process(_NO_TOP, "agent.activate", "AgentActivate"),
    "agent.reconnect": _Process(_NO_TOP, "agent.reconnect", "AgentActivate"),
}
_OTHER_RESOURCES = {
    "compute.instance.inspect": "containerEvent",
    "compute.instance.pull": "genericObject",
}


def context_of(event: Event, process: str | None = None) -> dict[str, Any] | None:
    """Return the context of an event, or None: liveness pings and config.update have none.

    `process` names the process where the event's name does not: `agent.reconnect` of a ping.
    """
    name = process or str(event.get("name", "")).partition(";")[0]
    found = _PROCESSES.get(name)
    if found is None:
        return None
    resource = _OTHER_RESOURCES.get(name) or event.get("resourceType")
    number = _number(event.get("resourceId"))
    top, top_logic = found.top if found.top[0] else (found.name, found.logic)
    top_resource = "instance" if found.top[0] else resource
    own, path = f"{resource}:{number}", f"{found.name}->({found.logic})"
    nested = bool(found.top[0])
    return {
        "topProcessName": top,
        "resouceId": number,
        "logicPath": f"{top}->({top_logic})->{found.between}{path}" if nested else path,
        "logicName": found.logic,
        "topResourceId": number,
        "resouceType": resource,
        "processId": number,
        "processName": found.name,
        "topResourceType": top_resource,
        "processUuid": str(uuid.uuid4()),
        "prettyResource": f"{top_resource}:{number}->{own}" if nested else own,
        "prettyProcess": f"{top}->{found.name}" if nested else found.name,
    }


def _number(external_id: object) -> str:
    """Return the database number of an external id, `3` of `1ihm3`."""
    match = re.search(r"(\d+)$", str(external_id))
    return match[1] if match else "1"
