"""The JSON shapes of cattle's event protocol: frames, topics, ids and error bodies; no state."""

from __future__ import annotations

import json
import secrets
import time
import uuid
from typing import Any

from aiohttp import web

Event = dict[str, Any]

PROJECT_PARTS = 3
"""Where a path of /v1/projects/<id>/... has the project."""

ALWAYS_PRESENT = ("id", "name", "resourceId", "resourceType", "data")


class CattleRefusalError(Exception):
    """A request that cattle refuses with a JSON API error; `server` renders it."""

    def __init__(self, message: str, status: int = 400, code: str = "", field: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.field = field

    def response(self) -> web.Response:
        """Return cattle's error body, with the field that caused it."""
        body = {"type": "error", "status": self.status, "code": self.code, "message": str(self)}
        if self.field:
            body["fieldName"] = self.field
        headers = {"WWW-Authenticate": 'Basic realm="cattle"'} if self.status == 401 else None  # noqa: PLR2004
        return web.json_response(body, status=self.status, headers=headers)


def api_url(request: web.Request, *, project: bool = True) -> str:
    """Return the API's address in the version, and unless told not to the project, of a request."""
    version = request.match_info.get("version", "v1")
    parts = request.path.split("/", 4)
    is_project = project and parts[2:3] == ["projects"] and len(parts) > PROJECT_PARTS
    within = f"/projects/{parts[PROJECT_PARTS]}" if is_project else ""
    return f"{request.scheme}://{request.host}/{version}{within}"


def answer_headers(request: web.Request) -> dict[str, str]:
    """Return the headers of every answer of the API, except those that name the account."""
    return {
        "Set-Cookie": "PL=rancher;Path=/",
        "Expires": "Thu, 01 Jan 1970 00:00:00 GMT",
        "X-API-Schemas": f"{api_url(request)}/schemas",
        "X-API-Client-IP": request.remote or "",
    }


def epoch_ms() -> float:
    """Return the host's clock in milliseconds since 1970."""
    return round(time.time() * 1000, 3)


def new_event_id() -> str:
    """Return a random event id."""
    return str(uuid.uuid4())


def new_reply_address() -> str:
    """Return `reply.` and a random 63-bit number; knowing it is enough to answer."""
    return f"reply.{secrets.randbits(63)}"


def topic(name: str, agent_id: int) -> str:
    """Return the full topic name of an event for one agent."""
    return f"{name.split(';', 1)[0]};agent={agent_id}"


def agent_of_topic(name: str) -> int | None:
    """Return the agent in a full topic name, or None."""
    _, _, qualifier = name.partition(";agent=")
    return int(qualifier) if qualifier.isdecimal() else None


def frame(event: Event, name: str) -> str:
    """Return a text frame with the five fixed fields, the given ones, and the visible name."""
    fixed = {key: event.get(key) for key in ALWAYS_PRESENT}
    return json.dumps({**fixed, **event, "name": name}, separators=(",", ":"))


def heartbeat_frame(time_ms: int) -> str:
    """Return a heartbeat: a `ping` without replyTo, which is never answered."""
    event = {"id": new_event_id(), "data": {"options": {}, "resources": []}, "time": time_ms}
    return frame(event, "ping")
