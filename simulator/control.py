"""/simulator/...: the HTTP control API: send events, show replies, inject faults.

It needs no keys and serves only loopback peers, whatever address the server listens on; with
SIMULATOR_CONTROL_FROM_GATEWAY also the machine of its container. It refuses web pages, which could
otherwise start containers on the machine of whoever opens them.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simulator.settings import AgentSettings

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

    from simulator.agents import Agent, Agents
    from simulator.call_record import CallRecord
    from simulator.calls import Calls
    from simulator.faults import Faults
    from simulator.stats import Stats
    from simulator.subscriptions import Subscriptions

PREFIX = "/simulator"


class ControlRequestError(ValueError):
    """An invalid control request; answered with 400 and this message."""


class EventRequest(BaseModel):
    """Body of POST /simulator/events."""

    model_config = ConfigDict(extra="forbid")

    event: dict[str, Any]
    agent: str | int | None = None
    timeout_ms: float = Field(45_000, gt=0)
    sends: int = Field(1, gt=0)
    retries_new_id: int = Field(0, ge=0)
    backoff_ms: float | None = Field(None, ge=0, description="null waits as cattle does")
    as_process: bool = Field(
        default=False, description="replay, undo and remove as cattle's processes do"
    )
    one_way: bool = False
    copies: int = Field(1, gt=0, description="calls at once, each for a resource of its own")
    wait_s: float = Field(0, ge=0)


class FrameRequest(BaseModel):
    """Body of POST /simulator/frames."""

    model_config = ConfigDict(extra="forbid")

    text: str
    agent: str | int | None = None


class Control:
    """Handlers of the control API."""

    def __init__(
        self,
        agents: Agents,
        subscriptions: Subscriptions,
        calls: Calls,
        faults: Faults,
        stats: Stats,
    ) -> None:
        self._agents = agents
        self._subscriptions = subscriptions
        self._calls = calls
        self._faults = faults
        self._stats = stats

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of all handlers."""
        return [
            web.post(f"{PREFIX}/events", self.send_event),
            web.get(f"{PREFIX}/calls", self.show_calls),
            web.get(f"{PREFIX}/calls/{{id}}", self.show_call),
            web.post(f"{PREFIX}/frames", self.send_frame),
            web.get(f"{PREFIX}/stats", self.show_stats),
            web.get(f"{PREFIX}/faults", self.show_faults),
            web.put(f"{PREFIX}/faults", self.turn_faults),
            web.delete(f"{PREFIX}/faults", self.clear_faults),
            web.get(f"{PREFIX}/agents", self.show_agents),
            web.post(f"{PREFIX}/agents", self.add_agent),
        ]

    async def send_event(self, request: web.Request) -> web.Response:
        """Send an event as a call; with wait_s, respond with its record when it ended."""
        asked = EventRequest.model_validate(await _json(request))
        if not isinstance(asked.event.get("name"), str):
            raise ControlRequestError("The event needs a name, such as compute.instance.activate.")
        agent = self._agents.find(asked.agent)
        records = [self._start(agent, event, asked) for event in _copies(asked)]
        record = records[0]
        if not asked.wait_s:
            ids = [one.id for one in records]
            return web.json_response({"id": record.id, "replyTo": record.reply_to, "ids": ids})
        return web.json_response((await self._calls.wait(record, asked.wait_s)).to_json())

    def _start(self, agent: Agent, event: dict[str, Any], asked: EventRequest) -> CallRecord:
        return self._calls.start(
            agent,
            event,
            timeout_s=asked.timeout_ms / 1000,
            sends=asked.sends,
            one_way=asked.one_way,
            as_process=asked.as_process,
            retries_new_id=asked.retries_new_id,
            backoff_s=None if asked.backoff_ms is None else asked.backoff_ms / 1000,
        )

    async def show_calls(self, request: web.Request) -> web.Response:
        """All records, oldest first; `?data=0` leaves the reply payloads out."""
        data = request.query.get("data") != "0"
        return web.json_response([record.to_json(data=data) for record in self._calls.records()])

    async def show_call(self, request: web.Request) -> web.Response:
        """One record; `?wait_s=` waits for its end, or its retry's."""
        event_id = request.match_info["id"]
        record = self._calls.record(event_id)
        if record is None:
            message = f"No call has the id {event_id!r}; GET {PREFIX}/calls lists them."
            return web.json_response({"message": message}, status=404)
        wait_s = float(request.query.get("wait_s", 0))
        if wait_s:
            record = await self._calls.wait(record, wait_s)
        return web.json_response(record.to_json())

    async def send_frame(self, request: web.Request) -> web.Response:
        """Send any text on the agent's sockets."""
        asked = FrameRequest.model_validate(await _json(request))
        agent = self._agents.find(asked.agent)
        return web.json_response(
            {"sockets": self._subscriptions.send_text(asked.text, agent.agent_id)}
        )

    async def show_stats(self, _: web.Request) -> web.Response:
        """Counters, the sockets open per agent, and the times in s in which there was none."""
        sockets = {
            "open_sockets": self._subscriptions.open_per_agent(),
            "websocket_gaps_s": self._subscriptions.gaps.snapshot(),
        }
        return web.json_response({**self._stats.snapshot(), **sockets})

    async def show_faults(self, _: web.Request) -> web.Response:
        """Return the fault knobs."""
        return web.json_response(self._faults.knobs.model_dump())

    async def turn_faults(self, request: web.Request) -> web.Response:
        """Set fault knobs; `drop_sockets` cuts every socket at once."""
        changes = await _json(request)
        drop = changes.pop("drop_sockets", False)
        knobs = self._faults.turn(changes)
        if drop:
            self._subscriptions.drop_all()
        return web.json_response(knobs.model_dump())

    async def clear_faults(self, _: web.Request) -> web.Response:
        """Turn all faults off."""
        self._faults.clear()
        return web.json_response(self._faults.knobs.model_dump())

    async def show_agents(self, _: web.Request) -> web.Response:
        """Return all agents with state and last report."""
        return web.json_response([agent.to_json() for agent in self._agents])

    async def add_agent(self, request: web.Request) -> web.Response:
        """Add an agent, or a service account, while running."""
        spec = AgentSettings.model_validate(await _json(request))
        agent: Agent | None = self._agents.add(spec)
        body = agent.to_json() if agent else {"access_key": spec.access_key, "kind": spec.kind}
        return web.json_response(body, status=201)


