"""POST /containerevents: agents tell cattle what happened to containers on their hosts.

A post is checked and stored at once; what it leads to happens later, one event of one container at
a time, see container_event_rules.py.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from simulator.wire import CattleRefusalError, api_url, epoch_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.agents import Account, Agents
    from simulator.container_event_rules import ContainerEventRules
    from simulator.faults import Faults
    from simulator.hosts import Host, Hosts
    from simulator.settings import SimulatorSettings

STATUSES = ("start", "stop", "die", "kill", "destroy")
EVENTS_KEPT = 5_000
PROBLEMS_KEPT = 100
MILLISECONDS_FROM = 100_000_000_000
"""A timestamp of this size cannot be seconds."""


@dataclass(slots=True, eq=False)
class ContainerEvent:
    """One event; `status` is the answer's to its post, `outcome` what it led to."""

    event_id: int
    received_ms: float
    external_status: str
    external_id: str
    external_from: str | None = None
    external_timestamp: float | None = None
    reported_host_uuid: str | None = None
    inspect: dict[str, Any] | None = None
    listed: dict[str, Any] | None = None
    """The entry of a ping's list that cattle derived the event from; it has no inspect."""
    agent: str | None = None
    host: Host | None = None
    status: int = 201
    state: str = "requested"
    outcome: str = ""
    processed_ms: float | None = None

    @property
    def own_id(self) -> str:
        """Return the id on the wire."""
        return f"1ce{self.event_id}"

    def to_json(self, *, inspect: bool) -> dict[str, Any]:
        """Return the event for the control API; `event` is the body of the post.

        Without `inspect`, for long lists, the inspected container is left out.
        """
        body: dict[str, Any] = {
            "externalStatus": self.external_status,
            "externalId": self.external_id,
            "externalFrom": self.external_from,
            "externalTimestamp": self.external_timestamp,
            "reportedHostUuid": self.reported_host_uuid,
        }
        return {
            "id": self.own_id,
            "received_ms": self.received_ms,
            "processed_ms": self.processed_ms,
            "agent": self.agent,
            "host": self.host.external_id if self.host else None,
            "from_ping": self.listed is not None,
            "status": self.status,
            "state": self.state,
            "outcome": self.outcome,
            "event": {**body, "dockerInspect": self.inspect} if inspect else body,
        }


