"""The protocol of the stand-in for a storage driver: requests, answers, faults, a unix socket.

It is Docker's volume protocol, as Rancher's drivers speak it: each answer has all keys.
"""

from __future__ import annotations

import json
import socketserver
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: Of the driver's answers; requests have plain JSON.
CONTENT_TYPE = "application/vnd.docker.plugins.v1.1+json"
NOT_FOUND = 404, b"404 page not found\n"
_PREFIX = "/VolumeDriver."

#: Status and body.
Answer = tuple[int, bytes]


class Fault(StrEnum):
    """What goes wrong with an action."""

    #: 404 and JSON without `Err`: the driver does not have the action.
    UNSUPPORTED = "unsupported"
    #: 404 and plain text.
    TEXT = "text"
    #: 500 and `Err`.
    FAIL = "fail"
    #: 200 and `Err`.
    FAIL_200 = "fail-200"
    #: 500 and JSON without `Err`.
    SILENT_500 = "silent-500"
    #: 200 and an empty answer: no mount point, no scope.
    EMPTY = "empty"
    #: 200 and text that is not JSON.
    NOISE = "noise"
    #: No answer until the fault ends; then the right one.
    HANG = "hang"
    #: The right answer, late.
    SLOW = "slow"
    #: The right answer, byte by byte.
    DRIP = "drip"
    #: The connection ends without an answer.
    DROP = "drop"


@dataclass(frozen=True, kw_only=True)
class DriverRequest:
    """A call that the driver got."""

    action: str
    #: What was sent: `Name`, and `Opts` where there were any.
    body: dict[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """The volume."""
        return str(self.body.get("Name", ""))


class Answering(Protocol):
    """What stands behind the socket."""

    def answer(self, request: DriverRequest) -> Answer:
        """Return status and body. Errors: ConnectionAbortedError for no answer at all."""

    def pieces(self, body: bytes, action: str) -> Iterable[bytes]:
        """Return a body in the pieces in which it is sent."""


class DriverServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Listens on a unix socket; each request has a thread of its own."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, path: Path, driver: Answering) -> None:
        self.driver = driver
        super().__init__(str(path), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: DriverServer

    def do_POST(self) -> None:
        """Answer one request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/Plugin.Activate":
            self._send((200, b'{"Implements": ["VolumeDriver"]}'))
            return
        action = self.path.removeprefix(_PREFIX)
        try:
            # The Engine sends some requests, such as List, with an empty body.
            request = DriverRequest(action=action, body=dict(json.loads(body or b"{}")))
        except (ValueError, TypeError):
            self._send((400, b"invalid request\n"))
            return
        try:
            answer = self.server.driver.answer(request)
        except ConnectionAbortedError:
            self.close_connection = True
            return
        self._send(answer, self.server.driver.pieces(answer[1], action))

    def _send(self, answer: Answer, pieces: Iterable[bytes] | None = None) -> None:
        status, body = answer
        with suppress(BrokenPipeError, ConnectionResetError):  # the caller has given up
            self.send_response(status)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            for piece in pieces or (body,):
                self.wfile.write(piece)

    def address_string(self) -> str:
        """Unix sockets have no address."""
        return "socket"

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def driver_json(**changes: Any) -> bytes:  # noqa: ANN401 -- the driver's JSON
    """Return an answer's body, in which all keys but these are empty."""
    empty = {
        "Mountpoint": "",
        "Err": "",
        "Volumes": None,
        "Volume": None,
        "Capabilities": {"Scope": ""},
    }
    return json.dumps({**empty, **changes}).encode()
