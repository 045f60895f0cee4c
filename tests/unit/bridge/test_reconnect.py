"""How long a bridge waits before it opens a websocket again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.inbound.reconnect import (
    FIRST_S,
    MOST_S,
    REFUSED_S,
    STEADY_AFTER_S,
    Ending,
    ending_of,
    next_delay,
)

endings = st.sampled_from(list(Ending))
jitters = st.floats(0, 1)
SLOW = [Ending.UNAUTHORIZED, Ending.AMBIGUOUS, Ending.WRONG_ACCOUNT]
ABSENT = [Ending.LOST, Ending.CLOSED, Ending.FORBIDDEN]


def wait_s(ending, failures=0, *, lived_s=0.0, jitter=1.0):
    """Return the wait; without a jitter given, the longest."""
    return next_delay(ending, lived_s=lived_s, failures=failures, jitter=jitter).wait_s


@given(endings, st.floats(0, 1e6), st.integers(0, 10_000), jitters)
def test_waits_a_sensible_time(ending, lived_s, failures, jitter):
    """Never at once, never for long, and it counts."""
    delay = next_delay(ending, lived_s=lived_s, failures=failures, jitter=jitter)
    assert FIRST_S / 2 <= delay.wait_s <= REFUSED_S * 1.5
    assert delay.failures >= 1


@given(st.sampled_from(ABSENT), st.floats(0, 1e6), st.integers(0, 10_000), jitters)
def test_absent_server_is_tried_at_least_every_ten_seconds(ending, lived_s, failures, jitter):
    """W 7: jitter included, also after a night; cattle gives a host up after 30 s."""
    assert wait_s(ending, failures, lived_s=lived_s, jitter=jitter) <= 10


def test_waits_for_an_absent_server_are_spread():
    """W 7: agents that wait as long as they may do not all come in the same instant."""
    assert wait_s(Ending.LOST, 100) - wait_s(Ending.LOST, 100, jitter=0.0) == MOST_S / 2


@given(st.sampled_from([Ending.LOST, Ending.FORBIDDEN]), st.integers(0, 100), jitters)
def test_waits_longer_each_time(ending, failures, jitter):
    """Failure after failure the wait grows, up to its limit."""
    assert wait_s(ending, failures + 1, jitter=jitter) >= wait_s(ending, failures, jitter=jitter)


def test_is_back_soon_after_a_lost_connection():
    """The first try comes within half a second."""
    assert wait_s(Ending.LOST) < 0.5


@pytest.mark.parametrize("ending", SLOW)
def test_does_not_hurry_when_keys_are_refused(ending):
    """W 7: wrong keys are mended by people only."""
    assert wait_s(ending, jitter=0.5) == REFUSED_S


def test_asks_again_soon_while_the_agent_registers():
    """An agent that is not active yet may soon be."""
    assert wait_s(Ending.FORBIDDEN) == 2.0


def test_spreads_agents_after_an_orderly_close():
    """After a server's restart all agents come at once, but not in the same instant."""
    assert wait_s(Ending.CLOSED) - wait_s(Ending.CLOSED, jitter=0.0) == 2.0


def test_a_server_that_closes_again_and_again_is_left_alone():
    """An orderly close after a failure counts as one."""
    assert wait_s(Ending.CLOSED, 10) > wait_s(Ending.CLOSED, 3)


def test_forgets_failures_after_a_steady_connection():
    """Backoff begins anew after a connection that was open for a while."""
    delay = next_delay(Ending.LOST, lived_s=STEADY_AFTER_S, failures=30, jitter=1.0)
    assert (delay.wait_s, delay.failures) == (FIRST_S, 1)


def test_remembers_failures_after_a_short_connection():
    """A server that accepts and drops does not get a storm of tries."""
    assert next_delay(Ending.LOST, lived_s=1, failures=3, jitter=0.5).failures == 4


@pytest.mark.parametrize(
    ("status", "is_foreign", "ending"),
    [
        (404, True, Ending.WRONG_ACCOUNT),
        (403, True, Ending.WRONG_ACCOUNT),
        (422, True, Ending.WRONG_ACCOUNT),
        (404, False, Ending.LOST),
        (502, False, Ending.LOST),
        (503, True, Ending.LOST),
        (301, True, Ending.LOST),
        (200, False, Ending.LOST),
        (401, False, Ending.UNAUTHORIZED),
        (403, False, Ending.FORBIDDEN),
        (422, False, Ending.AMBIGUOUS),
    ],
)
def test_refused_subscription_is_classified(status, is_foreign, ending):
    """W 6, W 7: the 404 of a server that takes keys for the admin's is told from a proxy's."""
    assert ending_of(status, is_foreign=is_foreign) is ending
