"""Listen to Celery's events as Flower does: what Redis publishes in clear about tasks."""

import base64
import json
from contextlib import contextmanager
from typing import Any

from simulator.rig.processes import wait_until
from simulator.rig.redis_server import RedisServer


class Heard:
    """The events since the listener began."""

    def __init__(self, listener) -> None:
        self._listener = listener
        #: Everything that was published, decoded; for searches.
        self.text = ""
        self.events: list[dict[str, Any]] = []

    def of(self, event_id: str) -> list[dict[str, Any]]:
        """The events of one task so far, in order."""
        self._read()
        return [event for event in self.events if event.get("uuid") == event_id]

    def types(self, event_id: str) -> list[str]:
        """The types of these events: `received`, `started`, ..."""
        return [event["type"].removeprefix("task-") for event in self.of(event_id)]

    def wait(self, event_id: str, kind: str) -> dict[str, Any]:
        """Wait for an event of a task, such as `succeeded`; the last one of that type."""
        wait_until(lambda: kind in self.types(event_id), 30, f"task-{kind} of {event_id}")
        return [one for one in self.of(event_id) if one["type"] == f"task-{kind}"][-1]

    def _read(self) -> None:
        while (message := self._listener.get_message(timeout=0.05)) is not None:
            if message["type"] != "pmessage":
                continue
            content = message["data"].decode(errors="replace")
            body = base64.b64decode(json.loads(content)["body"]).decode(errors="replace")
            self.text += f"{content}\n{body}\n"
            found = json.loads(body)
            # Celery sends the events of tasks in groups.
            self.events += found if isinstance(found, list) else [found]


@contextmanager
def hearing(server: RedisServer):
    """Listen to Celery's events of all workers while the block runs."""
    with server.client() as client, client.pubsub() as listener:
        listener.psubscribe("*celeryev*")
        listener.get_message(timeout=5)
        yield Heard(listener)
