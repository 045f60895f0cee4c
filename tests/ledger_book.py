"""What must be true of the ledger after every step: the book of the stateful test."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from cowpoke import keys
from cowpoke.ledger.decisions import NEXT_CHECK_FAR_MS, OVERDUE_MS
from cowpoke.ledger.due import HELD_MS
from tests.ledger_world import EVENTS, KEY_PATTERNS, OPEN, OWNED, PINGS, QUEUES, Process, View

#: The check of a due event may be this much later than planned.
_SLACK_MS = 2_000


@dataclass
class Book:
    """What happened so far, and what follows from it."""

    #: In which order events were accepted.
    order: dict[str, int] = field(default_factory=dict)
    #: The final outcomes of each event since it began.
    finals: dict[str, set[str]] = field(default_factory=dict)
    #: All outcomes so far: content -> event and kind.
    produced: dict[str, tuple[str, str]] = field(default_factory=dict)
    #: Final outcomes that were lost with a key.
    excused: set[str] = field(default_factory=set)
    #: What cattle got: final outcomes, and the events they answer.
    delivered: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
    #: Events that a fault removed from one of the two indexes.
    lost_open: set[str] = field(default_factory=set)
    lost_due: set[str] = field(default_factory=set)
    #: Events whose hash a fault removed.
    lost: set[str] = field(default_factory=set)
    #: FIFOs whose order a fault destroyed, until they are empty.
    unordered: set[str] = field(default_factory=set)
    #: Events that may be as they were earlier: claimed by a live process that does not know.
    aged: set[str] = field(default_factory=set)
    #: Events with progress on its way whose reservation, or its bridge's lease, a fault may remove.
    unreserved: set[str] = field(default_factory=set)
    last: View | None = None
    _accepted: int = 0

    def began(self, event_id: str) -> None:
        """An event was recorded: for the first time, or anew."""
        self._accepted += 1
        self.order[event_id] = self._accepted
        self.aged.discard(event_id)
        self.forget(event_id)

    def forget(self, event_id: str) -> None:
        """What was of an event says nothing about its next outcome."""
        self.finals[event_id] = set()
        self.answered.discard(event_id)

    def damaged(self, view: View, event_ids: Iterable[str]) -> None:
        """A fault changed the hashes of these events."""
        for event_id in event_ids:
            self.forget(event_id)
            self.aged.add(event_id)
            self.lost_open.add(event_id)
            self.lost_due.add(event_id)
            for found in (view, self.last):
                if found is not None and event_id in found.events:
                    self.unordered.add(found.events[event_id].get("fifo", ""))

    def excuse_lost_outcomes(self, view: View) -> None:
        """A fault removed outcomes: those that are nowhere in Redis need not arrive."""
        present = {content for _, _, content in view.outcomes}
        finals = {content for content, (_, kind) in self.produced.items() if kind != "progress"}
        self.excused |= finals - self.delivered - present

    def posted(self, event_id: str, kind: str, content: str) -> None:
        """A reply arrived at cattle."""
        if kind != "progress":
            self.delivered.add(content)
            # A late outcome of before the event began anew says nothing about its progress now.
            if content in self.finals.get(event_id, ()):
                self.answered.add(event_id)
        elif event_id in self.unreserved:
            self.unreserved.discard(event_id)
        elif event_id not in PINGS:
            assert event_id not in self.answered, f"progress of {event_id} after its final reply"

    # -- the invariants --------------------------------------------------------------------------

    def check(self, view: View, processes: Iterable[Process]) -> None:
        """Compare Redis with what happened."""
        for event_id in view.open_ids:
            self.lost_open.discard(event_id)
        for event_id in view.due_ms:
            self.lost_due.discard(event_id)
        self._check_keys(view)
        self._check_nothing_lost(view)
        self._check_indexes(view)
        self._check_order(view)
        self._check_outcomes(view)
        for process in processes:
            self._check_holder(view, process)
        self.last = view
        self.lost.clear()

    def _check_keys(self, view: View) -> None:
        """Every key is in the table, and has a lifetime or an owner."""
        for key, ttl_ms in view.ttl_ms.items():
            known = key in QUEUES or any(one.fullmatch(key) for one in KEY_PATTERNS)
            assert known, f"{key} is not in the table of keys"
            owned = key in QUEUES or OWNED.fullmatch(key)
            assert ttl_ms >= 0 or owned, f"{key} has neither a lifetime nor an owner"
        for event_id, entry in view.events.items():
            key = keys.event(EVENTS[event_id][0], event_id)
            ttl_ms = view.ttl_ms[key]
            if entry["state"] in OPEN:
                left_ms = int(entry["deadline_ms"]) - view.now_ms
                assert ttl_ms > left_ms, f"{event_id} is gone before its deadline"
            else:
                most_ms = keys.ANSWERED_TTL_MS
                if event_id in PINGS and entry["state"] == "answered" and entry["lane"]:
                    most_ms = keys.ANSWERED_PING_TTL_MS
                assert ttl_ms <= most_ms, f"{event_id} is over and stays"

    def _check_nothing_lost(self, view: View) -> None:
        """An open event stays until it is over."""
        if self.last is None:
            return
        for event_id in self.last.all_open():
            assert event_id in view.events or event_id in self.lost, f"{event_id} is lost"

    def _check_indexes(self, view: View) -> None:
        """Every open event has a next check, soon."""
        for event_id in view.all_open():
            assert event_id in view.open_ids | self.lost_open, f"{event_id} is in no index"
            assert event_id in self.lost_due | set(view.due_ms), f"{event_id} has no next check"
            most_ms = view.now_ms + max(NEXT_CHECK_FAR_MS, HELD_MS) + _SLACK_MS
            assert view.due_ms.get(event_id, 0) <= most_ms, f"{event_id} is checked too late"

    def _check_order(self, view: View) -> None:
        """Of the open events of a resource the oldest one is queued or claimed, and no other."""
        by_fifo: dict[str, list[str]] = {}
        for event_id in view.all_open():
            by_fifo.setdefault(view.events[event_id]["fifo"], []).append(event_id)
        self.unordered &= by_fifo.keys()
        for fifo, event_ids in by_fifo.items():
            if not fifo or fifo in self.unordered:
                continue
            active = [i for i in event_ids if view.events[i]["state"] != "recorded"]
            oldest = min(event_ids, key=lambda event_id: self.order[event_id])
            assert active == [oldest], f"{fifo}: {active} run, {oldest} is the oldest"

    def _check_outcomes(self, view: View) -> None:
        """One final outcome per event, and no progress after it."""
        for event_id, kind, content in view.outcomes:
            if content in self.produced:
                continue
            self.produced[content] = event_id, kind
            finals = self.finals.setdefault(event_id, set())
            assert not finals, f"{event_id}: a {kind} follows the final outcome"
            if kind != "progress":
                finals.add(content)

    def _check_holder(self, view: View, process: Process) -> None:
        """What a live process has is its alone."""
        for event_id, token in process.holds.items():
            entry = view.events.get(event_id, {})
            found = entry.get("state"), entry.get("boot"), entry.get("token")
            is_held = found == ("claimed", process.boot_id, token) and view.is_live(process.boot_id)
            if int(entry.get("deadline_ms", 0)) + OVERDUE_MS <= view.now_ms:
                process.stale.add(event_id)  # it should have ended
            elif is_held:
                process.stale.discard(event_id)
            else:
                assert event_id in process.stale, (
                    f"{event_id} was taken from a live process: {found}"
                )
