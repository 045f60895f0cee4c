"""What Celery does with a received message, and what its events say about the task.

Celery's events go through Redis in clear, to Flower and to whoever may listen. They contain names,
ids, images, addresses, codes and times, and nothing else of an event: each field is chosen here.
"""

import re
import zlib
from typing import Any

from celery.worker.request import Request

from worker.process.runtime import current

PING = "ping"
_CODE = re.compile(r"[a-z0-9-]{1,64}")
#: Fields that Celery fills with truth values only.
_PLAIN = ("terminated", "expired", "requeue")


class EventRequest(Request):  # type: ignore[misc]  # celery has no types
    """A received message that Celery never drops: the ledger decides what is run and answered."""

    def revoked(self) -> bool:
        """Ignore Celery's set of revoked ids and the message's `expires` header."""
        return False

    def send_event(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 -- Celery's
        """Send one of Celery's events about the task, with its public fields only.

        Pings are left out or sampled, see `shows`. One that fails is always shown.
        """
        eventer = self._eventer
        if not eventer or not eventer.enabled:
            return
        is_ping = not self.task.send_events
        if is_ping and not shows(self.name, self.id) and kind != "task-failed":
            current().shown.pop(self.id, None)
            return
        if is_ping and (kind == "task-started" or not shows(self.name, self.id)):
            # Celery sends it for tasks with `send_events` only.
            self._send_received(eventer)
        eventer.send(kind, uuid=self.id, **self._public(kind, fields))

    def _public(self, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        match kind:
            case "task-succeeded":
                text = current().shown.pop(self.id, "")
                return {"result": text, "runtime": fields.get("runtime")}
            case "task-retried":
                return {"exception": current().shown.pop(self.id, "retried"), "traceback": ""}
            case "task-failed":
                current().shown.pop(self.id, None)
                # Of an exception of Celery's own, the text may contain anything.
                code = str(fields.get("exception"))
                code = code if _CODE.fullmatch(code) else "internal-error"
                hint = f"The sentence is not public: cowpoke events show {self.id}"
                return {"exception": code, "traceback": hint}
            case _:
                return {name: fields[name] for name in _PLAIN if name in fields}

    def _send_received(self, eventer: Any) -> None:  # noqa: ANN401 -- celery has no types
        eventer.send(
            "task-received",
            uuid=self.id,
            name=self.name,
            args=self.argsrepr,
            kwargs=self.kwargsrepr,
            root_id=self.root_id,
            parent_id=self.parent_id,
            retries=self.request_dict.get("retries", 0),
            eta=None,
            expires=None,
        )


def shows(name: str, event_id: str) -> bool:
    """Return whether Celery's events are sent about an event.

    Of pings, one in `WORKER_FLOWER_PINGS` is shown, chosen by its id; none if that is 0.
    """
    if name != PING:
        return True
    one_in = current().settings.flower_pings
    return one_in > 0 and zlib.crc32(event_id.encode()) % one_in == 0
