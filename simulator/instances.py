"""The containers that cattle knows, as far as its own rules for container events need them.

    creating -> starting -> running -> stopping -> stopped -> removed

Instances come from two sides: from events of the control API, which are observed as they go out,
and from containers that somebody started on a host, which cattle imports. An instance is observed
only while its agent has a host, because no container event can concern it otherwise.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulator.processes import root_volume_removal
from simulator.sample import Instance, after, instance_activate, volume_remove
from simulator.wire import epoch_ms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.agents import Agent
    from simulator.call_record import CallRecord
    from simulator.hosts import Host, Hosts

ACTIVATE = "compute.instance.activate"
DEACTIVATE = "compute.instance.deactivate"
REMOVALS = ("compute.instance.remove", "storage.volume.remove")
TRANSITIONING = ("creating", "starting", "stopping", "removing")
FIRST_OWN_ID = 1000


@dataclass(slots=True, eq=False)
class Known:
    """One instance: its state with times, its container, and what its next event carries."""

    uuid: str
    agent: Agent
    state: str = "creating"
    external_id: str | None = None
    name: str | None = None
    own: Instance | None = None
    """The instance as our own events describe it; None for one of the control API."""
    resource_id: str = ""
    allotted: str | None = None
    """The address that the last activate named; in a network without subnets there is none."""
    docker_ip: str | None = None
    _last_event: bytes = b""
    _last_reply: bytes = b"{}"
    history: list[tuple[str, float]] = field(default_factory=list)
    _waiting: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def is_settled(self) -> bool:
        """Whether no process of the instance is under way."""
        return self.state not in TRANSITIONING

    def turn(self, state: str) -> None:
        """Change the state; wake who waits for the end of a process."""
        if state == self.state and self.history:
            return
        self.state = state
        self.history.append((state, epoch_ms()))
        if self.is_settled:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                if not one.done():
                    one.set_result(None)
        if state == "removed":
            self._last_event, self._last_reply = b"", b"{}"

    async def settled(self, timeout_s: float) -> bool:
        """Wait until no process is under way; false after the timeout."""
        if not self.is_settled:
            moved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(moved)
            await asyncio.wait((moved,), timeout=timeout_s)
        return self.is_settled

    @property
    def has_event(self) -> bool:
        """Whether enough is known of the instance to send a start."""
        return self.own is not None or bool(self._last_event)

    @property
    def primary_address(self) -> str | None:
        """Return the instance's address: the allotted one, else the last reply's `dockerIp`."""
        return self.allotted or self.docker_ip or None

    def note_activate(self, event: dict[str, Any], instance: dict[str, Any]) -> None:
        """Take over what an activate carries, as text: a hundred thousand of them must fit."""
        self.resource_id = str(event.get("resourceId"))
        self.allotted = _allotted(instance)
        if self.own is None:
            self._last_event = json.dumps(event["data"]).encode()

    def no_op_start(self) -> dict[str, Any]:
        """Return the data of an activate that reports a container which runs already."""
        if self.own is not None:
            data = instance_activate(self.own).data
        else:
            data = json.loads(self._last_event)
            reported = json.loads(self._last_reply)
            instance = data["instanceHostMap"]["instance"]
            fields = {**instance["data"].get("fields", {}), **reported.pop("+fields", {})}
            instance["data"] = {**instance["data"], **reported, "fields": fields}
            instance["externalId"] = self.external_id
            instance["startCount"] = (instance.get("startCount") or 0) + 1
        return {**data, "processData": {"containerNoOpEvent": True}}

    def removal(self) -> dict[str, Any] | None:
        """Return the event that removes the root volume, or None where nothing ever started."""
        if self.own is not None:
            return volume_remove(self.own).event
        return root_volume_removal(json.loads(self._last_event)) if self._last_event else None

    def merge(self, reply_data: dict[str, Any]) -> None:
        """Take over what the reply to an activate reported."""
        host_map = reply_data.get("instanceHostMap")
        instance = host_map.get("instance") if isinstance(host_map, dict) else None
        if not isinstance(instance, dict):
            return
        self.external_id = instance.get("externalId") or self.external_id
        reported = instance.get("+data")
        if not isinstance(reported, dict):
            return
        self.docker_ip = (reported.get("+fields") or {}).get("dockerIp") or self.docker_ip
        if self.own is not None:
            self.own = after(self.own, reply_data)
        else:
            self._last_reply = json.dumps(reported).encode()

    def to_json(self) -> dict[str, Any]:
        """Return the instance for the control API; `history` is a list of state and time."""
        return {
            "uuid": self.uuid,
            "name": self.name,
            "agent": self.agent.external_id,
            "state": self.state,
            "externalId": self.external_id,
            "primaryIpAddress": self.primary_address,
            "nativeContainer": self.own is not None,
            "history": [{"state": state, "ms": time_ms} for state, time_ms in self.history],
        }


class Instances:
    """All instances of the one environment, by uuid and by container."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._by_uuid: dict[str, Known] = {}
        self._by_container: dict[str, Known] = {}
        self._next_id = FIRST_OWN_ID

    def __iter__(self) -> Iterator[Known]:
        return iter(tuple(self._by_uuid.values()))

    def find(self, uuid: str | None, external_id: str | None) -> Known | None:
        """Return the instance with a uuid, else the one with a container id."""
        found = self._by_uuid.get(uuid or "")
        return found or self._by_container.get(external_id or "")

    def add_native(self, host: Host, external_id: str, uuid: str, **fields: Any) -> Known:  # noqa: ANN401  JSON
        """Create the instance of a container somebody started; `fields` are its data.fields."""
        self._next_id += 1
        name = fields.pop("name", None)
        image = str(fields["imageUuid"]).removeprefix("docker:")
        own = Instance(
            uuid=uuid,
            name=name,
            image=image,
            id=self._next_id,
            host_id=host.host_id,
            external_id=external_id,
            native=True,
            fields=fields,
        )
        known = Known(uuid, host.agent, "creating", external_id, name, own, f"1ihm{own.id}")
        known.history.append(("creating", epoch_ms()))
        self._by_uuid[uuid] = self._by_container[external_id] = known
        return known

    def observe(self, record: CallRecord) -> None:
        """Follow an outgoing event and its end, if it starts, stops or removes an instance."""
        event = record.event or {}
        if event["name"] not in (ACTIVATE, DEACTIVATE, *REMOVALS):
            return
        instance = _instance_of(event)
        if instance is None or not self._hosts.of_agent(record.agent):
            return
        known = self._by_uuid.get(instance["uuid"])
        if known is None:
            known = Known(instance["uuid"], record.agent, name=instance.get("name"))
            self._by_uuid[known.uuid] = known
        if event["name"] == ACTIVATE:
            known.note_activate(event, instance)
            known.turn("starting")
        elif event["name"] == DEACTIVATE:
            known.turn("stopping")
        elif known.state == "removed":
            return
        else:
            known.turn("removing")
        record.on_end.append(lambda ended: self._ended(known, ended))

    def _ended(self, known: Known, record: CallRecord) -> None:
        """Apply a call's end; a call that is sent again has not ended."""
        if record.will_retry:
            return
        data = (record.final or {}).get("data")
        if record.state != "success":
            if known.state in TRANSITIONING:
                known.turn("error" if known.state == "starting" else "stopped")
        elif record.name == ACTIVATE:
            known.merge(data if isinstance(data, dict) else {})
            if known.external_id:
                self._by_container[known.external_id] = known
            if known.state == "starting":
                known.turn("running")
        elif record.name == DEACTIVATE:
            if known.state == "stopping":
                known.turn("stopped")
        else:
            known.turn("removed")


def _allotted(instance: dict[str, Any]) -> str | None:
    """Return the address with a subnet that an instance's first network card has."""
    nics = instance.get("nics") or [{}]
    for address in nics[0].get("ipAddresses") or []:
        if address.get("role") == "primary" and address.get("subnet"):
            return str(address["address"])
    return None


def _instance_of(event: dict[str, Any]) -> dict[str, Any] | None:
    """Return the instance that an event is about; of a volume only if it is the root volume."""
    data = event.get("data")
    if not isinstance(data, dict):
        return None
    host_map = data.get("instanceHostMap")
    found = host_map.get("instance") if isinstance(host_map, dict) else None
    pool_map = data.get("volumeStoragePoolMap")
    volume = pool_map.get("volume") if isinstance(pool_map, dict) else None
    if isinstance(volume, dict) and volume.get("deviceNumber") == 0:
        found = volume.get("instance")
    return found if isinstance(found, dict) and found.get("uuid") else None
