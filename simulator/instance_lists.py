"""The lists of containers in pings: what cattle derives from the difference to its own books.

    unknown on the server      start (import), also of a stopped container
    running here, not there    stop; the other way round a start
    known, but not in the list destroy: a list must never be partial
    removed there, running     compute.instance.force.stop

An equal event of the same container is made again only after 15 minutes, unless any event of that
container was processed in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.wire import epoch_ms

if TYPE_CHECKING:
    from simulator.agents import Agent
    from simulator.calls import Calls
    from simulator.container_events import ContainerEvents
    from simulator.hosts import Host, Hosts
    from simulator.instances import Instances, Known
    from simulator.settings import SimulatorSettings

FORCE_STOP = "compute.instance.force.stop"
UNLISTED_ENDS = ("removed", "removing", "error")


class InstanceLists:
    """Compares lists with the books and makes container events of the differences."""

    def __init__(
        self,
        settings: SimulatorSettings,
        hosts: Hosts,
        instances: Instances,
        events: ContainerEvents,
        calls: Calls,
    ) -> None:
        self._settings = settings
        self._hosts = hosts
        self._instances = instances
        self._events = events
        self._calls = calls
        self._scheduled: dict[str, tuple[str, float]] = {}
        events.on_processed = self._forget

    def report(self, agent: Agent, data: dict[str, Any]) -> None:
        """Take a ping reply's data; only with the option `instances` and a hostUuid it counts."""
        options, resources = data.get("options"), data.get("resources")
        if not self._settings.sync_instances or not isinstance(resources, list):
            return
        if not isinstance(options, dict) or options.get("instances") is not True:
            return
        entries = [entry for entry in resources if isinstance(entry, dict)]
        uuids = [one.get("uuid") for one in entries if one.get("type") == "hostUuid"]
        hosts = self._hosts.of_agent(agent, str(uuids[0])) if uuids else []
        if hosts:
            listed = [entry for entry in entries if entry.get("type") == "instance"]
            self._compare(hosts[0], listed)

    def _compare(self, host: Host, listed: list[dict[str, Any]]) -> None:
        seen = set()
        for entry in listed:
            if not (entry.get("uuid") and entry.get("dockerId") and entry.get("image")):
                continue
            known = self._instances.find(entry["uuid"], entry["dockerId"])
            seen.add(known)
            if known is None:
                self._unknown(host, entry)
            elif known.is_settled and known.state != entry.get("state"):
                self._differs(host, known, entry)
        for known in self._instances:
            if known.agent is not host.agent or known in seen or not known.is_settled:
                continue
            if known.external_id and known.state not in UNLISTED_ENDS:
                entry = {"uuid": known.uuid, "dockerId": known.external_id, "image": "docker:"}
                self._make(host, "destroy", entry)

    def _unknown(self, host: Host, entry: dict[str, Any]) -> None:
        if not entry.get("systemContainer"):
            self._make(host, "start", entry)
        elif entry.get("state") != "stopped":
            self._force_stop(host.agent, entry)

    def _differs(self, host: Host, known: Known, entry: dict[str, Any]) -> None:
        if entry.get("state") == "running":
            if known.state == "removed":
                self._force_stop(host.agent, entry)
            elif known.state == "stopped":
                self._make(host, "start", entry)
        elif entry.get("state") == "stopped" and known.state == "running":
            self._make(host, "stop", entry)

    def _make(self, host: Host, status: str, entry: dict[str, Any]) -> None:
        earlier = self._scheduled.get(entry["dockerId"])
        now_ms = epoch_ms()
        again_ms = self._settings.listed_again_s * 1000
        if earlier is not None and earlier[0] == status and now_ms - earlier[1] < again_ms:
            return
        self._scheduled[entry["dockerId"]] = (status, now_ms)
        self._events.from_ping(host, status, entry)

    def _force_stop(self, agent: Agent, entry: dict[str, Any]) -> None:
        """Send a force stop; nobody may answer it."""
        data = {"instanceForceStop": {"kind": "docker", "id": entry["dockerId"]}}
        event = {"name": FORCE_STOP, "resourceType": None, "resourceId": None, "data": data}
        event["replyTo"] = f"{FORCE_STOP}.reply"
        self._calls.start(agent, event, one_way=True)

    def _forget(self, external_id: str) -> None:
        self._scheduled.pop(external_id, None)
