"""What fell between two chairs is found here and sent again, or answered by us.

The decision is a pure function of an entry, the live processes, the oldest message of its queue and
the time. It never waits for the broker's visibility timeout: a dead process is known by its lease.
Several sweepers may run at once (every bridge, and each worker when it starts): each step they take
is a compare-and-set in the ledger, and a message sent twice is taken once.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import redis

from cowpoke.clock import JUMP_MS, waited_ms
from cowpoke.ledger.ledger import Entry, Ledger, State
from cowpoke.liveness import LEASE_TTL_MS, Lease, Leases
from cowpoke.messages import event_id_of
from cowpoke.offline import Offline
from cowpoke.outcomes import error

#: An event that killed this many worker processes is answered with an error instead of a fourth.
MOST_DEATHS = 3
#: A message handed out this often that no worker could even take.
MOST_SENDS = 20
#: A message that left its queue is being taken; after this long it was lost on the way.
IN_TRANSIT_MS = 3_000
#: An error for an absent host is sent this long before the deadline, so that it arrives in time.
OFFLINE_MARGIN_MS = 2_000
#: A Redis that just came back knows no leases yet: for a lease's time and this nobody is dead.
YOUNG_MARGIN_MS = 2_000


class Step(StrEnum):
    """What to do about an open event."""

    WAIT = "wait"
    RESEND = "resend"
    EXPIRE = "expire"
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """The step for one entry, with code and sentence where it fails."""

    step: Step
    code: str = ""
    message: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What the sweeper saw of a host besides the entry."""

    now_ms: int
    #: How long Redis is up: leases are renewed anew after it was away.
    redis_up_ms: int
    #: Boot ids of the live processes.
    boots: Collection[str]
    #: Boot ids whose lock their host found free: dead for certain, whatever leases say.
    known_dead: Collection[str]
    #: Lanes that have a live process.
    lanes: Collection[str]
    #: queue -> when the oldest message in it was queued; None for an empty queue.
    oldest_queued_ms: dict[str, int | None]
    #: line -> the event whose turn it is.
    line_heads: dict[str, str | None]

    @property
    def is_young(self) -> bool:
        """Whether Redis just came back, and live processes may have no lease yet."""
        return self.redis_up_ms < LEASE_TTL_MS + YOUNG_MARGIN_MS


WAIT = Decision(step=Step.WAIT)
RESEND = Decision(step=Step.RESEND)
EXPIRE = Decision(step=Step.EXPIRE)


def decide(entry: Entry, seen: Seen) -> Decision:
    """What to do about one open event, now."""
    match entry.state:
        case State.TAKEN:
            return _decide_taken(entry, seen)
        case State.RECORDED if entry.lane not in seen.lanes:
            return _decide_offline(entry, seen)
        case State.RECORDED:
            if seen.now_ms >= entry.deadline_ms:
                return EXPIRE
            head = seen.line_heads.get(entry.line)
            return RESEND if head in {None, entry.event_id} else WAIT
        case _:
            return _decide_queued(entry, seen)


def _decide_taken(entry: Entry, seen: Seen) -> Decision:
    if entry.boot in seen.boots or (seen.is_young and entry.boot not in seen.known_dead):
        return WAIT
    if entry.deaths + 1 >= MOST_DEATHS:
        return Decision(
            step=Step.FAIL,
            code="event-poisonous",
            message=f"{entry.name} ended {MOST_DEATHS} worker processes and is not tried again; "
            "the workers' logs around this event say why they ended",
        )
    return EXPIRE if seen.now_ms >= entry.deadline_ms else RESEND


