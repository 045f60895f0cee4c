"""The event stream of the scripted Engine: it says what a test lets happen."""

import json
import socket
import threading
import time
from typing import Any

IMAGE = "example/sleep:1.0"
#: What the real Engine remembers.
REMEMBERED = 256
NS = 1_000_000_000


class EngineEvents:
    """Events that a test makes, kept for those who follow from an earlier time on."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        #: Time and line of each event. What is no event has no time, and is not remembered.
        self._lines: list[tuple[int | None, bytes]] = []
        self._generation = 0
        self._last_ns = 0
        #: The queries of all streams so far.
        self.queries: list[dict[str, str]] = []
        #: Streams that are open.
        self.followers = 0

    def happen(
        self,
        action: str,
        container_id: str,
        *,
        kind: str = "container",
        old_form: bool = False,
        ago_s: float = 0.0,
        **more: Any,
    ) -> None:
        """Let something happen, `ago_s` ago; `old_form`: as Engines before API 1.52 say it."""
        with self._changed:
            self._last_ns = max(self._last_ns + 1, time.time_ns())
            time_ns = self._last_ns - int(ago_s * NS)
            event = {
                "Type": kind,
                "Action": action,
                "Actor": {"ID": container_id, "Attributes": {"image": IMAGE, "name": "c"}},
                "scope": "local",
                "time": time_ns // NS,
                "timeNano": time_ns,
                **more,
            }
            if old_form:
                event |= {"status": action, "id": container_id, "from": IMAGE}
            self._add(time_ns, json.dumps(event).encode() + b"\n")

    def say(self, content: bytes) -> None:
        """Write some bytes to whoever follows now."""
        with self._changed:
            self._add(None, content)

    def cut(self) -> None:
        """End all streams that are open."""
        with self._changed:
            self._generation += 1
            self._changed.notify_all()

    def stream(self, handler: Any, query: dict[str, str]) -> None:
        """Answer one request, until the stream is cut or the Engine closes."""
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.close_connection = True
        with self._changed:
            self.queries.append(query)
            generation, position = self._generation, len(self._lines)
            seconds, _, rest = query.get("since", "").partition(".")
            since_ns = int(seconds) * NS + int(rest or 0) if seconds else None
            remembered = [
                line
                for time_ns, line in [one for one in self._lines if one[0]][-REMEMBERED:]
                if since_ns is not None and time_ns >= since_ns
            ]
            self.followers += 1
        try:
            for line in remembered:
                handler._chunk(line)
            while not handler.engine.closing.is_set():
                with self._changed:
                    if position == len(self._lines):
                        self._changed.wait(0.1)
                    if generation != self._generation:
                        return
                    new, position = self._lines[position:], len(self._lines)
                for _, line in new:
                    handler._chunk(line)
                if _is_closed(handler.connection):
                    return
        except OSError:
            pass  # whoever followed was killed
        finally:
            self.followers -= 1

    def _add(self, time_ns: int | None, line: bytes) -> None:
        self._lines.append((time_ns, line))
        self._changed.notify_all()


def _is_closed(connection: socket.socket) -> bool:
    """Whether the one who follows has gone."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
