"""Finds events whose message or process was lost, and sends them again or answers them.

Several sweepers may run at once (every bridge, and each worker when it starts): each step they take
is a compare-and-set in the ledger, and a message sent twice is claimed once. `due.py` adds what
only bridges do.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import redis

from cowpoke import keys
from cowpoke.broker import answers, concerns_one_key
from cowpoke.clock import Clock
from cowpoke.envelopes import UnknownVersionError, opened_event, sealed_outcome
from cowpoke.lease import Lease
from cowpoke.ledger.decisions import Decision, Seen, Step, decide, in_present_time, next_check_ms
from cowpoke.ledger.entries import FIELDS, OPEN_STATES, Entry, entry_of
from cowpoke.ledger.script import Script
from cowpoke.ledger.states import State
from cowpoke.liveness import Leases
from cowpoke.log import logger
from cowpoke.messages import event_id_of
from cowpoke.outcomes import Outcome, error
from cowpoke.seal import Keyring, SealBrokenError

_log = logger(__name__)

#: Ids that one call of a script looks at; Redis does nothing else meanwhile.
IDS_AT_ONCE = 500

# An event that was over a moment ago may have begun anew: looked at and removed in one step.
_PRUNE = """
for i = 2, #ARGV do
  local state = redis.pcall('HGET', ARGV[1] .. ARGV[i], 'state')
  if type(state) ~= 'string' or state == 'answered' or state == 'expired' then
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
"""


class RecoveryLedger:
    """The steps of a sweeper. Thread-safe."""

    def __init__(self, client: "redis.Redis", keyring: Keyring) -> None:
        self._redis = client
        self._keyring = keyring
        self._script = Script(client, "recovery")
        self._prune = client.register_script(_PRUNE)

    def open_ids(self, host_uuid: str) -> list[str]:
        """Return the ids of a host's open events, the earliest deadline first."""
        try:
            return [str(one) for one in self._redis.zrange(keys.open_events(host_uuid), 0, -1)]
        except redis.ResponseError as problem:
            if not concerns_one_key(problem):
                raise
            _log.error("host.unreadable", host=host_uuid, reason=str(problem))
            self._redis.delete(keys.open_events(host_uuid))
            return []

    def open_entries(self, host_uuid: str, event_ids: Sequence[str] | None = None) -> list[Entry]:
        """Return the events that have no answer yet, all of a host or those of the ids.

        Ids of events that are over or lost leave the host's set of open events. What cannot be read
        is left out, and removed after its deadline.
        """
        ids = self.open_ids(host_uuid) if event_ids is None else list(event_ids)
        with self._redis.pipeline(transaction=False) as pipe:
            for event_id in ids:
                pipe.hmget(keys.event(host_uuid, event_id), FIELDS)
            rows = answers(pipe)
        entries, over = [], []
        for event_id, row in zip(ids, rows, strict=True):
            if not isinstance(row, Exception) and row[0] in {None, State.ANSWERED, State.EXPIRED}:
                over.append(event_id)
                continue
            entry = None if isinstance(row, Exception) else entry_of(host_uuid, event_id, row)
            if entry is not None:
                entries.append(entry)
            else:
                dropped = self.drop(host_uuid, event_id)
                _log.error("event.unreadable", host=host_uuid, event_id=event_id, dropped=dropped)
        for some in chunks(over):
            args = [keys.event(host_uuid, ""), *some]
            self._prune(keys=[keys.open_events(host_uuid)], args=args)
        return entries

    def resend(self, host_uuid: str, entry: Entry) -> bool:
        """Queue an event again; nothing happens when it moved since the sweeper looked."""
        args = *_seen(entry), keys.OPEN_TTL_MS
        return bool(self._script("resend", host_uuid, entry.event_id, *args))

    def expire(self, host_uuid: str, entry: Entry, *, is_overdue: bool = False) -> bool:
        """Drop an event that cattle does not wait for any more, unless it moved meanwhile.

        What a live process has is dropped only when it is overdue.
        """
        args = *_seen(entry), entry.deadline_ms, keys.ANSWERED_TTL_MS, int(is_overdue)
        return bool(self._script("expire", host_uuid, entry.event_id, *args))

    def fail(self, host_uuid: str, entry: Entry, refusal: Outcome) -> bool:
        """Answer an event that no worker will, unless it moved meanwhile."""
        content = sealed_outcome(
            self._keyring.host(host_uuid),
            entry.event_id,
            refusal,
            deadline_ms=entry.deadline_ms,
        )
        ttls_ms = keys.ANSWERED_TTL_MS, keys.ANSWERED_PING_TTL_MS
        args = *_seen(entry), content, *ttls_ms
        return bool(self._script("fail", host_uuid, entry.event_id, *args))

    def drop(self, host_uuid: str, event_id: str) -> bool:
        """Remove an event whose hash cannot be read, if its deadline has passed."""
        return bool(self._script("drop", host_uuid, event_id, keys.OPEN_TTL_MS))


def _seen(entry: Entry) -> tuple[str, str, int, int]:
    """What the script compares before it does a sweeper's step."""
    return entry.state, entry.boot, entry.queued_ms, entry.sends