def _decide_offline(entry: Entry, seen: Seen) -> Decision:
    """Decide about an event whose lane has no live process; `offline.py` has the reasons."""
    if seen.now_ms >= entry.deadline_ms:
        return EXPIRE
    # A call of 2 s leaves less of a margin: its host may be back at once.
    margin_ms = min(OFFLINE_MARGIN_MS, (entry.deadline_ms - entry.received_ms) // 4)
    is_late = seen.now_ms >= entry.deadline_ms - margin_ms
    if entry.offline is Offline.EXPIRE or seen.is_young or not is_late:
        return WAIT
    return Decision(
        step=Step.FAIL,
        code="host-offline",
        message=f"no worker of this host is running (lane {entry.lane}); "
        "start one with: python -m worker",
    )


def _decide_queued(entry: Entry, seen: Seen) -> Decision:
    if entry.lane not in seen.lanes:
        return _decide_offline(entry, seen)
    since_ms = max(entry.queued_ms, entry.retry_at_ms)
    oldest_ms = seen.oldest_queued_ms.get(entry.queue)
    still_queued = oldest_ms is not None and entry.queued_ms >= oldest_ms
    if still_queued or seen.now_ms < since_ms + IN_TRANSIT_MS:
        return WAIT
    if seen.now_ms >= entry.deadline_ms:
        return EXPIRE
    if entry.sends >= MOST_SENDS:
        return Decision(
            step=Step.FAIL,
            code="event-poisonous",
            message=f"{entry.name} was handed to workers {entry.sends} times and none could take "
            "it; the workers' logs say why",
        )
    return RESEND


def in_present_time(entry: Entry, readings_ms: Sequence[int]) -> Entry:
    """Return the entry with the times it would have if the clock had not jumped since."""
    by_ms = readings_ms[0] - waited_ms(entry.received_ms, readings_ms) - entry.received_ms
    if abs(by_ms) <= JUMP_MS:
        return entry
    return replace(
        entry,
        received_ms=entry.received_ms + by_ms,
        deadline_ms=entry.deadline_ms + by_ms,
        queued_ms=entry.queued_ms + by_ms,
        retry_at_ms=entry.retry_at_ms + by_ms if entry.retry_at_ms else 0,
    )


class Sweeper:
    """Looks at hosts and takes the steps decided."""

    def __init__(self, client: "redis.Redis", ledger: Ledger) -> None:
        self._redis = client
        self._ledger = ledger
        self._leases = Leases(client)
        self.clock = ledger.clock

    def sweep(self, host_uuid: str, known_dead: Collection[str] = ()) -> dict[Step, int]:
        """Look at every open event of the host once; how many of each step took effect."""
        leases = self._leases.of_host(host_uuid)
        entries = self._ledger.open_entries(host_uuid)
        if not entries:
            if not leases:
                self._leases.forget_host(host_uuid)
            return {}
        readings_ms = self.clock.readings_ms()
        present = [in_present_time(entry, readings_ms) for entry in entries]
        seen = self._look(present, leases, known_dead)
        counts: dict[Step, int] = {}
        for entry, as_of_now in zip(entries, present, strict=True):
            decision = decide(as_of_now, seen)
            if self._act(entry, decision):
                counts[decision.step] = counts.get(decision.step, 0) + 1
        return counts

    def _act(self, entry: Entry, decision: Decision) -> bool:
        match decision.step:
            case Step.RESEND:
                return self._ledger.resend(entry)
            case Step.EXPIRE:
                return self._ledger.expire(entry)
            case Step.FAIL:
                return self._ledger.fail(entry, error(decision.code, decision.message))
            case _:
                return False

    def _look(
        self, entries: Iterable[Entry], leases: dict[str, Lease], known_dead: Collection[str]
    ) -> Seen:
        queued_ms = {entry.event_id: entry.queued_ms for entry in entries}
        queues = sorted({entry.queue for entry in entries})
        lines = sorted({entry.line for entry in entries if entry.state == State.RECORDED})
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.info("server")
            for queue in queues:
                pipe.lindex(queue, -1)
            for line in lines:
                pipe.lindex(line, 0)
            (seconds, microseconds), server, *found = pipe.execute()
        now_ms = seconds * 1000 + microseconds // 1000
        oldest = dict(zip(queues, found[: len(queues)], strict=True))
        return Seen(
            now_ms=now_ms,
            redis_up_ms=int(server["uptime_in_seconds"]) * 1000,
            boots=leases.keys(),
            known_dead=known_dead,
            lanes={lease.lane for lease in leases.values()},
            oldest_queued_ms={
                # A message of no open event (an old copy) was queued before all that are open.
                queue: None if message is None else queued_ms.get(event_id_of(message), 0)
                for queue, message in oldest.items()
            },
            line_heads=dict(zip(lines, found[len(queues) :], strict=True)),
        )
