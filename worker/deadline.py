"""How long cattle still waits for the answer to the event that a thread works on.

`worker.execution.tasks` binds the deadline of its event once. Every call to the Engine and every
wait for a lock ends before it, whatever its own timeout is. Code that runs for no event has no
deadline.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Time that an error needs to reach cattle on a busy machine.
ANSWER_MARGIN_S = 2.0
#: An event with a short timeout keeps at most this share of it for the way of its answer.
_MOST_MARGIN_SHARE = 0.25


class Deadline:
    """The time at which the work on one event must end; several threads may share it.

    Progress that was reported to cattle restarts cattle's wait, and so moves the deadline.
    """

    def __init__(self, remaining_s: float, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._margin_s = min(ANSWER_MARGIN_S, timeout_s * _MOST_MARGIN_SHARE)
        #: When the wait of cattle began, by `time.monotonic()`.
        self.began_s = time.monotonic()
        self._end_s = self.began_s + remaining_s

    def left_s(self) -> float:
        """Return the seconds left for work; the margin for the answer is not part of them."""
        return self._end_s - self._margin_s - time.monotonic()

    def restart(self) -> None:
        """Give the event its whole timeout again, because cattle waits anew."""
        self.began_s = time.monotonic()
        self._end_s = max(self._end_s, self.began_s + self._timeout_s)


_bound: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


@contextmanager
def bound(deadline: Deadline) -> Iterator[None]:
    """Let the calls of this thread end before a deadline."""
    token = _bound.set(deadline)
    try:
        yield
    finally:
        _bound.reset(token)


def unbind() -> None:
    """Give the work of this context no deadline, because it goes on after its event."""
    _bound.set(None)


def left_s() -> float:
    """Return the seconds left for the work of this thread; infinite without an event."""
    deadline = _bound.get()
    return math.inf if deadline is None else deadline.left_s()
