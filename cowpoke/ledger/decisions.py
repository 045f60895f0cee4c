"""Decide how a sweeper handles an open event. Pure functions.

It depends on the entry, the live processes, the oldest message of its queue and the time. It never
waits for the broker's visibility timeout: a dead process is known by its lease.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from cowpoke.clock import JUMP_MS, waited_ms
from cowpoke.ledger.entries import Entry
from cowpoke.ledger.states import State
from cowpoke.liveness import LEASE_TTL_MS
from cowpoke.offline import Offline
from cowpoke.version import CONTRACT_VERSION

#: An event that crashed this many worker processes is answered with an error.
MOST_DEATHS = 3
#: A message that was sent this often and that no worker could claim.
MOST_SENDS = 20
#: A message that left its queue is being claimed; after this long it was lost on the way.
IN_TRANSIT_MS = 3_000
#: An error for an absent host is sent this long before the deadline, so that it arrives in time.
OFFLINE_MARGIN_MS = 2_000
#: A Redis that just came back knows no leases yet: for a lease's time and this nobody is dead.
YOUNG_MARGIN_MS = 2_000
#: A live process answers before the deadline. One that has not this long after it does not work on
#: the event: Redis came back with older data, which says that it does.
OVERDUE_MS = 15_000
#: How long an event waits for a worker that can read it, at most.
UNREADABLE_MS = 30_000
#: How soon an event is looked at again that may change without a word to the bridges.
NEXT_CHECK_LEAST_MS = 3_000
NEXT_CHECK_MOST_MS = 10_000
#: A message may be lost on its way to a live worker at any time: within this it is noticed.
NEXT_CHECK_QUEUED_MS = 4_000
#: No check is planned further ahead; one that is, was planned by a clock that was set back since.
NEXT_CHECK_FAR_MS = 120_000


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
    #: It applies to an event that a live process has, too.
    is_overdue: bool = False


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
    #: FIFO -> the event at its head.
    fifo_heads: dict[str, str | None]
    #: Recorded events that their FIFO lacks: Redis lost it, and a later event began it anew.
    strays: Collection[str] = ()
    #: Rejected events whose payload was sealed with none of our keys, or for something else.
    forged: Collection[str] = ()

    @property
    def is_young(self) -> bool:
        """Whether Redis just came back, and live processes may have no lease yet."""
        return self.redis_up_ms < LEASE_TTL_MS + YOUNG_MARGIN_MS


WAIT = Decision(step=Step.WAIT)
RESEND = Decision(step=Step.RESEND)
EXPIRE = Decision(step=Step.EXPIRE)


def decide(entry: Entry, seen: Seen) -> Decision:
    """What to do about one open event, now."""
    if entry.version > CONTRACT_VERSION:
        return _decide_later_version(entry, seen)
    match entry.state:
        case State.CLAIMED:
            return _decide_claimed(entry, seen)
        case State.RECORDED if entry.lane not in seen.lanes:
            return _decide_offline(entry, seen)
        case State.RECORDED:
            if seen.now_ms >= entry.deadline_ms:
                return EXPIRE
            head = seen.fifo_heads.get(entry.fifo)
            is_stray = entry.event_id in seen.strays
            return RESEND if is_stray or head in {None, entry.event_id} else WAIT
        case _:
            return _decide_queued(entry, seen)


def _decide_later_version(entry: Entry, seen: Seen) -> Decision:
    """Leave an event to the bridges that know its version, and end it when none of them does."""
    if seen.now_ms >= entry.deadline_ms:
        return EXPIRE
    if seen.now_ms < entry.deadline_ms - _margin_ms(entry):
        return WAIT
    return Decision(
        step=Step.FAIL,
        code="event-unreadable",
        message=f"{entry.name} was recorded with contract version {entry.version}, and no bridge "
        f"that knows it is running; this one knows version {CONTRACT_VERSION}, update it",
    )


def _margin_ms(entry: Entry) -> int:
    """Return how long before the deadline an error is sent, so that it arrives in time."""
    # A call of 2 s leaves less of a margin: its host may be back at once.
    return min(OFFLINE_MARGIN_MS, (entry.deadline_ms - entry.received_ms) // 4)


def _decide_claimed(entry: Entry, seen: Seen) -> Decision:
    if seen.now_ms >= entry.deadline_ms + OVERDUE_MS:
        return Decision(step=Step.EXPIRE, is_overdue=True)
    if entry.boot in seen.boots or (seen.is_young and entry.boot not in seen.known_dead):
        return WAIT
    if entry.deaths + 1 >= MOST_DEATHS:
        return Decision(
            step=Step.FAIL,
            code="event-crashed-workers",
            message=f"{entry.name} crashed {MOST_DEATHS} workers and is not retried; see the "
            "workers' logs for this event",
        )
    return EXPIRE if seen.now_ms >= entry.deadline_ms else RESEND


def _decide_offline(entry: Entry, seen: Seen) -> Decision:
    """Decide about an event whose lane has no live process; `offline.py` has the reasons."""
    if seen.now_ms >= entry.deadline_ms:
        return EXPIRE
    is_late = seen.now_ms >= entry.deadline_ms - _margin_ms(entry)
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
    if entry.rejected_ms and seen.now_ms >= _patient_until_ms(entry):
        return _decide_unreadable(entry, seen)
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
            code="event-not-claimed",
            message=f"{entry.name} was sent to the workers {entry.sends} times and none claimed "
            "it; see the workers' logs",
        )
    return RESEND


def _decide_unreadable(entry: Entry, seen: Seen) -> Decision:
    if entry.event_id in seen.forged:
        # No forgery ends an event: cattle's own copy comes with its next send.
        return EXPIRE if seen.now_ms >= entry.deadline_ms else WAIT
    return Decision(
        step=Step.FAIL,
        code="event-unreadable",
        message=f"no worker of this host can read {entry.name}: its payload was sealed by a later "
        "version, or with a key that they lack; see the workers' logs",
    )


def _patient_until_ms(entry: Entry) -> int:
    """Return how long an event that a worker could not read waits for one that can."""
    # cattle must get the error before it stops waiting.
    return min(entry.rejected_ms + UNREADABLE_MS, entry.deadline_ms - _margin_ms(entry))


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
        rejected_ms=entry.rejected_ms + by_ms if entry.rejected_ms else 0,
    )


def next_check_ms(entry: Entry, seen: Seen) -> int:
    """Return when an event that stays open is looked at again (ms, by the server's clock).

    Announced changes are looked at at once: a worker that came, went or lost one of its processes.
    """
    queued_for_ms = seen.now_ms - max(entry.queued_ms, entry.retry_at_ms)
    waits_for_worker = entry.state == State.QUEUED and entry.lane in seen.lanes
    most_ms = NEXT_CHECK_QUEUED_MS if waits_for_worker else NEXT_CHECK_MOST_MS
    soon_ms = min(max(queued_for_ms, NEXT_CHECK_LEAST_MS), most_ms)
    if entry.retry_at_ms > seen.now_ms:
        soon_ms = entry.retry_at_ms + IN_TRANSIT_MS - seen.now_ms
    turns_ms = [entry.deadline_ms, entry.deadline_ms - _margin_ms(entry)]
    if entry.rejected_ms:
        turns_ms.append(_patient_until_ms(entry))
    checks_ms = [seen.now_ms + soon_ms, seen.now_ms + NEXT_CHECK_FAR_MS, *turns_ms]
    return min(one_ms for one_ms in checks_ms if one_ms > seen.now_ms)
