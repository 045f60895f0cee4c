"""What became of events: a bounded history of each host, written by bridges, read by people.

An entry of `cowpoke:history:<host>` holds the event's id and the rest sealed with the host's key.
`cowpoke:recent` names the last entries of all hosts, so that nobody reads one stream per host to
find the last hundred events. Pings have entries only where they failed.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import redis

from cowpoke import keys
from cowpoke.broker import answers
from cowpoke.envelopes import UnknownVersionError, opened_content
from cowpoke.finished_event import Ending, EventStep, FinishedEvent
from cowpoke.lengths import bounded_int, shortened
from cowpoke.seal import Keyring, SealBrokenError, Sealer
from cowpoke.version import CONTRACT_VERSION

__all__ = ["Ending", "EventStep", "FinishedEvent", "read_history", "read_recent"]

#: Entries kept of each host when a bridge's settings say nothing.
HISTORY_EVENTS = 1_000
#: The sentence of an error, in an entry; cattle has the whole one.
MESSAGE_CHARS = 500
SUMMARY_CHARS = 160
DETAIL_CHARS = 120
#: Unusual steps of one event, at most.
MOST_STEPS = 300
_AT_ONCE = 500
_KIND = "finished-event"


class Pointer(NamedTuple):
    """An entry of the history of a host."""

    host_uuid: str
    entry: str


def sealed_finished(sealer: Sealer, event: FinishedEvent) -> str:
    """Return an entry's content, sealed for the event's host; long texts are cut."""
    content = event.stored()
    content["message"] = shortened(event.message, MESSAGE_CHARS)
    content["summary"] = shortened(event.summary, SUMMARY_CHARS)
    content["result"] = shortened(event.result, SUMMARY_CHARS)
    # Redis holds a thousand of them for each host.
    filled = {key: value for key, value in content.items() if value}
    return sealer.seal({"v": CONTRACT_VERSION, "kind": _KIND, **filled})


def opened_finished(sealer: Sealer, text: str, *, host_uuid: str) -> FinishedEvent:
    """Return the event of an entry.

    Errors: SealBrokenError when no bridge of ours sealed it for this host; UnknownVersionError.
    """
    content = opened_content(sealer, text)
    if content.get("kind") != _KIND or content.get("host") != host_uuid:
        raise SealBrokenError("the entry is no finished event of this host")
    try:
        fields: dict[str, Any] = {name: _text(content.get(name)) for name in _TEXTS}
        fields |= {name: max(bounded_int(content.get(name)), 0) for name in _COUNTS}
        return FinishedEvent(
            host_uuid=host_uuid,
            outcome=Ending(content["outcome"]),
            unusual=tuple(_steps(content.get("unusual") or ())),
            **fields,
        )
    except (KeyError, TypeError, ValueError):
        raise SealBrokenError("the finished event is incomplete") from None


_TEXTS = (
    *("event_id", "name", "resource", "summary", "lane", "code", "message", "result", "answer"),
    "worker",
)
_COUNTS = (
    *("attempts", "deaths", "received_ms", "queued_ms", "first_claimed_ms", "claimed_ms"),
    *("ended_ms", "published_ms"),
)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _steps(rows: Iterable[Sequence[Any]]) -> Iterable[EventStep]:
    for at_ms, step, detail in rows:
        yield EventStep(at_ms=bounded_int(at_ms), step=str(step), detail=str(detail))


def read_recent(
    client: "redis.Redis", keyring: Keyring, most: int = keys.RECENT_MOST
) -> list[FinishedEvent]:
    """Return the last events of all hosts that are over, the newest first.

    Those whose entry is gone, or that our keys do not open, are left out.
    Errors: redis.RedisError.
    """
    pointers = [
        Pointer(str(fields["host"]), str(fields["entry"]))
        for _, fields in _rows(client.xrevrange(keys.RECENT, count=most))
        if {"host", "entry"} <= fields.keys()
    ]
    return read_entries(client, keyring, pointers)


def read_entries(
    client: "redis.Redis", keyring: Keyring, pointers: Sequence[Pointer]
) -> list[FinishedEvent]:
    """Return the events of entries, in their order; without those that are gone or do not open.

    Errors: redis.RedisError.
    """
    found: list[FinishedEvent] = []
    for first in range(0, len(pointers), _AT_ONCE):
        some = pointers[first : first + _AT_ONCE]
        with client.pipeline(transaction=False) as pipe:
            for host_uuid, entry in some:
                pipe.xrange(keys.history(host_uuid), entry, entry)
            rows = answers(pipe)
        for (host_uuid, _), row in zip(some, rows, strict=True):
            found += _readable(keyring.host(host_uuid), host_uuid, row)
    return found


def read_history(
    client: "redis.Redis", keyring: Keyring, host_uuid: str, most: int = HISTORY_EVENTS
) -> list[FinishedEvent]:
    """Return the last events of a host that are over, the newest first.

    Those that our keys do not open are left out. Errors: redis.RedisError.
    """
    rows = client.xrevrange(keys.history(host_uuid), count=most)
    return _readable(keyring.host(host_uuid), host_uuid, rows)


def _readable(sealer: Sealer, host_uuid: str, rows: object) -> list[FinishedEvent]:
    found = []
    for _, fields in _rows(rows):
        try:
            found.append(opened_finished(sealer, fields.get("sealed", ""), host_uuid=host_uuid))
        except (SealBrokenError, UnknownVersionError):
            continue
    return found


def _rows(answer: Any) -> list[tuple[str, dict[str, str]]]:  # noqa: ANN401 -- redis-py's
    """Return the entries of a stream; none for an error about the key, or for a lost entry."""
    if isinstance(answer, Exception) or not answer:
        return []
    return [(str(entry), fields) for entry, fields in answer if fields]
