"""The time that is left for the work on an event.

Row numbers (W) refer to docs/parity.md.
"""

import math

import pytest

from worker import deadline
from worker.deadline import ANSWER_MARGIN_S, Deadline


def test_work_without_an_event_has_no_deadline():
    """The janitor and the start of a worker are bounded by their own timeouts (W 26)."""
    assert deadline.left_s() == math.inf
    with deadline.bound(Deadline(remaining_s=60, timeout_s=60)):
        assert deadline.left_s() < 60
    assert deadline.left_s() == math.inf


@pytest.mark.parametrize(("timeout_s", "margin_s"), [(45, ANSWER_MARGIN_S), (2, 0.5), (0, 0)])
def test_margin_for_the_answer_fits_the_timeout(timeout_s, margin_s):
    """A call of 2 s must have time for its work too (W 26)."""
    left_s = Deadline(remaining_s=100, timeout_s=timeout_s).left_s()
    assert 100 - margin_s - 5 < left_s <= 100 - margin_s


def test_restart_gives_the_whole_timeout_and_never_less():
    """Cattle waits anew from each progress (W 26)."""
    late = Deadline(remaining_s=1, timeout_s=100)
    assert late.left_s() < 0
    late.restart()
    assert late.left_s() > 90
    early = Deadline(remaining_s=1000, timeout_s=100)
    early.restart()
    assert early.left_s() > 900
