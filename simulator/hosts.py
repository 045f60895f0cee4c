"""Hosts: made and updated by what agents report in pings, removed by people, and what dies then.

A host is known by its agent and the uuid it reports: another agent with the same uuid makes a
second host. cattle's one exception needs a physical host made beforehand; it is left out here.
Removing a host removes its agent with account and keys; an agent that is disconnected and has no
live host goes as well.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulator.wire import epoch_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator.agents import Agent, Agents
    from simulator.settings import SimulatorSettings

PROJECT_ID = 5
REPLACED = ("apiProxy", "hostname")
MERGED = ("labels", "info")
KEPT_ONCE_SET = ("memory", "milliCpu", "localStorageMb")
HASHED = ("host", "storagePool", "ipAddress")
PROBLEMS_KEPT = 100


@dataclass(slots=True, eq=False)
class Host:
    """One host row; `fields` has what the agent reports, under the names of the report."""

    host_id: int
    agent: Agent
    reported_uuid: str
    physical_host_uuid: str | None
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: str = "active"
    fields: dict[str, Any] = field(default_factory=dict)
    pools: dict[str, str | None] = field(default_factory=dict)
    addresses: list[str] = field(default_factory=list)
    created_ms: float = field(default_factory=epoch_ms)

    @property
    def external_id(self) -> str:
        """Return the id on the wire, `1h1`."""
        return f"1h{self.host_id}"

    @property
    def host_key(self) -> str | None:
        """Return `info.hostKey.data`: the public key that secrets are wrapped with."""
        found = (self.fields.get("info") or {}).get("hostKey")
        data = found.get("data") if isinstance(found, dict) else None
        return data if isinstance(data, str) else None

    def to_json(self) -> dict[str, Any]:
        """Return the host as cattle's API shows it."""
        return {
            "id": self.external_id,
            "type": "host",
            "kind": "docker",
            "uuid": self.uuid,
            "state": self.state,
            "agentId": self.agent.external_id,
            "agentState": self.agent.state,
            "accountId": f"1a{PROJECT_ID}",
            "agentIpAddress": self.addresses[0] if self.addresses else None,
            "physicalHostUuid": self.physical_host_uuid,
            "created": int(self.created_ms),
            **{name: self.fields.get(name) for name in (*REPLACED, *MERGED, *KEPT_ONCE_SET)},
        }

    def update(self, reported: dict[str, Any]) -> None:
        """Apply a later report: maps are merged one level deep, and nothing is ever removed."""
        for name in REPLACED:
            if name in reported:
                self.fields[name] = reported[name]
        for name in MERGED:
            if isinstance(reported.get(name), dict):
                self.fields[name] = {**self.fields.get(name, {}), **reported[name]}
        for name in KEPT_ONCE_SET:
            if self.fields.get(name) is None:
                self.fields[name] = reported.get(name)
        if (physical := reported.get("physicalHostUuid")) is not None:
            self.physical_host_uuid = physical


