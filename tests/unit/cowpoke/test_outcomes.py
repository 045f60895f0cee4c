"""Outcomes: what they are, and that nothing is lost on their way through Redis."""

import pytest

from cowpoke.outcomes import WARNINGS, Outcome, error, progress, success


@pytest.mark.parametrize(
    "outcome",
    [
        success({"instanceHostMap": {"a": [1, None]}}),
        success({}),
        success({"a": 1, WARNINGS: ["a limit is not enforced"]}),
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


def test_warnings_of_a_success_are_its_message():
    """W 14: each once, in order, and not in the reply's data."""
    outcome = success({"a": 1, WARNINGS: ["first", "second", "first"]})
    assert (outcome.data, outcome.message) == ({"a": 1}, "first; second")
    assert success({"a": 1}).message == ""


def test_endless_warnings_are_cut():
    """W 14: a message has a limit, whatever the Engine says."""
    outcome = success({WARNINGS: [f"warning {number}" for number in range(10_000)]})
    assert len(outcome.message) == 2000
