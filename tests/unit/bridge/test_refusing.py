"""When an agent's keys count as refused for good."""

import pytest

from bridge.inbound.reconnect import REFUSED_S, Ending
from bridge.inbound.refusing import LEAST_TRIES, Refusing

AFTER_S = 240.0
#: The shortest waits between the tries that jitter allows.
SHORTEST_S = REFUSED_S / 2


def refused(refusing, times, *, ending=Ending.UNAUTHORIZED, every_s=REFUSED_S, from_s=0.0):
    """Let cattle refuse the keys so often; what each refusal said."""
    return [refusing.ended(ending, from_s + number * every_s) for number in range(times)]


@pytest.mark.parametrize("ending", [Ending.UNAUTHORIZED, Ending.WRONG_ACCOUNT])
@pytest.mark.parametrize("every_s", [SHORTEST_S, REFUSED_S, 3 * REFUSED_S])
def test_refusals_over_minutes_are_for_good(ending, every_s):
    """401, and the admin's account of a cattle without access control; said once."""
    refusing = Refusing(AFTER_S)
    said = refused(refusing, 10, ending=ending, every_s=every_s)
    assert sum(said) == 1
    assert LEAST_TRIES - 1 <= said.index(True) <= LEAST_TRIES
    assert refusing.is_for_good


def test_refusals_in_a_moment_are_not():
    """cattle, or its database, is being restored."""
    refusing = Refusing(AFTER_S)
    assert not any(refused(refusing, 20, every_s=1.0))
    assert not refusing.is_for_good


@pytest.mark.parametrize("ending", [Ending.FORBIDDEN, Ending.AMBIGUOUS])
def test_other_refusals_say_that_the_keys_are_known(ending):
    """An agent that is deactivated, or whose account has two, is not removed."""
    refusing = Refusing(AFTER_S)
    refused(refusing, LEAST_TRIES - 1)
    assert not any(refused(refusing, 50, ending=ending, from_s=1_000))
    assert not any(refused(refusing, LEAST_TRIES - 1, from_s=5_000))
    assert not refusing.is_for_good


def test_absent_cattle_says_nothing():
    """Neither for the keys nor against them."""
    refusing = Refusing(AFTER_S)
    refused(refusing, LEAST_TRIES - 1)
    assert not any(refused(refusing, 50, ending=Ending.LOST, from_s=200))
    assert refusing.ended(Ending.UNAUTHORIZED, 400)


def test_subscription_makes_good_for_all():
    """Somebody restored cattle's database: the agent begins anew."""
    refusing = Refusing(AFTER_S)
    refused(refusing, 10)
    refusing.known()
    assert not refusing.is_for_good
    assert sum(refused(refusing, 10, from_s=2_000)) == 1


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_removed_agent_is_tried_every_ten_minutes(jitter):
    """Before that as often as any refused one."""
    refusing = Refusing(AFTER_S)
    assert (refusing.pause_s, refusing.wait_s(33.0, jitter)) == (REFUSED_S, 33.0)
    refused(refusing, 10)
    assert 400 < refusing.wait_s(33.0, jitter) < 800