class Hosts:
    """All hosts, live and removed."""

    def __init__(self, settings: SimulatorSettings, agents: Agents) -> None:
        self._settings = settings
        self._agents = agents
        self._hosts: list[Host] = []
        self._live: dict[int, dict[str, Host]] = {}
        """Live hosts by agent, then by reported uuid."""
        self._reported: dict[int, tuple[str, float]] = {}
        self.problems: list[str] = []
        self.on_agent_removed: list[Callable[[Agent], None]] = []

    def __iter__(self) -> Iterator[Host]:
        return iter(tuple(self._hosts))

    def of_agent(self, agent: Agent, reported_uuid: str | None = None) -> list[Host]:
        """Return an agent's live hosts, or the one with a reported uuid."""
        own = self._live.get(agent.agent_id, {})
        if reported_uuid is None:
            return list(own.values())
        return [own[reported_uuid]] if reported_uuid in own else []

    def find(self, selector: str) -> Host:
        """Return the live host with an id, `1h3` or 3, or with a reported uuid.

        Errors: ValueError if no host or several hosts match.
        """
        live = [host for own in self._live.values() for host in own.values()]
        match = re.fullmatch(r"(?:1h)?(\d+)", selector)
        found = [
            host
            for host in live
            if host.reported_uuid == selector or (match and host.host_id == int(match[1]))
        ]
        if len(found) != 1:
            known = ", ".join(f"{host.external_id} ({host.reported_uuid})" for host in live)
            raise ValueError(
                f"Host {selector!r} means {len(found)} live hosts, one is needed; known: {known}."
            )
        return found[0]

    def report(self, resource_id: object, resources: list[Any]) -> None:
        """Apply a ping reply's resources to the agent that its resourceId names.

        Without a readable resourceId, or without any host among them, nothing is applied.
        """
        match = re.fullmatch(r"1a(\d+)", str(resource_id))
        if match is None:
            self._note(f"a report with the resourceId {resource_id!r} was ignored")
            return
        try:
            agent = self._agents.find(int(match[1]))
        except ValueError:
            return
        entries = [entry for entry in resources if self._is_whole(entry)]
        if agent.is_removed or not any(entry["type"] == "host" for entry in entries):
            return
        if self._is_known(agent, entries):
            return
        for entry in entries:
            if entry["type"] == "host":
                self._report_host(agent, entry)
        for entry in entries:
            self._report_part(agent, entry)

    def remove(self, host: Host) -> None:
        """Remove a host as a user does: its agent goes too, and the keys with it."""
        self._bury(host)
        self.remove_agent(host.agent)

    def remove_agent(self, agent: Agent) -> None:
        """Remove an agent with account and keys; its hosts stay as they are."""
        self._agents.remove(agent)
        for tell in self.on_agent_removed:
            tell(agent)

    async def clean_forever(self) -> None:
        """Remove agents that are disconnected and have no live host, at intervals."""
        await asyncio.sleep(self._settings.agent_cleanup_after_s)
        while True:
            for agent in self._agents:
                if agent.state == "disconnected" and not self.of_agent(agent):
                    self.remove_agent(agent)
            await asyncio.sleep(self._settings.agent_cleanup_interval_s)

    def _bury(self, host: Host) -> None:
        host.state = "removed"
        host.pools.clear()
        host.addresses.clear()
        self._live.get(host.agent.agent_id, {}).pop(host.reported_uuid, None)

    def _is_whole(self, entry: object) -> bool:
        if isinstance(entry, dict) and entry.get("type") and entry.get("uuid"):
            return True
        self._note(f"an entry without type or uuid was ignored: {str(entry)[:200]}")
        return False

    def _is_known(self, agent: Agent, entries: list[dict[str, Any]]) -> bool:
        """Return whether this very report came a short while ago, and remember it."""
        hashed = [entry for entry in entries if entry["type"] in HASHED]
        text = json.dumps(hashed, sort_keys=True).encode()
        digest = hashlib.sha1(text, usedforsecurity=False).hexdigest()
        now_ms = epoch_ms()
        earlier = self._reported.get(agent.agent_id)
        if earlier is not None and earlier[0] == digest:
            return now_ms - earlier[1] < self._settings.report_cache_s * 1000
        self._reported[agent.agent_id] = (digest, now_ms)
        return False

    def _report_host(self, agent: Agent, entry: dict[str, Any]) -> None:
        for name in KEPT_ONCE_SET:
            if not isinstance(entry.get(name), int | None):
                self._note(f"{name} of a host is no integer: {entry[name]!r}")
        own = self._live.setdefault(agent.agent_id, {})
        host = own.get(entry["uuid"])
        if host is None:
            physical = entry.get("physicalHostUuid")
            host = Host(len(self._hosts) + 1, agent, entry["uuid"], physical)
            self._hosts.append(host)
            own[host.reported_uuid] = host
            entry = {**entry, "labels": _labels_at_creation(entry)}
        host.update(entry)

    def _report_part(self, agent: Agent, entry: dict[str, Any]) -> None:
        """Apply a storage pool or an address; both need the uuid of a known host."""
        host = self._live.get(agent.agent_id, {}).get(str(entry.get("hostUuid")))
        if entry["type"] not in ("storagePool", "ipAddress"):
            return
        if host is None:
            self._note(f"a {entry['type']} of no known host was ignored: {entry['uuid']}")
        elif entry["type"] == "storagePool":
            host.pools.setdefault(entry["uuid"], entry.get("name"))
        else:
            # The address is the uuid, whatever `address` says.
            host.addresses[:] = [entry["uuid"]]

    def _note(self, problem: str) -> None:
        """Remember what cattle passes over in silence, for tests to see."""
        if len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(problem)


def _labels_at_creation(entry: dict[str, Any]) -> dict[str, Any]:
    """Return labels and createLabels together; later reports change labels only."""
    return {**(entry.get("labels") or {}), **(entry.get("createLabels") or {})}
