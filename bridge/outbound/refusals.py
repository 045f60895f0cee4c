"""When a reply that is refused again and again is given up: a pure decision."""

from typing import Literal

from bridge.errors import (
    DoubtfulRefusalError,
    KeysUnknownError,
    PublishError,
    PublishRefusedError,
)

#: A proxy's default back end answers for as long as a restart of cattle takes.
LEAST_S = 120.0
MOST_S = 600.0
#: How long after its deadline an event may still have its reply taken.
AFTER_DEADLINE_S = 60.0

#: How a reply ends that is not sent again: refused by cattle, or accepted without any sign that it
#: reached the one who waits for it.
End = Literal["refused", "unconfirmed"]


def patience_s(left_s: float) -> float:
    """Return for how long after its first refusal a reply is sent again.

    Args:
        left_s: Seconds until the event's deadline; negative when it has passed.
    """
    return min(max(left_s + AFTER_DEADLINE_S, LEAST_S), MOST_S)


class Refusals:
    """The refusals of one reply in a row."""

    def __init__(self) -> None:
        self._ends_s: float | None = None

    def end(self, problem: PublishError, *, now_s: float, left_s: float) -> End | None:
        """Return how the reply ends with this failure, or None when it is to be sent again.

        Args:
            problem: The failure.
            now_s: The time of a steady clock.
            left_s: Seconds until the event's deadline; 0 for an event without one.
        """
        if not isinstance(problem, DoubtfulRefusalError | KeysUnknownError):
            self._ends_s = None
            return "refused" if isinstance(problem, PublishRefusedError) else None
        if isinstance(problem, KeysUnknownError) and left_s < -MOST_S:
            # Also a reply that was given back to other bridges in between ends some time.
            return "unconfirmed"
        if self._ends_s is None:
            self._ends_s = now_s + patience_s(left_s)
        if now_s < self._ends_s:
            return None
        return "unconfirmed" if isinstance(problem, KeysUnknownError) else "refused"