class Sweeper:
    """Looks at the open events of one host at a time and takes the steps decided. Thread-safe."""

    def __init__(self, client: "redis.Redis", keyring: Keyring, clock: Clock) -> None:
        self._redis = client
        self._keyring = keyring
        self._leases = Leases(client)
        self._ledger = RecoveryLedger(client, keyring)
        self.clock = clock

    def sweep_host(self, host_uuid: str, known_dead: Collection[str] = ()) -> Counter[Step]:
        """Look at every open event of a host once; how many of each step took effect.

        `known_dead` are boot ids of processes that ended for certain, whatever leases say.
        """
        counts: Counter[Step] = Counter()
        entries = self._ledger.open_entries(host_uuid)
        if entries:
            self._sweep(host_uuid, entries, known_dead, counts)
        return counts

    def _sweep(
        self,
        host_uuid: str,
        entries: Sequence[Entry],
        known_dead: Collection[str],
        counts: Counter[Step],
    ) -> dict[str, int]:
        """Take the steps; when each event that stays open is to be checked next."""
        leases = self._leases.of_host(host_uuid, self._keyring.host(host_uuid))
        readings_ms = self.clock.readings_ms()
        present = [in_present_time(entry, readings_ms) for entry in entries]
        seen = self._look(host_uuid, present, leases, known_dead, readings_ms[0])
        checks_ms = {}
        for entry, as_of_now in zip(entries, present, strict=True):
            decision = decide(as_of_now, seen)
            try:
                if self._act(host_uuid, entry, decision):
                    counts[decision.step] += 1
            except redis.ResponseError as problem:
                if not concerns_one_key(problem):
                    raise
                # It concerns this event alone: the others go on.
                _log.error("event.unreadable", event_id=entry.event_id, reason=str(problem))
                decision = Decision(step=Step.WAIT)
            if decision.step in {Step.WAIT, Step.RESEND}:
                checks_ms[entry.event_id] = next_check_ms(as_of_now, seen)
        return checks_ms

    def _act(self, host_uuid: str, entry: Entry, decision: Decision) -> bool:
        match decision.step:
            case Step.RESEND:
                return self._ledger.resend(host_uuid, entry)
            case Step.EXPIRE:
                return self._ledger.expire(host_uuid, entry, is_overdue=decision.is_overdue)
            case Step.FAIL:
                refusal = error(decision.code, decision.message)
                return self._ledger.fail(host_uuid, entry, refusal)
            case _:
                return False

    def _look(
        self,
        host_uuid: str,
        entries: Sequence[Entry],
        leases: Mapping[str, Lease],
        known_dead: Collection[str],
        now_ms: int,
    ) -> Seen:
        queues = sorted({entry.queue for entry in entries})
        recorded = [entry for entry in entries if entry.state == State.RECORDED]
        fifos = sorted({entry.fifo for entry in recorded})
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.info("server")
            for queue in queues:
                pipe.lindex(queue, -1)
            for fifo in fifos:
                pipe.lindex(fifo, 0)
            for entry in recorded:
                pipe.lpos(entry.fifo, entry.event_id)
            server, *found = _readable(pipe)
        places = found[len(queues) + len(fifos) :]
        oldest = {
            queue: None if message is None else event_id_of(message)
            for queue, message in zip(queues, found, strict=False)
        }
        heads = dict(zip(fifos, found[len(queues) :], strict=False))
        its_queued_ms = self._queued_ms(host_uuid, {*oldest.values(), *heads.values()} - {None})
        processes = [process for lease in leases.values() for process in lease.lanes]
        return Seen(
            now_ms=now_ms,
            forged=self._forged(host_uuid, entries, now_ms),
            strays={
                entry.event_id
                for entry, place in zip(recorded, places, strict=True)
                if place is None
            },
            redis_up_ms=self._up_ms(server),
            boots={process.boot_id for process in processes},
            known_dead=known_dead,
            lanes={process.lane for process in processes if process.consumes},
            # A message of no open event was queued before all that are open.
            oldest_queued_ms={
                queue: None if event_id is None else its_queued_ms.get(event_id, 0)
                for queue, event_id in oldest.items()
            },
            fifo_heads={
                fifo: event_id if event_id in its_queued_ms else None
                for fifo, event_id in heads.items()
            },
        )

    def _forged(self, host_uuid: str, entries: Sequence[Entry], now_ms: int) -> set[str]:
        """Return the rejected events whose payload a worker with our keys cannot read either."""
        ids = [entry.event_id for entry in entries if entry.rejected_ms]
        if not ids:
            return set()
        with self._redis.pipeline(transaction=False) as pipe:
            for event_id in ids:
                pipe.hget(keys.event(host_uuid, event_id), "payload")
            texts = _readable(pipe)
        sealer, forged = self._keyring.host(host_uuid), set()
        for event_id, text in zip(ids, texts, strict=True):
            try:
                opened_event(
                    sealer, text or "", event_id=event_id, host_uuid=host_uuid, now_ms=now_ms
                )
            except SealBrokenError:
                forged.add(event_id)
            except UnknownVersionError:
                continue
        return forged

    def _up_ms(self, server: Mapping[str, Any]) -> int:
        """Return how long Redis is up."""
        return int(server["uptime_in_seconds"]) * 1000

    def _queued_ms(self, host_uuid: str, event_ids: Collection[str]) -> dict[str, int]:
        """Return when those of the events that are open were queued."""
        ids = sorted(event_ids)
        with self._redis.pipeline(transaction=False) as pipe:
            for event_id in ids:
                pipe.hmget(keys.event(host_uuid, event_id), "state", "queued_ms")
            rows = _readable(pipe)
        return {
            event_id: int(row[1]) if str(row[1]).isdecimal() else 0
            for event_id, row in zip(ids, rows, strict=True)
            if row is not None and row[0] in OPEN_STATES
        }


def _readable(pipe: "redis.client.Pipeline") -> list[Any]:
    """Return a pipeline's answers, None for what is of another type than ours.

    Errors: redis.RedisError when Redis did not answer.
    """
    return [None if isinstance(answer, Exception) else answer for answer in answers(pipe)]


def chunks(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    """Return the ids in portions for one call of a script each."""
    return (ids[first : first + IDS_AT_ONCE] for first in range(0, len(ids), IDS_AT_ONCE))
