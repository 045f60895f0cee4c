"""How long a bridge waits before it opens a websocket again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.reconnect import FIRST_S, MOST_S, REFUSED_S, STEADY_AFTER_S, Ending, next_delay

endings = st.sampled_from(list(Ending))
jitters = st.floats(0, 1)
SLOW = [Ending.UNAUTHORIZED, Ending.AMBIGUOUS, Ending.WRONG_ACCOUNT]


def wait_s(ending, failures=0, *, lived_s=0.0, jitter=0.5):
    """The wait, without spread unless asked for."""
    return next_delay(ending, lived_s=lived_s, failures=failures, jitter=jitter).wait_s


@given(endings, st.floats(0, 1e6), st.integers(0, 10_000), jitters)
def test_waits_a_sensible_time(ending, lived_s, failures, jitter):
    """Never at once, never for long, and it counts."""
    delay = next_delay(ending, lived_s=lived_s, failures=failures, jitter=jitter)
    assert FIRST_S / 2 <= delay.wait_s <= MOST_S * 1.5
    assert delay.failures >= 1


@given(st.sampled_from([Ending.LOST, Ending.FORBIDDEN]), st.integers(0, 100), jitters)
def test_waits_longer_each_time(ending, failures, jitter):
    """Failure after failure the wait grows, up to its limit."""
    assert wait_s(ending, failures + 1, jitter=jitter) >= wait_s(ending, failures, jitter=jitter)


def test_is_back_soon_after_a_lost_connection():
    """The first try comes within half a second."""
    assert wait_s(Ending.LOST, jitter=1.0) < 0.5


@pytest.mark.parametrize("ending", SLOW)
def test_does_not_hurry_when_keys_are_refused(ending):
    """Wrong keys get right by people only."""
    assert wait_s(ending) == REFUSED_S


def test_asks_again_soon_while_the_agent_registers():
    """An agent that is not active yet may soon be."""
    assert wait_s(Ending.FORBIDDEN) == 2.0


def test_spreads_agents_after_an_orderly_close():
    """After a server's restart all agents come at once, but not in the same instant."""
    assert wait_s(Ending.CLOSED, jitter=1.0) - wait_s(Ending.CLOSED, jitter=0.0) == 2.0


def test_a_server_that_closes_again_and_again_is_left_alone():
    """An orderly close after a failure counts as one."""
    assert wait_s(Ending.CLOSED, 10) > wait_s(Ending.CLOSED, 3)


def test_forgets_failures_after_a_steady_connection():
    """Backoff begins anew after a connection that stood for a while."""
    delay = next_delay(Ending.LOST, lived_s=STEADY_AFTER_S, failures=30, jitter=0.5)
    assert (delay.wait_s, delay.failures) == (FIRST_S, 1)


def test_remembers_failures_after_a_short_connection():
    """A server that accepts and drops does not get a storm of tries."""
    assert next_delay(Ending.LOST, lived_s=1, failures=3, jitter=0.5).failures == 4
