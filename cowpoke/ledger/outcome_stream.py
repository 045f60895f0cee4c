"""The stream of outcomes as the bridges read it: a consumer group, so each outcome has one reader.

What a dead bridge had read and not finished is claimed by a live one.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis

from cowpoke import dead_letters, keys
from cowpoke.liveness import Leases
from cowpoke.log import logger

_log = logger(__name__)

GROUP = "bridges"
#: The consumer, never alive, of outcomes that the bridge which read them could not open.
UNREADABLE = "unreadable"
#: A consumer that has asked for nothing this long and has nothing is forgotten.
FORGET_AFTER_MS = 60_000
#: An outcome handed out this long ago that is not in hand was lost with a connection.
MISSED_AFTER_MS = 10_000
#: Bytes of outcomes that one call reads; more may come with the last one.
READ_BYTES = 4 * 1024 * 1024

# One by one until enough bytes are read: an outcome may have a few hundred bytes or many megabytes.
_TAKE = """
local taken, bytes = {}, 0
local function add(entry)
  for _, text in ipairs(entry[2]) do bytes = bytes + #text end
  taken[#taken + 1] = entry
end
"""
_READ = (
    _TAKE
    + """
while #taken < tonumber(ARGV[3]) and bytes < tonumber(ARGV[4]) do
  local found = redis.call(
    'XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', KEYS[1], '>')
  if not found then break end
  add(found[1][2][1])
end
return taken
"""
)
_CLAIM = (
    _TAKE
    + """
for i = 5, #ARGV do
  if bytes >= tonumber(ARGV[3]) then break end
  -- Another live bridge may have claimed it since it was listed, and be sending it.
  if redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[4])[1] then
    local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i])[1]
    -- Nothing, or an entry without content, when the outcome was deleted meanwhile.
    if entry and entry[2] then add(entry) end
  end
end
return taken
"""
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One entry of the stream: an outcome, and the envelope of its reply.

    Only `host_uuid` is certain: the bridge that collected the outcome wrote it. The rest is a
    worker's word until envelope and content are opened.
    """

    outcome_id: str
    host_uuid: str
    event_id: str
    lane: str
    kind: str
    #: Sealed by a bridge.
    envelope: str
    #: Sealed by a worker of the host.
    content: str
    #: A dead bridge had it: it may have been sent already.
    claimed: bool = False

    @property
    def bytes(self) -> int:
        """What it needs in memory, about."""
        return len(self.content) + len(self.envelope)


