"""POST /publish: one reply event per request, validated as cattle does, then 201 without a body.

201 only means "put on the bus": late and unknown replies get it as well. cattle does not check
that a reply belongs to the caller's agent; the reply address is enough. cattle accepts fractions in
integer fields, a text as `previousIds` and any word in `transitioning`; `strict_publish` refuses
them.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from simulator.wire import CattleRefusalError, Event, epoch_ms, new_event_id

if TYPE_CHECKING:
    from simulator.agents import Agents
    from simulator.calls import Calls
    from simulator.faults import Faults
    from simulator.stats import Stats

NOT_NULLABLE = ("name", "previousIds", "id", "time", "publisher", "transitioning")
INTEGERS = ("time", "transitioningProgress")
TRANSITIONING = ("yes", "no", "error")
FIELDS = (
    *NOT_NULLABLE,
    "data",
    "resourceId",
    "resourceType",
    "transitioningMessage",
    "transitioningInternalMessage",
    "transitioningProgress",
)
RETRY_AFTER_S = "1"
TOO_MANY_REQUESTS = 429
BAD_GATEWAY = 502


class Publish:
    """The handler of /publish, with its faults."""

    def __init__(
        self, agents: Agents, calls: Calls, faults: Faults, stats: Stats, *, strict: bool
    ) -> None:
        self._strict = strict
        self._agents = agents
        self._calls = calls
        self._faults = faults
        self._stats = stats

    async def publish(self, request: web.Request) -> web.StreamResponse:
        """Handle POST /publish, with the active faults."""
        raw = await request.read()
        if self._faults.knobs.delay_publish_ms:
            await asyncio.sleep(self._faults.knobs.delay_publish_ms / 1000)
        is_hit = self._faults.hits_publish(len(raw))
        response = await self._broken(request, raw) if is_hit else None
        if response is None:
            try:
                response = self.accept(request, raw)
            except CattleRefusalError as refusal:
                self._stats.publishes[refusal.status] += 1
                raise
        if request.transport is not None and not request.transport.is_closing():
            self._stats.publishes[response.status] += 1
        return response

    def accept(self, request: web.Request, raw: bytes) -> web.Response:
        """Authenticate, validate, and pass the reply to its call.

        Errors: 401, 400 InvalidBodyContent, 422 MissingRequired/NotNullable/InvalidFormat, 403.
        """
        account = self._agents.authenticate(request, "publish")
        event = _validated(raw, strict=self._strict)
        if not account.raw and not event["name"].startswith("reply."):
            raise CattleRefusalError("Access Denied", 403, "Forbidden")
        self._calls.receive(event)
        return web.Response(status=201)

    async def _broken(self, request: web.Request, raw: bytes) -> web.Response | None:
        """Apply the active faults to this post; None means no fault."""
        knobs = self._faults.knobs
        if knobs.publish_hang:
            await self._faults.hang_ends()
            return None
        if knobs.publish_status is not None:
            return _failure(knobs.publish_status)
        if knobs.publish_lost_201:
            self.accept(request, raw)
        self._stats.publishes_cut += 1
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)  # goes nowhere: the connection is cut


def _validated(raw: bytes, *, strict: bool) -> Event:
    """Return the reply event of a body; unknown fields are dropped silently."""
    try:
        body: Any = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise CattleRefusalError("Request body is not a JSON object", 400, "InvalidBodyContent")
    for field in NOT_NULLABLE:
        if field in body and body[field] is None:
            raise CattleRefusalError(f"{field} may not be null", 422, "NotNullable", field)
    if not body.get("name"):
        raise CattleRefusalError("name is required", 422, "MissingRequired", "name")
    for field in INTEGERS:
        number = body.get(field)
        kinds = int if strict else int | float
        if number is not None and (isinstance(number, bool) or not isinstance(number, kinds)):
            raise CattleRefusalError(f"{field} is no integer", 422, "InvalidFormat", field)
    if not isinstance(body["name"], str):
        raise CattleRefusalError("name is no string", 422, "InvalidFormat", "name")
    if strict:
        _refuse_luck(body)
    defaults = {"id": new_event_id(), "time": int(epoch_ms())}
    return {**defaults, **{field: body[field] for field in FIELDS if field in body}}


def _refuse_luck(body: Event) -> None:
    """Refuse replies that cattle accepts although an agent must not send them."""
    ids = body.get("previousIds", [])
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        raise CattleRefusalError("no list of ids", 422, "InvalidFormat", "previousIds")
    if body.get("transitioning", "no") not in TRANSITIONING:
        raise CattleRefusalError("no such state", 422, "InvalidOption", "transitioning")


def _failure(status: int) -> web.Response:
    """Return an error response: a proxy's HTML for 502, Retry-After for 429, else JSON."""
    if status == BAD_GATEWAY:
        page = (
            "<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>"
        )
        return web.Response(status=status, text=page, content_type="text/html")
    response = CattleRefusalError("Broken on purpose", status, "ServerError").response()
    if status == TOO_MANY_REQUESTS:
        response.headers["Retry-After"] = RETRY_AFTER_S
    return response
