"""The status page over HTTP: the page, its live parts by server-sent events, the same as JSON."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from bridge.web.hosts_part import chosen
from bridge.web.page import Parts, document, parts, problems_of, trouble_of
from bridge.web.query import Query
from bridge.web.readiness import Health, Readiness
from bridge.web.watched import Seen, Watched
from cowpoke.overview.views import Overview

#: Each viewer needs a connection, and work every few seconds.
MOST_VIEWERS = 64
#: Pages kept per reading; most viewers look at the same one.
_MOST_MADE = 64
#: A browser that reads nothing for this long is gone.
_WRITE_WITHIN_S = 10.0
_BUSY_RETRY_S = 30
_STATIC = Path(__file__).parent / "static"
_TYPES = {
    "page.css": "text/css",
    "live.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


class StatusPage:
    """Serves the page to any number of readers, from one reading of Redis."""

    def __init__(self, watched: Watched, readiness: Readiness, own_id: str) -> None:
        self._watched = watched
        self._readiness = readiness
        self._own_id = own_id
        self._viewers = 0
        #: Of `_made_of`, by query.
        self._made: dict[Query, Parts] = {}
        self._made_of: tuple[Seen, Health] | None = None
        self._files = {name: (_STATIC / name).read_bytes() for name in _TYPES}

    def routes(self) -> list[web.RouteDef]:
        """The addresses of the page."""
        return [
            web.get("/", self._page),
            web.get("/events", self._events),
            web.get("/status.json", self._json),
            web.get("/static/{name}", self._file),
        ]

    async def _page(self, request: web.Request) -> web.Response:
        query = Query.of(request.query)
        html = document(await self._parts(query), query)
        return web.Response(body=_bytes(html), content_type="text/html", charset="utf-8")

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in _TYPES:
            raise web.HTTPNotFound
        return web.Response(body=self._files[name], content_type=_TYPES[name], charset="utf-8")

    async def _json(self, request: web.Request) -> web.Response:
        query = Query.of(request.query)
        seen, health = await self._look()
        body = await asyncio.to_thread(_json_bytes, seen, health, query)
        return web.Response(body=body, content_type="application/json", charset="utf-8")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self._viewers >= MOST_VIEWERS:
            raise web.HTTPServiceUnavailable(
                text="Too many look at this page; load it again by hand.\n",
                headers={"Retry-After": str(_BUSY_RETRY_S)},
            )
        query = Query.of(request.query)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        self._viewers += 1
        try:
            await response.prepare(request)
            await self._follow(query, request, response.write)
        except (ConnectionError, TimeoutError):
            pass  # the reader went away
        finally:
            self._viewers -= 1
        return response

    async def _follow(
        self, query: Query, request: web.Request, write: Callable[[bytes], Any]
    ) -> None:
        sent: dict[str, str] = {}
        while request.transport is not None and not request.transport.is_closing():
            found = await self._parts(query)
            changed = {name: html for name, html in found.html.items() if sent.get(name) != html}
            sent |= changed
            # A comment shows whether the reader is still there.
            text = ":\n\n"
            if changed:
                told = {"title": found.title, "parts": changed}
                text = f"event: parts\ndata: {json.dumps(told)}\n\n"
            async with asyncio.timeout(_WRITE_WITHIN_S):
                await write(_bytes(text))
            await self._watched.until_due()

    async def _look(self) -> tuple[Seen, Health]:
        return await asyncio.gather(self._watched.latest(), self._readiness.health())

    async def _parts(self, query: Query) -> Parts:
        seen, health = await self._look()
        if self._made_of != (seen, health):
            self._made_of, self._made = (seen, health), {}
        found = self._made.get(query)
        if found is None:
            found = await asyncio.to_thread(parts, seen, health, query, self._own_id)
            if self._made_of == (seen, health) and len(self._made) < _MOST_MADE:
                self._made[query] = found
        return found


def _bytes(text: str) -> bytes:
    # `shown` has escaped what is no UTF-8; an address may still hold half a surrogate pair.
    return text.encode(errors="replace")


def _json_bytes(seen: Seen, health: Health, query: Query) -> bytes:
    """Return what the page shows, as ASCII; keys of Redis may hold bytes that are no UTF-8.

    Also of the hosts only one page: ten thousand would be 40 MB and seconds of this process.
    """
    trouble = trouble_of(seen, health)
    kinds = Counter((one.code, one.needs_person) for one in problems_of(seen, health))
    content = {
        "read_ms": seen.at_ms,
        "trouble": "" if trouble is None else trouble.message,
        "this_bridge": asdict(health),
        "problems": [
            {"code": code, "needs_person": needs_person, "count": count}
            for (code, needs_person), count in kinds.items()
        ],
        **({} if seen.overview is None else _overview(seen.overview, query)),
        "recent": [one.to_json() for one in seen.recent],
    }
    return json.dumps(content, indent=1).encode()


def _overview(overview: Overview, query: Query) -> dict[str, Any]:
    found = chosen(overview, query)
    bridges = []
    for bridge in overview.bridges:
        states = Counter(str(one.state) for one in bridge.websockets)
        bridges.append({**asdict(replace(bridge, websockets=())), "websockets": states})
    return {
        "redis": asdict(overview.redis),
        "bridges": bridges,
        "hosts": [
            {
                **asdict(host),
                "problems": [
                    one.code for one in overview.problems if one.subject == host.host_uuid
                ],
            }
            for host in found.hosts
        ],
        "hosts_total": found.total,
        "page": found.page,
        "pages": found.pages,
    }