class OutcomeStream:
    """One of the streams, for one bridge."""

    def __init__(
        self,
        client: "redis.Redis",
        bridge_id: str,
        *,
        key: str = keys.OUTCOMES,
        missed_after_ms: int = MISSED_AFTER_MS,
        lease_text: str = "",
    ) -> None:
        self._redis = client
        self._bridge_id = bridge_id
        self._key = key
        self._missed_after_ms = missed_after_ms
        self._leases = Leases(client)
        #: What the bridge says of its keys, see `host_keys.py`.
        self._lease_text = lease_text
        self._read_script = client.register_script(_READ)
        self._claim_script = client.register_script(_CLAIM)

    def set_up(self) -> None:
        """Make the group; it begins with the first outcome there is."""
        # A bridge that reads and has no lease would be taken for dead.
        self._leases.renew_bridge(self._bridge_id, self._lease_text)
        with suppress(redis.ResponseError):  # BUSYGROUP: another bridge made it
            self._redis.xgroup_create(self._key, GROUP, id="0", mkstream=True)

    def read(self, most: int, block_ms: int, most_bytes: int = READ_BYTES) -> list[Delivery]:
        """Return new outcomes for this bridge, until `most` or `most_bytes` are reached.

        Waits at most `block_ms` for the first one, which then comes alone; not at all with 0.
        """
        args: list[str | int] = [GROUP, self._bridge_id, most, most_bytes]
        entries: Any = self._read_script(keys=[self._key], args=args)
        if entries:
            return self._deliveries([(entry_id, _pairs(texts)) for entry_id, texts in entries])
        if not block_ms:
            return []
        found: Any = self._redis.xreadgroup(
            GROUP, self._bridge_id, {self._key: ">"}, count=1, block=block_ms
        )
        return self._deliveries(found[0][1]) if found else []

    def claim_from_dead(self, most: int, *, but: Collection[str] = ()) -> list[Delivery]:
        """Outcomes that dead bridges left, now this bridge's; forgets bridges with none left.

        Those in `but` stay: this bridge could not read them.
        """
        consumers = {str(row["name"]): row for row in self._consumers()}
        others = [name for name in consumers if name != self._bridge_id]
        live = self._leases.live_bridges(others)
        claimed: list[Delivery] = []
        for name in others:
            if name in live:
                continue
            ids = self._pending(name, most + len(but)) if consumers[name]["pending"] else []
            wanted = [one for one in ids if one not in but][:most]
            if wanted:
                claimed += self._claim(wanted, name)
            elif not ids and int(consumers[name]["idle"]) > FORGET_AFTER_MS:
                self._redis.xgroup_delconsumer(self._key, GROUP, name)
        return claimed

    def claim_missed(self, in_hand: Collection[str], most: int) -> list[Delivery]:
        """Outcomes that Redis gave this bridge and that never got here: a connection broke."""
        pending = sum(
            int(row["pending"]) for row in self._consumers() if row["name"] == self._bridge_id
        )
        if pending <= len(in_hand):
            return []
        ids = self._pending(self._bridge_id, most + len(in_hand), idle_ms=self._missed_after_ms)
        missed = [outcome_id for outcome_id in ids if outcome_id not in in_hand]
        return self._claim(missed[:most], self._bridge_id) if missed else []

    def _pending(self, name: str, most: int, *, idle_ms: int | None = None) -> list[str]:
        rows: Any = self._redis.xpending_range(
            self._key, GROUP, min="-", max="+", count=most, consumername=name, idle=idle_ms
        )
        return [str(row["message_id"]) for row in rows]

    def _claim(self, ids: Sequence[str], holder: str) -> list[Delivery]:
        """Claim those that the holder, a consumer, still has."""
        args: list[str | int] = [GROUP, self._bridge_id, READ_BYTES, holder, *ids]
        entries: Any = self._claim_script(keys=[self._key], args=args)
        found = [(entry_id, _pairs(texts)) for entry_id, texts in entries]
        return self._deliveries(found, claimed=True)

    def _deliveries(self, entries: Any, *, claimed: bool = False) -> list[Delivery]:  # noqa: ANN401
        """What can be read of entries; the rest is nobody's reply, and leaves the stream."""
        found: list[Delivery] = []
        for entry_id, fields in entries:
            try:
                found.append(_delivery(entry_id, fields, claimed=claimed))
            except (KeyError, TypeError, ValueError):
                _log.error("outcome.unreadable", outcome=entry_id)
                self._bury(entry_id, "the entry lacks a field of an outcome", fields)
        return found

    def _consumers(self) -> list[dict[str, Any]]:
        rows: Any = self._redis.xinfo_consumers(self._key, GROUP)
        return list(rows)

    def leave_to_others(self, outcome_id: str) -> None:
        """Hand an outcome that this bridge cannot read to whichever other bridge can."""
        self._redis.xclaim(self._key, GROUP, UNREADABLE, 0, [outcome_id], justid=True)

    def put_aside(self, delivery: Delivery, reason: str) -> None:
        """Make a dead letter of an outcome that nobody could read; it leaves the stream."""
        self._bury(delivery.outcome_id, reason, delivery.content)

    def _bury(self, outcome_id: str, reason: str, content: object) -> None:
        dead_letters.add(
            self._redis,
            keys.BRIDGE_DEAD_LETTERS,
            where=f"{self._key} {outcome_id}",
            reason=reason,
            content=str(content).encode(errors="surrogateescape"),
        )
        self.done([outcome_id])

    def done(self, outcome_ids: list[str]) -> None:
        """These outcomes are over; they leave the stream."""
        with self._redis.pipeline() as pipe:
            pipe.xack(self._key, GROUP, *outcome_ids)
            pipe.xdel(self._key, *outcome_ids)
            pipe.execute()

    def renew(self) -> None:
        """Say that this bridge lives."""
        self._leases.renew_bridge(self._bridge_id, self._lease_text)

    def leave(self) -> None:
        """Say that this bridge is gone: what it has not finished is another's at once."""
        self._redis.delete(keys.bridge(self._bridge_id))


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    """Return the fields of an entry as a script gives them: names and values by turns."""
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _delivery(entry_id: str, fields: dict[str, str], *, claimed: bool = False) -> Delivery:
    return Delivery(
        outcome_id=entry_id,
        host_uuid=fields["host"],
        event_id=fields["id"],
        lane=fields["lane"],
        kind=fields["kind"],
        envelope=fields["envelope"],
        content=fields["content"],
        claimed=claimed,
    )