def loopback_only(also: str | None = None) -> Middleware:
    """Reject peers that are not on loopback, but for one address; make errors readable."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith(f"{PREFIX}/"):
            return await handler(request)
        if not _is_loopback(request.remote) and (also is None or request.remote != also):
            message = (
                "The control API answers loopback only; call it from the simulator's own host."
            )
            return web.json_response({"message": message}, status=403)
        if "Origin" in request.headers or not _is_own_name(request.url.host):
            message = "The control API does not answer web pages."
            return web.json_response({"message": message}, status=403)
        try:
            return await handler(request)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            return web.json_response({"message": str(problems)}, status=400)
        except ValueError as error:
            return web.json_response({"message": str(error)}, status=400)

    return guarded


def default_gateway(routes: Path = Path("/proc/net/route")) -> str | None:
    """Return the IPv4 address of the default gateway; None without one.

    A connection to a port that a container publishes on loopback comes from there.
    """
    for line in routes.read_text(encoding="ascii").splitlines()[1:]:
        _, destination, gateway, *_ = line.split()
        if int(destination, 16) == 0 and int(gateway, 16):
            return socket.inet_ntoa(struct.pack("=I", int(gateway, 16)))
    return None


def _is_own_name(host: str | None) -> bool:
    """Whether a request names the server as no web page of others does (DNS rebinding)."""
    if host is None or host == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(remote: str | None) -> bool:
    return remote is not None and ipaddress.ip_address(remote.split("%", 1)[0]).is_loopback


def _copies(asked: EventRequest) -> list[dict[str, Any]]:
    """Return the event, or copies of it for the resources `<id>-0`, `<id>-1`, ..."""
    if asked.copies == 1:
        return [asked.event]
    resource_id = asked.event.get("resourceId", "1x")
    return [{**asked.event, "resourceId": f"{resource_id}-{n}"} for n in range(asked.copies)]


async def _json(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object."""
    try:
        body: Any = json.loads(await request.read())
    except ValueError as error:
        raise ControlRequestError(f"The body must be a JSON object: {error}") from error
    if not isinstance(body, dict):
        raise ControlRequestError(f"The body must be a JSON object, not a {type(body).__name__}.")
    return body
