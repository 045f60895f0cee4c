"""Outcomes: what they are, and that nothing is lost on their way through Redis."""

import pytest

from worker.contract.outcomes import Outcome, error, progress, success


@pytest.mark.parametrize(
    "outcome",
    [
        success({"instanceHostMap": {"a": [1, None]}}),
        success({}),
        error("name-taken", "the name is taken"),
        progress("Pulling: 3 of 5", 60),
        progress("Pulling"),
    ],
)
def test_survives_the_way_through_redis(outcome):
    """An outcome read back is the outcome written."""
    assert Outcome.from_json(outcome.to_json()) == outcome


@pytest.mark.parametrize(
    ("outcome", "final"), [(success({}), True), (error("a", "b"), True), (progress("a"), False)]
)
def test_only_progress_is_followed_by_something(outcome, final):
    """Success and error end an event, progress does not."""
    assert outcome.is_final is final
