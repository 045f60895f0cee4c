"""Progress reports during calls to the Engine that take long by design, such as a stop."""

import time
from collections.abc import Callable
from concurrent.futures import wait
from typing import TypeVar

from worker.operations.context import ReportProgress
from worker.threads import start_call

T = TypeVar("T")

#: Interval of progress reports; cattle needs one within 45 s.
REPORT_EVERY_S = 5.0


def reporting(
    call: Callable[[], T],
    report: ReportProgress,
    text: str,
    *,
    bound_s: float,
    every_s: float = REPORT_EVERY_S,
) -> T:
    """Make a call and return its result; report `text` every `every_s` for at most `bound_s`.

    A longer call continues without progress reports, so that a hung Engine does not keep the event
    alive. The call runs in a thread of its own.
    Errors: those of the call.
    """
    if bound_s <= 2 * every_s:
        return call()
    ends_s = time.monotonic() + bound_s
    done = start_call(call, "engine-call")
    while (left_s := ends_s - time.monotonic()) > 0:
        wait((done,), timeout=min(every_s, left_s))
        if done.done():
            break
        if time.monotonic() < ends_s:
            report(text, None)
    return done.result()
