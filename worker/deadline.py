"""The deadline of the event that a thread works on: how long cattle waits for the reply.

`worker.execution.attempt` binds the deadline once per try. Every call to the Engine and every wait
for a lock ends before the deadline, whatever its own timeout is. Code that runs for no event has no
deadline.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Time that a reply needs to reach cattle on a busy machine.
ANSWER_MARGIN_S = 2.0
#: Maximum share of a short timeout that is reserved for the reply.
_MOST_MARGIN_SHARE = 0.25


class Deadline:
    """The time at which the work on one event must end; may be shared by threads.

    cattle restarts its timeout at each progress report, which moves the deadline.
    """

    def __init__(self, remaining_s: float, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._margin_s = min(ANSWER_MARGIN_S, timeout_s * _MOST_MARGIN_SHARE)
        #: When cattle began to wait, by `time.monotonic()`.
        self.began_s = time.monotonic()
        self._end_s = self.began_s + remaining_s
        #: Ends this attempt if the event is not its own any more; called with a lock in hand.
        self.check_claim: Callable[[bool], None] = lambda _waited: None

    def left_s(self) -> float:
        """Return the seconds left for work, without the margin for the reply."""
        return self._end_s - self._margin_s - time.monotonic()

    def restart(self) -> None:
        """Grant the whole timeout again, because cattle restarted its timeout."""
        self.began_s = time.monotonic()
        self._end_s = max(self._end_s, self.began_s + self._timeout_s)


_bound: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


@contextmanager
def bound(deadline: Deadline) -> Iterator[None]:
    """Bind a deadline to the calls of this thread."""
    token = _bound.set(deadline)
    try:
        yield
    finally:
        _bound.reset(token)


def check_claim(*, waited: bool) -> None:
    """End the attempt of this thread if its event went to another process meanwhile.

    Called with a lock in hand that may have been waited for: another process may have had it, have
    finished the event, and have done what cattle wanted next.
    """
    deadline = _bound.get()
    if deadline is not None:
        deadline.check_claim(waited)


def unbind() -> None:
    """Remove the deadline from this context, because its work continues after the event."""
    _bound.set(None)


def left_s() -> float:
    """Return the seconds left for the work of this thread; infinite without an event."""
    deadline = _bound.get()
    return math.inf if deadline is None else deadline.left_s()
