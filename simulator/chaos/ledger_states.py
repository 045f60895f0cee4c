"""The ledger entries of events without an answer, and the reason of each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import redis

from cowpoke import keys
from cowpoke.ledger.decisions import IN_TRANSIT_MS
from cowpoke.ledger.states import State

#: How late a sweeper may be that has to share the processor, before its failure is a loss.
SWEEP_SLACK_MS = 10_000
#: An outcome that was stored this long before the deadline had the time to reach cattle.
REPLY_MS = 5_000


class Fate(StrEnum):
    """Why an event had no answer by its deadline."""

    #: It waited for its turn, in a queue or for a slot until its deadline, or its answer came late:
    #: every part did its work, and not fast enough.
    STARVED = "starved"
    #: No part worked on it any more, though its deadline had not passed.
    LOST = "lost"


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerState:
    """The entry of one event after its deadline; times in ms by the Redis server's clock."""

    state: str
    expired_in: str = ""
    deadline_ms: int = 0
    #: The last time its message was queued, or its retry was due.
    queued_ms: int = 0
    #: When it was answered or expired; 0 while it is open.
    over_ms: int = 0

    @property
    def fate(self) -> Fate:
        """Return whether the event ran out of time or was lost."""
        match self.state:
            case State.ANSWERED:
                return _starved(self.over_ms > self.deadline_ms - REPLY_MS)
            case State.EXPIRED if self.expired_in in {"transit", "claimed"}:
                # The sweeper sends such a message again after a moment; it did not.
                still_ms = self.over_ms - self.queued_ms
                return _starved(still_ms < IN_TRANSIT_MS + SWEEP_SLACK_MS)
            case State.EXPIRED:
                return Fate.STARVED
            case _:
                # Without an entry it never arrived; an open one is forgotten: a sweeper expires it.
                return Fate.LOST


def _starved(is_starved: bool) -> Fate:  # noqa: FBT001 -- reads as the sentence it is
    return Fate.STARVED if is_starved else Fate.LOST


def ledger_states(
    client: "redis.Redis", hosts: Iterable[str], event_ids: Iterable[str]
) -> dict[str, LedgerState]:
    """Return the entries of these events of the hosts; one that has no entry has no state."""
    listed = tuple(hosts)
    return {event_id: _state(_entry(client, listed, event_id)) for event_id in event_ids}


def _entry(client: "redis.Redis", hosts: Iterable[str], event_id: str) -> Mapping[Any, Any]:
    found = (client.hgetall(keys.event(host_uuid, event_id)) for host_uuid in hosts)
    return next(filter(None, found), {})


def _state(entry: Mapping[Any, Any]) -> LedgerState:
    fields = {_text(name): _text(value) for name, value in entry.items()}

    def number(name: str) -> int:
        return int(fields.get(name) or 0)

    return LedgerState(
        state=fields.get("state", ""),
        expired_in=fields.get("expired_in", ""),
        deadline_ms=number("deadline_ms"),
        queued_ms=max(number("queued_ms"), number("retry_at_ms"), number("claimed_ms")),
        over_ms=number("answered_ms"),
    )


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
