"""When a refused reply is given up."""

import pytest

from bridge.errors import (
    DoubtfulRefusalError,
    KeysRefusedError,
    KeysUnknownError,
    PublishError,
    PublishRefusedError,
)
from bridge.outbound.refusals import LEAST_S, MOST_S, Refusals, patience_s


def ends(*failures, left_s=0.0):
    """Return how a reply stands after each failure; failures are (second, error type)."""
    refusals = Refusals()
    return [refusals.end(kind("x"), now_s=at_s, left_s=left_s) for at_s, kind in failures]


def test_refusal_of_cattle_is_final_at_once():
    """What cattle cannot read it cannot read later."""
    assert ends((0, PublishRefusedError)) == ["refused"]


@pytest.mark.parametrize("kind", [PublishError, KeysRefusedError])
def test_failure_that_may_pass_is_never_final(kind):
    """An absent cattle takes the reply when it is back."""
    assert ends((0, kind), (1e6, kind)) == [None, None]


@pytest.mark.parametrize(
    ("kind", "end"), [(DoubtfulRefusalError, "refused"), (KeysUnknownError, "unconfirmed")]
)
def test_doubtful_refusal_is_final_after_a_while(kind, end):
    """W 6, W 30: a proxy without a back end, or a server that is being restored, may be back."""
    assert ends((5, kind), (LEAST_S, kind), (5 + LEAST_S, kind)) == [None, None, end]


def test_patience_begins_with_the_first_refusal_in_a_row():
    """W 30: an outage of another kind before or between does not use the patience up."""
    refused = DoubtfulRefusalError
    assert ends((0, PublishError), (9000, refused)) == [None, None]
    assert ends((0, refused), (100, PublishError), (200, refused)) == [None, None, None]


@pytest.mark.parametrize(
    ("left_s", "end"), [(-MOST_S - 1, "unconfirmed"), (-MOST_S + 1, None), (0, None)]
)
def test_unknown_keys_are_given_up_long_after_the_deadline(left_s, end):
    """W 6: also where the reply was given back in between, and begins anew here."""
    assert ends((0, KeysUnknownError), left_s=left_s) == [end]
    assert ends((0, DoubtfulRefusalError), left_s=left_s) == [None]


@pytest.mark.parametrize(
    ("left_s", "wanted_s"), [(-9000, LEAST_S), (0, LEAST_S), (200, 260), (86_400, MOST_S)]
)
def test_patience_follows_the_deadline_within_limits(left_s, wanted_s):
    """W 30: until shortly after the deadline, but minutes at least and at most."""
    assert patience_s(left_s) == wanted_s
