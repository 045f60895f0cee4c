"""How agents stand."""

import pytest

from bridge.inbound.reconnect import Ending
from bridge.inbound.standing import Standing, Wait
from bridge.settings import AgentKeys

AGENT = AgentKeys(access_key="key", secret_key="secret")


@pytest.fixture
def standing():
    """The standing of one agent."""
    return Standing((AGENT,))


@pytest.mark.parametrize(
    ("ending", "wait"),
    [
        (Ending.LOST, Wait.SERVER),
        (Ending.CLOSED, Wait.SERVER),
        *(
            (ending, Wait.KEYS_REFUSED)
            for ending in (
                Ending.UNAUTHORIZED,
                Ending.FORBIDDEN,
                Ending.AMBIGUOUS,
                Ending.WRONG_ACCOUNT,
            )
        ),
    ],
)
def test_ended_websocket_says_what_is_waited_for(standing, ending, wait):
    """W 29: each end of a websocket has its reason."""
    standing.closed(AGENT, ending)
    assert standing.waits() == {AGENT: wait}


def test_missing_host_comes_before_the_server(standing):
    """W 29: without a host the server is not even asked."""
    standing.closed(AGENT, Ending.LOST)
    standing.waits_for_host(AGENT, Wait.SEVERAL_HOSTS)
    assert standing.waits() == {AGENT: Wait.SEVERAL_HOSTS}


def test_open_websocket_waits_for_nothing(standing):
    """W 29: also in the grace time of a host that is away."""
    standing.opened(AGENT)
    standing.waits_for_host(AGENT, Wait.HOST_AWAY)
    assert (standing.waits(), standing.open_websockets()) == ({}, {AGENT: True})


def test_agent_is_unknown_until_its_next_subscription(standing):
    """W 6: what the last subscription said holds for the replies."""
    assert not standing.is_unknown(AGENT)
    standing.closed(AGENT, Ending.WRONG_ACCOUNT)
    assert standing.is_unknown(AGENT)
    standing.opened(AGENT)
    assert not standing.is_unknown(AGENT)
