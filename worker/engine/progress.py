"""When the progress of an event is reported: repeatedly while the work moves, not while it is idle.

cattle ends a call that is silent for 45 s; each progress report restarts those 45 s. So an
unchanged percentage is repeated while bytes move. A silent Engine causes no report, so that its
event ends.
"""

import time
from collections.abc import Callable

#: Gets a sentence, and a percentage or None.
Report = Callable[[str, int | None], None]

#: How often an unchanged sentence is repeated while the work moves.
REPEAT_EVERY_S = 3.0
#: The highest percentage before the work is done.
MOST_UNFINISHED_PERCENT = 99
_DONE_PERCENT = 100


class ProgressReporter:
    """The progress reports of one event; called whenever the work moved."""

    def __init__(self, report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._text: str | None = None
        self._percent: int | None = None
        self._reported_s = 0.0

    def __call__(self, text: str, percent: int | None) -> None:
        """Report a movement unless the same was reported recently; the percentage never falls."""
        known = [one for one in (self._percent, percent) if one is not None]
        highest = max(known, default=None)
        is_new = (text, highest) != (self._text, self._percent)
        if is_new or self._clock() - self._reported_s >= REPEAT_EVERY_S:
            self._send(text, highest)

    def finish(self) -> None:
        """Report 100 percent if any progress was reported before."""
        if self._text is not None:
            self._send(self._text, _DONE_PERCENT)

    def _send(self, text: str, percent: int | None) -> None:
        self._text, self._percent = text, percent
        self._reported_s = self._clock()
        self._report(text, percent)
