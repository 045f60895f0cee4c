"""Which events of the containers are reported, and when: pure decisions, no clock, no I/O.

    container   a burst of `BURST` events, then its latest one every `EVERY_S`. So a crash loop with
                100 starts a minute makes 12 reports a minute.
    host        a burst of `HOST_BURST` reports, then `HOST_PER_S`. While more containers wait than
                that allows, only the latest event of each is reported. What became stale while it
                waited is dropped and takes no turn: fresh events must not wait for it.

`destroy` ends a container and waits for no turn of its own. `kill` changes no state, so that it
gives way to any other event. A container's events keep their order, and one caller at a time has
events of it.
"""

import heapq
import itertools
import math
from dataclasses import dataclass, field

from cowpoke.container_events import STALE_AFTER_S
from worker.engine.event_stream import EngineEvent

BURST = 10
EVERY_S = 5.0
HOST_BURST = 50
HOST_PER_S = 25.0
#: Containers with events that wait, or that had some a moment ago.
MOST_CONTAINERS = 5_000
#: After a report failed.
RETRY_S = 0.5
_KILL, _DESTROY = "kill", "destroy"


@dataclass(frozen=True, kw_only=True, slots=True)
class Noted:
    """An event, and when it happened by the clock of the caller, in s."""

    event: EngineEvent
    happened_s: float


class _Bucket:
    """A rate with a burst."""

    def __init__(self, most: int, per_s: float, now_s: float) -> None:
        self._most = most
        self._per_s = per_s
        self._tokens = float(most)
        self._at_s = now_s

    def tokens(self, now_s: float) -> float:
        self._tokens = min(self._tokens + max(now_s - self._at_s, 0) * self._per_s, self._most)
        self._at_s = now_s
        return self._tokens

    def spend(self, count: int, now_s: float) -> None:
        self._tokens = max(self.tokens(now_s) - count, 0)

    def refund(self, count: int) -> None:
        self._tokens = min(self._tokens + count, self._most)

    def wait_s(self, now_s: float) -> float:
        return max(1 - self.tokens(now_s), 0) / self._per_s

    def is_full(self, now_s: float) -> bool:
        return self.tokens(now_s) >= self._most


@dataclass(slots=True)
class _Flow:
    """The events of one container that are not reported yet."""

    bucket: _Bucket
    waiting: list[Noted] = field(default_factory=list)
    #: What a caller has of it.
    in_work: tuple[Noted, ...] = ()
    #: When it may be taken; infinite when nothing waits.
    due_s: float = math.inf


