"""What of an event lies in clear in Redis, and what is sealed beside it, to whom and for how long.

The envelope is what a reply echoes. Payload and outcomes are sealed with the event's id, a payload
also with its host and a time: what was moved to another place is not opened there.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from cowpoke.events import Event
from cowpoke.outcomes import Outcome
from cowpoke.routes import DELEGATE
from cowpoke.seal import SealBrokenError, Sealer

#: How long after an event's deadline its sealed payload is still taken for fresh: a call of several
#: sends lives longer than one timeout. What is put back into Redis later than that is a replay.
REPLAY_WINDOW_MS = 15 * 60_000


def envelope(event: Event) -> str:
    """The part of an event that its replies echo, as JSON; nulls and all.

    A `delegate.request` holds another event, whose echoes are under `inner`.
    """
    echoed = _echoed(event)
    inner = event.data.get("event") if event.base_name == DELEGATE else None
    if isinstance(inner, Mapping):
        # One that cannot be read has nothing to echo; the worker says what is wrong with it.
        with suppress(ValueError):
            echoed["inner"] = _echoed(Event.model_validate({**inner, "data": None}))
    return json.dumps(echoed)


def _echoed(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "name": event.name,
        "replyTo": event.reply_to,
        "resourceType": event.resource_type,
        "resourceId": event.resource_id,
    }


def sealed_event(sealer: Sealer, event: Event, host_uuid: str, now_ms: int) -> str:
    """A whole event, sealed for its host from now (by the Redis server's clock) on."""
    return sealer.seal(
        {
            **_echoed(event),
            "data": event.data,
            "host": host_uuid,
            "fresh_until_ms": now_ms + event.timeout_ms + REPLAY_WINDOW_MS,
        }
    )


def opened_event(sealer: Sealer, text: str, *, event_id: str, host_uuid: str, now_ms: int) -> Event:
    """The event that was sealed, for this host and by now.

    Errors: SealBrokenError when it was not sealed with one of our keys, as another event, for
    another host, or long ago.
    """
    content = sealer.open(text)
    event = Event.model_validate(content)
    if event.id != event_id:
        raise SealBrokenError(f"the payload of event {event_id} is another event's")
    if content.get("host") != host_uuid:
        raise SealBrokenError(f"the payload of event {event_id} was sealed for another host")
    if now_ms > int(content.get("fresh_until_ms") or 0):
        raise SealBrokenError(f"the payload of event {event_id} was sealed too long ago")
    return event


def sealed_outcome(sealer: Sealer, event_id: str, outcome: Outcome) -> str:
    """What became of an event, sealed as its."""
    return sealer.seal({"event_id": event_id, **outcome.to_json()})


def outcome_of(sealer: Sealer, fields: Mapping[str, str]) -> Outcome:
    """The outcome in an entry of the stream.

    Errors: SealBrokenError when it was not sealed with one of our keys, or for another event.
    """
    content = sealer.open(fields["content"])
    event_id = json.loads(fields["envelope"])["id"]
    if content.pop("event_id", None) != event_id:
        raise SealBrokenError(f"the outcome of event {event_id} is another event's")
    return Outcome.from_json(content)
