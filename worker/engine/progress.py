"""When an event's progress is reported: by time while the work moves, never while it is silent.

cattle ends a call that is silent for 45 s, and each progress begins that time anew. So a percentage
that does not change is repeated while bytes move. An Engine that says nothing gets no report: its
event must end.
"""

import time
from collections.abc import Callable

#: Gets a sentence and a percentage where there is one.
Report = Callable[[str, int | None], None]

#: How often an unchanged sentence is repeated while the work moves.
REPEAT_EVERY_S = 3.0
#: The most a percentage shows before the work is done.
MOST_UNFINISHED_PERCENT = 99
_DONE_PERCENT = 100


class Told:
    """What one event's report got so far; called whenever the work moved."""

    def __init__(self, report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._text: str | None = None
        self._percent: int | None = None
        self._told_s = 0.0

    def __call__(self, text: str, percent: int | None) -> None:
        """Report a movement, unless the same was just reported; the percentage never falls."""
        known = [one for one in (self._percent, percent) if one is not None]
        highest = max(known, default=None)
        is_new = (text, highest) != (self._text, self._percent)
        if is_new or self._clock() - self._told_s >= REPEAT_EVERY_S:
            self._tell(text, highest)

    def finish(self) -> None:
        """Report that the work is done, if it was reported at all."""
        if self._text is not None:
            self._tell(self._text, _DONE_PERCENT)

    def _tell(self, text: str, percent: int | None) -> None:
        self._text, self._percent = text, percent
        self._told_s = self._clock()
        self._report(text, percent)
