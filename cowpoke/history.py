"""What became of events: a bounded history of each host, written by bridges, read by people.

An entry of `cowpoke:history:<host>` holds the event's id and the rest sealed with the host's key.
`cowpoke:recent` names the last entries of all hosts, so that nobody reads one stream per host to
find the last hundred events. Pings have entries only where they failed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import redis

from cowpoke import keys
from cowpoke.broker import answers
from cowpoke.envelopes import UnknownVersionError, opened_content
from cowpoke.lengths import bounded_int, shortened
from cowpoke.seal import Keyring, SealBrokenError, Sealer
from cowpoke.version import CONTRACT_VERSION

#: Entries kept of each host when a bridge's settings say nothing.
HISTORY_EVENTS = 1_000
#: The sentence of an error, in an entry; cattle has the whole one.
MESSAGE_CHARS = 500
SUMMARY_CHARS = 160
DETAIL_CHARS = 120
#: Unusual steps of one event, at most.
MOST_STEPS = 120
#: Entries that one round trip reads.
_AT_ONCE = 500
_KIND = "finished-event"


class Ending(StrEnum):
    """What became of an event in the end."""

    SUCCESS = "success"
    ERROR = "error"
    #: Nobody waited for it any more: nothing was sent to cattle.
    EXPIRED = "expired"
    #: cattle took its reply for good not.
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True, slots=True)
class EventStep:
    """One thing that happened to an event."""

    #: By the Redis server's clock.
    at_ms: int
    #: A word: `received`, `queued`, `claimed`, `answered`, `expired`, `published`; of what is
    #: unusual: `refused`, `retry`, `requeue`, `reject`, `died`, `resend`, `hurry`, `dismiss`.
    step: str
    #: A process, a lane, a code; may be empty.
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedEvent:
    """An event that is over. All times are by the Redis server's clock, 0 where there is none.

    Times, counts and steps are the word of the host's workers; they decide nothing.
    """

    event_id: str
    #: cattle's name of it, without a subscription suffix.
    name: str
    #: `instanceHostMap:1ihm50`, or `-`.
    resource: str
    #: What a person looks for: `web-1 (1i37) nginx:1.25`.
    summary: str
    host_uuid: str
    lane: str
    outcome: Ending
    #: Of an error or a refusal; `expired-<where it was>` of what expired; empty of a success.
    code: str = ""
    #: The sentence of an error, the warnings of a success, or why cattle refused the reply.
    message: str = ""
    #: What came of it, for people: `running 4f1c… 10.42.3.7`; may be empty.
    result: str = ""
    #: How often a worker process claimed it, and how many of them died with it.
    attempts: int = 0
    deaths: int = 0
    #: The process that had it last.
    worker: str = ""
    received_ms: int
    queued_ms: int = 0
    #: The first time and the last time that a worker process claimed it.
    first_claimed_ms: int = 0
    claimed_ms: int = 0
    #: When its outcome was stored, or when it expired.
    ended_ms: int = 0
    #: When cattle took the reply.
    published_ms: int = 0
    #: What is not told by the times above: tries that came to nothing, refusals by cattle.
    unusual: tuple[EventStep, ...] = ()

    @property
    def queue_ms(self) -> int:
        """How long it waited for a worker; all its time if none ever claimed it."""
        return _span_ms(self.received_ms, self.first_claimed_ms or self.ended_ms)

    @property
    def run_ms(self) -> int:
        """How long it took from the first claim on, retries and the waits between them included."""
        return _span_ms(self.first_claimed_ms, self.ended_ms)

    @property
    def publish_ms(self) -> int:
        """How long its reply took to cattle."""
        return _span_ms(self.ended_ms, self.published_ms)

    @property
    def total_ms(self) -> int:
        """All its time, from its receipt to its reply."""
        return _span_ms(self.received_ms, self.published_ms or self.ended_ms)

    @property
    def steps(self) -> tuple[EventStep, ...]:
        """All that happened to it, in order."""
        is_expired = self.outcome is Ending.EXPIRED
        ending = "expired" if is_expired else "answered"
        usual = (
            EventStep(at_ms=self.received_ms, step="received"),
            EventStep(at_ms=self.queued_ms, step="queued"),
            EventStep(at_ms=self.claimed_ms, step="claimed", detail=self.worker),
            EventStep(at_ms=self.ended_ms, step=ending, detail=self.code or str(self.outcome)),
            EventStep(at_ms=self.published_ms, step="published"),
        )
        times = {one.at_ms for one in self.unusual} | {self.received_ms}
        noted = {(one.at_ms, one.step) for one in self.unusual}
        noted |= {(at_ms, "queued") for at_ms in times}
        if self.outcome is Ending.REFUSED:
            noted.add((self.ended_ms, ending))
        new = [one for one in usual if one.at_ms and (one.at_ms, one.step) not in noted]
        # The sort keeps the order of what happened in the same ms: an end comes after all else.
        return tuple(sorted((*new[:-2], *self.unusual, *new[-2:]), key=lambda one: one.at_ms))

    def to_json(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        return {
            **self.stored(),
            "steps": [
                {"at_ms": one.at_ms, "step": one.step, "detail": one.detail} for one in self.steps
            ],
            "queue_ms": self.queue_ms,
            "run_ms": self.run_ms,
            "publish_ms": self.publish_ms,
        }

    def stored(self) -> dict[str, Any]:
        """Return what an entry in Redis is made of."""
        return {
            "event_id": self.event_id,
            "name": self.name,
            "resource": self.resource,
            "summary": self.summary,
            "host": self.host_uuid,
            "lane": self.lane,
            "outcome": self.outcome,
            "code": self.code,
            "message": self.message,
            "result": self.result,
            "attempts": self.attempts,
            "deaths": self.deaths,
            "worker": self.worker,
            "received_ms": self.received_ms,
            "queued_ms": self.queued_ms,
            "first_claimed_ms": self.first_claimed_ms,
            "claimed_ms": self.claimed_ms,
            "ended_ms": self.ended_ms,
            "published_ms": self.published_ms,
            "unusual": [[one.at_ms, one.step, one.detail] for one in self.unusual],
        }


def _span_ms(begin_ms: int, end_ms: int) -> int:
    # The server's clock may have been set back in between.
    return max(end_ms - begin_ms, 0) if begin_ms and end_ms else 0


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
    *("event_id", "name", "resource", "summary", "lane", "code", "message", "result", "worker"),
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
        (str(fields["host"]), str(fields["entry"]))
        for _, fields in _rows(client.xrevrange(keys.RECENT, count=most))
        if {"host", "entry"} <= fields.keys()
    ]
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