class ContainerEvents:
    """The handler of /containerevents, and the queue behind it."""

    def __init__(
        self,
        settings: SimulatorSettings,
        agents: Agents,
        hosts: Hosts,
        faults: Faults,
        rules: ContainerEventRules,
    ) -> None:
        self._settings = settings
        self._agents = agents
        self._hosts = hosts
        self._faults = faults
        self._rules = rules
        self._count = 0
        self._last: dict[str, asyncio.Task[None]] = {}
        self._unprocessed: Counter[int] = Counter()
        self._latest_s: dict[str, float] = {}
        self.events: deque[ContainerEvent] = deque(maxlen=EVENTS_KEPT)
        self.problems: list[str] = []
        self.on_processed: Callable[[str], None] = lambda _: None

    async def stop(self) -> None:
        """Cancel what is not processed yet."""
        tasks = list(self._last.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def post(self, request: web.Request) -> web.Response:
        """Take an event; it is processed after the answer.

        Errors: 401; 403 CantVerifyAgent without an agent of the keys' account; 422 for a host that
        the agent has not reported; 409 for a start while the host has too many events waiting.
        """
        account = self._agents.authenticate(request, "containerEvent")
        event = self._read(await request.read())
        self.events.append(event)
        try:
            self._check(event, account)
        except CattleRefusalError as refusal:
            event.status, event.state = refusal.status, "refused"
            raise
        self._judge(event)
        self._process_later(event)
        body = {
            "id": event.own_id,
            "type": "containerEvent",
            "links": {"self": f"{api_url(request)}/containerevents/{event.own_id}"},
            "state": "requested",
            "transitioning": "yes",
            "externalId": event.external_id,
            "externalStatus": event.external_status,
        }
        return web.json_response(body, status=201)

    def from_ping(self, host: Host, status: str, entry: dict[str, Any]) -> None:
        """Store and process an event that cattle derives from an entry of a ping's list."""
        event = self._new(status, str(entry["dockerId"]))
        event.agent, event.host, event.listed = host.agent.external_id, host, entry
        event.external_from = entry.get("image")
        event.external_timestamp = entry.get("created")
        self.events.append(event)
        self._process_later(event)

    def _new(self, status: str, external_id: str) -> ContainerEvent:
        self._count += 1
        return ContainerEvent(self._count, epoch_ms(), status, external_id)

    def _read(self, raw: bytes) -> ContainerEvent:
        """Return the event of a body; unknown fields are dropped."""
        try:
            body: Any = json.loads(raw)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise CattleRefusalError("Request body is not a JSON object", 400, "InvalidBodyContent")
        for name in ("externalStatus", "externalId", "externalFrom", "reportedHostUuid"):
            if not isinstance(body.get(name), str | None):
                raise CattleRefusalError(f"{name} is no string", 422, "InvalidFormat", name)
        for name in ("externalStatus", "externalId"):
            if not body.get(name):
                raise CattleRefusalError(f"{name} is required", 422, "MissingRequired", name)
        timestamp = body.get("externalTimestamp")
        if isinstance(timestamp, bool) or not isinstance(timestamp, int | float | None):
            raise CattleRefusalError("no integer", 422, "InvalidFormat", "externalTimestamp")
        event = self._new(body["externalStatus"], body["externalId"])
        event.external_from = body.get("externalFrom")
        event.external_timestamp = timestamp
        event.reported_host_uuid = body.get("reportedHostUuid")
        inspect = body.get("dockerInspect")
        event.inspect = inspect if isinstance(inspect, dict) else None
        return event

    def _check(self, event: ContainerEvent, account: Account) -> None:
        """Find agent and host of an event.

        Errors: those of `post`.
        """
        broken = self._faults.knobs.containerevents_status
        if broken is not None:
            raise CattleRefusalError("Broken on purpose", broken, "ServerError")
        try:
            agent = self._agents.usable_agent(account)
        except CattleRefusalError as refusal:
            if refusal.code == "Forbidden":
                raise CattleRefusalError("Access Denied", 403, "CantVerifyAgent") from None
            raise
        event.agent = agent.external_id
        found = self._hosts.of_agent(agent, event.reported_host_uuid or "")
        if not found:
            raise CattleRefusalError("Invalid reference", 422, "InvalidReference", "hostId")
        event.host = found[0]
        waiting = self._unprocessed[event.host.host_id]
        if event.external_status == "start" and waiting >= self._settings.container_events_max:
            raise CattleRefusalError("Conflict", 409, "TooManyContainerEvents")

    def _judge(self, event: ContainerEvent) -> None:
        """Note what cattle takes although an agent should not send it."""
        time_s = event.external_timestamp
        earlier_s = self._latest_s.get(event.external_id, 0)
        rules = {
            f"has the status {event.external_status}": event.external_status not in STATUSES,
            "has an id that is not 64 hex digits": not re.fullmatch(
                r"[0-9a-f]{64}", event.external_id
            ),
            "has no externalFrom": not event.external_from,
            "has no whole seconds": not isinstance(time_s, int) or time_s > MILLISECONDS_FROM,
            "came after a later one of its container": time_s is not None and time_s < earlier_s,
        }
        self._latest_s[event.external_id] = max(earlier_s, time_s or 0)
        if event.external_status == "destroy":
            del self._latest_s[event.external_id]
        for problem in (text for text, applies in rules.items() if applies):
            if len(self.problems) < PROBLEMS_KEPT:
                self.problems.append(f"{event.own_id} {problem}")

    def _process_later(self, event: ContainerEvent) -> None:
        """Process an event in the background, after the earlier ones of its container."""
        assert event.host is not None
        self._unprocessed[event.host.host_id] += 1
        earlier = self._last.get(event.external_id)
        task = asyncio.get_running_loop().create_task(self._process(event, event.host, earlier))
        self._last[event.external_id] = task

    async def _process(
        self, event: ContainerEvent, host: Host, earlier: asyncio.Task[None] | None
    ) -> None:
        try:
            if earlier is not None:
                await asyncio.wait((earlier,))
            await asyncio.sleep(self._settings.container_event_delay_s)
            event.outcome = await self._rules.apply(event, host)
        finally:
            self._unprocessed[host.host_id] -= 1
            event.state, event.processed_ms = "created", epoch_ms()
            self.on_processed(event.external_id)
            if self._last.get(event.external_id) is asyncio.current_task():
                del self._last[event.external_id]
