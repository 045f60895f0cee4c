"""What one host has to report: which of its waiting events is next, and when."""

import time
from dataclasses import dataclass, field

from bridge.container_events.posting import Answer, End
from bridge.container_events.streams import Entry
from cowpoke.container_events import ContainerEvent

#: Entries that are looked at while starts wait. Of each a few words are kept.
WINDOW = 50
_START = "start"
FIRST_PAUSE_S = 0.5
MOST_PAUSE_S = 5.0
#: Keys that are no agent's do not become one's within seconds.
KEYS_PAUSE_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """What decides whether an entry is next."""

    entry_id: str
    container_id: str
    is_start: bool
    occurred_ms: int

    @classmethod
    def of(cls, entry: Entry, event: ContainerEvent) -> "Head":
        """Return the head of an opened entry."""
        return cls(
            entry_id=entry.entry_id,
            container_id=event.container_id,
            is_start=event.status == _START,
            occurred_ms=event.occurred_ms,
        )


@dataclass(slots=True)
class HostReport:
    """The entries of a host that this bridge has looked at, in order, and its pauses."""

    heads: list[Head] = field(default_factory=list)
    #: Until then cattle takes no starts of the host (monotonic, s).
    starts_wait_until_s: float = 0.0
    #: The entry that is over and still in the stream.
    done_id: str | None = None
    #: The event that was opened last, with the id of its entry.
    opened: tuple[str, ContainerEvent] | None = None
    #: Failures in a row, of starts and of everything.
    _full: int = 0
    _failed: int = 0

    def starts_wait_s(self) -> float:
        """Return how long starts still wait; 0 when they do not."""
        return max(self.starts_wait_until_s - time.monotonic(), 0)

    @property
    def wants(self) -> int:
        """How many further entries are to be read before `next` is asked; often none."""
        if self.next() is not None:
            return 0
        return WINDOW - len(self.heads) if self.starts_wait_s() else 1

    @property
    def last_id(self) -> str | None:
        """The entry behind which to read."""
        return self.heads[-1].entry_id if self.heads else None

    def next(self) -> Head | None:
        """Return the entry to report now; None when all wait, or none is known.

        The events of one container keep their order: a start that waits holds up the others of its
        container, and no other container.
        """
        waiting: set[str] = set()
        starts_wait = self.starts_wait_s() > 0
        for head in self.heads:
            if head.container_id in waiting:
                continue
            if not (starts_wait and head.is_start):
                return head
            waiting.add(head.container_id)
        return None

    def over(self, head: Head) -> None:
        """The entry is over; it is removed with the next call to Redis."""
        self.heads.remove(head)
        self.done_id = head.entry_id

    @property
    def has_failed(self) -> bool:
        """Whether the last try failed."""
        return self._failed > 0

    def pause_s(self, answer: Answer, head: Head) -> float:
        """Take the answer to an entry into account; return for how long the host rests now."""
        if answer.end is End.TOO_MANY_STARTS:
            self.starts_wait_until_s = time.monotonic() + _grown_s(self._full)
            self._full += 1
            return 0
        if answer.end in {End.POSTED, End.REFUSED}:
            self._failed = 0
            if head.is_start:
                self._full = 0
            return 0
        pause_s = KEYS_PAUSE_S if answer.end is End.KEYS_REFUSED else _grown_s(self._failed)
        self._failed += 1
        return pause_s


def _grown_s(failures: int) -> float:
    grown_s: float = min(FIRST_PAUSE_S * 2.0 ** min(failures, 10), MOST_PAUSE_S)
    return grown_s
