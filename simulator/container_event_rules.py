"""What cattle makes of a container event: imports, and starts and stops in its own books only.

    start     unknown -> import, then a no-op start; stopped -> no-op start
    stop, die running -> stopped; nothing is sent
    destroy   removed; the root volume's removal is sent
    kill      nothing

A no-op start is an activate with `containerNoOpEvent`: the agent reports and starts nothing.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

from simulator.processes import NoHealthyHostError
from simulator.sample import volume_activate

if TYPE_CHECKING:
    from simulator.agents import Agent
    from simulator.calls import Calls
    from simulator.container_events import ContainerEvent
    from simulator.hosts import Host
    from simulator.instances import Instances, Known
    from simulator.settings import SimulatorSettings

UUID_LABEL = "io.rancher.container.uuid"
UUID_VARIABLE = "RANCHER_UUID="
STARTED = ("creating", "running", "starting", "restarting")
CALL_TIMEOUT_S = 45.0
BRIDGE_NETWORK_ID = 8

Inspect = dict[str, Any]


class ContainerEventRules:
    """Applies events to the instances that cattle knows."""

    def __init__(self, settings: SimulatorSettings, instances: Instances, calls: Calls) -> None:
        self._settings = settings
        self._instances = instances
        self._calls = calls
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Cancel the starts under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def apply(self, event: ContainerEvent, host: Host) -> str:
        """Apply one event and return what it led to, in words."""
        if not self._settings.manage_containers:
            return "containers are not managed"
        if host.state == "removed":
            return "the host is removed"
        known = self._instances.find(_uuid_of(event), event.external_id)
        if known is None:
            if event.external_status != "start":
                return "unknown container"
            return await self._import(event, host)
        if known.state == "removed":
            return "instance is removed"
        rules = {
            "start": self._start,
            "stop": self._stop,
            "die": self._stop,
            "destroy": self._destroy,
        }
        rule = rules.get(event.external_status)
        return "nothing to do" if rule is None else await rule(known)

    async def _start(self, known: Known) -> str:
        if known.state in STARTED:
            return f"instance is {known.state}"
        if known.state == "stopping" and not await self._settled(known):
            return "instance went on stopping"
        return self._no_op_start(known)

    async def _stop(self, known: Known) -> str:
        if known.state in ("stopped", "stopping"):
            return f"instance is {known.state}"
        if known.state == "starting" and not await self._settled(known):
            return "instance went on starting"
        if known.state != "running":
            return f"instance is {known.state}"
        known.turn("stopped")
        return "no-op stop"

    async def _destroy(self, known: Known) -> str:
        if known.state == "removing":
            return "instance is removing"
        if known.state == "stopping" and not await self._settled(known):
            return "instance went on stopping"
        removal = known.removal()
        known.turn("removed")
        if removal is not None:
            self._calls.start(known.agent, removal, timeout_s=CALL_TIMEOUT_S)
        return "removal"

    async def _settled(self, known: Known) -> bool:
        return await known.settled(self._settings.transition_wait_s)

    def _no_op_start(self, known: Known) -> str:
        if not known.has_event:
            return "no activate to repeat"
        known.turn("starting")
        task = asyncio.get_running_loop().create_task(self._run_no_op_start(known))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return "no-op start"

    async def _run_no_op_start(self, known: Known) -> None:
        """Start an instance in the books: its root volume, then the activate that only reports."""
        if known.own is not None:
            event = volume_activate(known.own).event
            record = self._calls.start(known.agent, event, timeout_s=CALL_TIMEOUT_S)
            await self._calls.wait(record, CALL_TIMEOUT_S)
            if record.state != "success":
                known.turn("error")
                return
        event = {
            "name": "compute.instance.activate",
            "resourceType": "instanceHostMap",
            "resourceId": known.resource_id,
            "data": known.no_op_start(),
        }
        try:
            self._calls.start(known.agent, event, timeout_s=CALL_TIMEOUT_S, as_process=True)
        except NoHealthyHostError:
            known.turn("error")

    async def _import(self, event: ContainerEvent, host: Host) -> str:
        """Create the instance of an unknown container, then start it in the books."""
        inspect = event.inspect
        if inspect is None:
            inspect = await self._inspect(host.agent, id=event.external_id)
            if inspect is None:
                return "no answer to the inspect"
        if not event.external_from:
            return "no image to import with"
        listed = event.listed or {}
        labels = {**_labels(inspect), **(listed.get("labels") or {})}
        name = listed.get("uuid") or inspect.get("Name") or None
        fields: dict[str, Any] = {
            **await self._network(inspect, host),
            "requestedHostId": host.host_id,
            "imageUuid": f"docker:{event.external_from.removeprefix('docker:')}",
            "labels": labels,
            "networkIds": [BRIDGE_NETWORK_ID],
            "dataVolumes": [],
            "dataVolumeMounts": {},
        }
        known = self._instances.add_native(
            host,
            event.external_id,
            str(uuid.uuid4()),
            name=None if name is None else name.replace("/", "", 1),
            **fields,
        )
        return f"import, {self._no_op_start(known)}"

    async def _network(self, inspect: Inspect, host: Host) -> dict[str, Any]:
        """Return networkMode and requestedIpAddress as cattle reads them from an inspect."""
        host_config = inspect.get("HostConfig") or {}
        mode = host_config.get("NetworkMode") or "bridge"
        if (inspect.get("Config") or {}).get("NetworkDisabled") is True:
            mode = "none"
        elif mode.startswith("container"):
            mode = await self._container_mode(mode.partition(":")[2], host)
        address = (inspect.get("NetworkSettings") or {}).get("IPAddress")
        return {"networkMode": mode, **({"requestedIpAddress": address} if address else {})}

    async def _container_mode(self, target: str, host: Host) -> str:
        """Return `container` if cattle knows the container whose network is shared, else none."""
        if self._instances.find(target, target) is None:
            inspect = await self._inspect(host.agent, id=target, name=target) or {}
            if self._instances.find(uuid_in(inspect), inspect.get("Id")) is None:
                return "none"
        return "container"

    async def _inspect(self, agent: Agent, **which: str) -> Inspect | None:
        """Ask an agent for a container; an empty dict if there is none, None without an answer."""
        event = {
            "name": "compute.instance.inspect",
            "resourceType": "instanceInspect",
            "resourceId": None,
            "data": {"instanceInspect": {"kind": "docker", **which}},
        }
        record = self._calls.start(agent, event, timeout_s=CALL_TIMEOUT_S)
        await self._calls.wait(record, CALL_TIMEOUT_S)
        if record.state == "timeout":
            return None
        data = (record.final or {}).get("data") or {}
        found = data.get("instanceInspect")
        return found if isinstance(found, dict) else {}


def uuid_in(inspect: Inspect) -> str | None:
    """Return the uuid that an inspected container carries: its label, else its variable."""
    if label := _labels(inspect).get(UUID_LABEL):
        return str(label)
    variables = (inspect.get("Config") or {}).get("Env") or []
    found = (
        text.removeprefix(UUID_VARIABLE) for text in variables if text.startswith(UUID_VARIABLE)
    )
    return next(found, None)


def _uuid_of(event: ContainerEvent) -> str | None:
    """Return the uuid of an event's container; the labels of a ping's list come first."""
    listed = ((event.listed or {}).get("labels") or {}).get(UUID_LABEL)
    return listed or uuid_in(event.inspect or {})


def _labels(inspect: Inspect) -> dict[str, Any]:
    return dict((inspect.get("Config") or {}).get("Labels") or {})
