"""The stream of outcomes as the bridges read it: a consumer group, so each outcome has one reader.

What a dead bridge had read and not finished is claimed by a live one.
"""

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis

from worker.contract import keys
from worker.contract.leases import Leases
from worker.log import logger

_log = logger(__name__)

GROUP = "bridges"
#: A consumer that has asked for nothing this long and has nothing is forgotten.
FORGET_AFTER_MS = 60_000
#: An outcome handed out this long ago that is not in hand was lost with a connection.
MISSED_AFTER_MS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One entry of the stream: an outcome and what its reply echoes."""

    outcome_id: str
    event_id: str
    envelope: str
    agent: str
    lane: str
    deadline_ms: int
    kind: str
    #: Sealed.
    content: str
    #: A dead bridge had it: it may have been sent already.
    claimed: bool = False

    @property
    def fields(self) -> dict[str, str]:
        """What `outcome_of` opens."""
        return {"envelope": self.envelope, "content": self.content}


class OutcomeStream:
    """The stream, for one bridge."""

    def __init__(self, client: "redis.Redis", bridge_id: str) -> None:
        self._redis = client
        self._bridge_id = bridge_id
        self._leases = Leases(client)

    def set_up(self) -> None:
        """Make the group; it begins with the first outcome there is."""
        # A bridge that reads and has no lease would be taken for dead.
        self._leases.renew_bridge(self._bridge_id)
        with suppress(redis.ResponseError):  # BUSYGROUP: another bridge made it
            self._redis.xgroup_create(keys.OUTCOMES, GROUP, id="0", mkstream=True)

    def read(self, most: int, block_ms: int) -> list[Delivery]:
        """New outcomes for this bridge; waits for the first at most `block_ms`."""
        found: Any = self._redis.xreadgroup(
            GROUP, self._bridge_id, {keys.OUTCOMES: ">"}, count=most, block=block_ms
        )
        if not found:
            return []
        ((_, entries),) = found
        return self._deliveries(entries)

    def claim_from_dead(self, most: int) -> list[Delivery]:
        """Outcomes that dead bridges left, now this bridge's; forgets bridges with none left."""
        consumers = {str(row["name"]): row for row in self._consumers()}
        others = [name for name in consumers if name != self._bridge_id]
        live = self._leases.live_bridges(others)
        claimed: list[Delivery] = []
        for name in others:
            if name in live:
                continue
            ids = self._pending(name, most) if consumers[name]["pending"] else []
            if ids:
                claimed += self._claim(ids)
            elif int(consumers[name]["idle"]) > FORGET_AFTER_MS:
                self._redis.xgroup_delconsumer(keys.OUTCOMES, GROUP, name)
        return claimed

    def claim_missed(self, in_hand: Collection[str], most: int) -> list[Delivery]:
        """Outcomes that Redis gave this bridge and that never got here: a connection broke."""
        pending = sum(
            int(row["pending"]) for row in self._consumers() if row["name"] == self._bridge_id
        )
        if pending <= len(in_hand):
            return []
        ids = self._pending(self._bridge_id, most + len(in_hand), idle_ms=MISSED_AFTER_MS)
        missed = [outcome_id for outcome_id in ids if outcome_id not in in_hand]
        return self._claim(missed[:most]) if missed else []

    def _pending(self, name: str, most: int, *, idle_ms: int | None = None) -> list[str]:
        rows: Any = self._redis.xpending_range(
            keys.OUTCOMES, GROUP, min="-", max="+", count=most, consumername=name, idle=idle_ms
        )
        return [str(row["message_id"]) for row in rows]

    def _claim(self, ids: Sequence[str]) -> list[Delivery]:
        entries: Any = self._redis.xclaim(keys.OUTCOMES, GROUP, self._bridge_id, 0, [*ids])
        return self._deliveries(entries, claimed=True)

    def _deliveries(self, entries: Any, *, claimed: bool = False) -> list[Delivery]:  # noqa: ANN401
        """What can be read of entries; the rest is nobody's reply, and leaves the stream."""
        found: list[Delivery] = []
        for entry_id, fields in entries:
            if not fields:  # deleted meanwhile
                continue
            try:
                found.append(_delivery(entry_id, fields, claimed=claimed))
            except (KeyError, TypeError, ValueError):
                _log.exception("outcome.unreadable", outcome=entry_id)
                self.done([entry_id])
        return found

    def _consumers(self) -> list[dict[str, Any]]:
        rows: Any = self._redis.xinfo_consumers(keys.OUTCOMES, GROUP)
        return list(rows)

    def done(self, outcome_ids: list[str]) -> None:
        """These outcomes are over; they leave the stream."""
        with self._redis.pipeline() as pipe:
            pipe.xack(keys.OUTCOMES, GROUP, *outcome_ids)
            pipe.xdel(keys.OUTCOMES, *outcome_ids)
            pipe.execute()

    def renew(self) -> int:
        """Say that this bridge lives; the Redis server's time in ms."""
        self._leases.renew_bridge(self._bridge_id)
        seconds, microseconds = self._redis.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    def leave(self) -> None:
        """Say that this bridge is gone: what it has not finished is another's at once."""
        self._redis.delete(keys.bridge(self._bridge_id))


def _delivery(entry_id: str, fields: dict[str, str], *, claimed: bool = False) -> Delivery:
    return Delivery(
        outcome_id=entry_id,
        event_id=str(json.loads(fields["envelope"])["id"]),
        envelope=fields["envelope"],
        agent=fields["agent"],
        lane=fields["lane"],
        deadline_ms=int(fields["deadline_ms"]),
        kind=fields["kind"],
        content=fields["content"],
        claimed=claimed,
    )