class Coalescer:
    """The events of all containers of a host that are not reported yet."""

    def __init__(self, now_s: float, *, most_containers: int = MOST_CONTAINERS) -> None:
        self._flows: dict[str, _Flow] = {}
        self._host = _Bucket(HOST_BURST, HOST_PER_S, now_s)
        self._most = most_containers
        #: When each container may be taken. An entry that its flow does not have is outdated.
        self._turns: list[tuple[float, int, str]] = []
        self._numbers = itertools.count()
        #: Events that were left out since the last `take_counts`.
        self._coalesced = 0
        self._dropped = 0

    def add(self, noted: Noted, now_s: float) -> None:
        """Let an event wait for its report."""
        container_id = noted.event.container_id
        flow = self._flows.get(container_id)
        if flow is None:
            self._make_room(now_s)
            flow = self._flows[container_id] = _Flow(_Bucket(BURST, 1 / EVERY_S, now_s))
        room = max(1, int(flow.bucket.tokens(now_s)))
        if len(flow.waiting) < room:
            flow.waiting.append(noted)
        else:
            latest = _latest([flow.waiting[-1], noted])
            flow.waiting[-1] = latest
            self._coalesced += 1
        self._set_turn(container_id, flow, now_s)

    def take(self, now_s: float) -> tuple[Noted, ...]:
        """Return the events of the container whose turn it is, or none; they are in work then."""
        self._drop_stale(now_s)
        while self._turns and self._turns[0][0] <= now_s and self._host.tokens(now_s) >= 1:
            due_s, _, container_id = heapq.heappop(self._turns)
            flow = self._flows.get(container_id)
            if flow is None or flow.due_s != due_s or flow.in_work:
                continue
            if len(self._turns) + len(flow.waiting) > self._host.tokens(now_s):
                self._fold(flow)
            flow.in_work, flow.waiting, flow.due_s = tuple(flow.waiting), [], math.inf
            for bucket in (flow.bucket, self._host):
                bucket.spend(len(flow.in_work), now_s)
            return flow.in_work
        return ()

    def wait_s(self, now_s: float) -> float:
        """Return how long `take` has nothing to return, if no event is added; maybe infinite."""
        if not self._turns:
            return math.inf
        return max(self._turns[0][0] - now_s, self._host.wait_s(now_s), 0)

    def done(self, container_id: str, now_s: float) -> None:
        """The events in work are reported."""
        flow = self._flows[container_id]
        is_over = bool(flow.in_work) and flow.in_work[-1].event.action == _DESTROY
        flow.in_work = ()
        if flow.waiting:
            self._set_turn(container_id, flow, now_s)
        elif is_over:
            del self._flows[container_id]

    def give_back(self, container_id: str, left: tuple[Noted, ...], now_s: float) -> None:
        """These events in work could not be reported; of them and later ones the latest waits."""
        flow = self._flows[container_id]
        for bucket in (flow.bucket, self._host):
            bucket.refund(len(left))
        flow.waiting = [*left, *flow.waiting]
        flow.in_work = ()
        if flow.waiting:
            self._fold(flow)
            self._set_turn(container_id, flow, now_s, not_before_s=now_s + RETRY_S)

    def drop(self, count: int) -> None:
        """Count events that the caller left out because they were too old."""
        self._dropped += count

    def take_counts(self) -> tuple[int, int]:
        """Return how many events were coalesced and dropped since the last call."""
        counts = self._coalesced, self._dropped
        self._coalesced = self._dropped = 0
        return counts

    def put_back_counts(self, counts: tuple[int, int]) -> None:
        """Keep counts for the next `take_counts`: their report failed."""
        self._coalesced += counts[0]
        self._dropped += counts[1]

    def pending(self) -> list[EngineEvent]:
        """Return the events that wait or are in work."""
        flows = self._flows.values()
        return [noted.event for flow in flows for noted in (*flow.in_work, *flow.waiting)]

    def _drop_stale(self, now_s: float) -> None:
        """Drop what is too old of the containers that are next in turn."""
        while self._turns and self._turns[0][0] <= now_s:
            due_s, _, container_id = self._turns[0]
            flow = self._flows.get(container_id)
            if flow is not None and flow.due_s == due_s and not flow.in_work:
                latest = flow.waiting[-1]
                if now_s - latest.happened_s <= STALE_AFTER_S:
                    return
                self._dropped += len(flow.waiting)
                flow.waiting, flow.due_s = [], math.inf
                if latest.event.action == _DESTROY:
                    del self._flows[container_id]
            heapq.heappop(self._turns)

    def _fold(self, flow: _Flow) -> None:
        self._coalesced += len(flow.waiting) - 1
        flow.waiting = [_latest(flow.waiting)]

    def _set_turn(
        self, container_id: str, flow: _Flow, now_s: float, *, not_before_s: float = 0
    ) -> None:
        if flow.in_work:
            return
        is_last = flow.waiting[-1].event.action == _DESTROY
        own_s = now_s if is_last else now_s + flow.bucket.wait_s(now_s)
        due_s = max(own_s, not_before_s)
        if not_before_s or due_s < flow.due_s:
            flow.due_s = due_s
            heapq.heappush(self._turns, (due_s, next(self._numbers), container_id))

    def _make_room(self, now_s: float) -> None:
        """Forget containers that need no record, and if there are too many, the next in turn."""
        if len(self._flows) < self._most:
            return
        idle = [
            container_id
            for container_id, flow in self._flows.items()
            if not flow.waiting and not flow.in_work and flow.bucket.is_full(now_s)
        ]
        for container_id in idle:
            del self._flows[container_id]
        while len(self._flows) >= self._most:
            # In their order: the oldest is the first to be stale.
            oldest = next((one for one, flow in self._flows.items() if not flow.in_work), None)
            if oldest is None:
                return
            self._dropped += len(self._flows.pop(oldest).waiting)


def _latest(events: list[Noted]) -> Noted:
    """Return the event that says how the container is now; `kill` says nothing of it."""
    telling = [noted for noted in events if noted.event.action != _KILL]
    return (telling or events)[-1]
