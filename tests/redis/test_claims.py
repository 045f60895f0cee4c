"""What bridges keep in a real Redis of whose host is whose."""

import pytest

from bridge.hosts.claims import Claims
from cowpoke import keys
from cowpoke.seal import Sealer

HOST = "host-1"


@pytest.fixture
def claims(client, sealer):
    """Memories and claims as a bridge has them."""
    return Claims(client, sealer)


def test_remembered_host_is_found_again(claims, client):
    """W 29: for its agent, for a long time, and not for ever."""
    claims.remember("agent-a", HOST)
    assert claims.remembered("agent-a") == HOST
    assert claims.remembered("agent-b") is None
    assert 0 < client.pttl(keys.agent("agent-a")) <= keys.AGENT_TTL_MS


@pytest.mark.parametrize("host", ["", "a b", "a\nb", "\ud800", "x" * 300, None, 5, ["host-1"]])
def test_sealed_memory_of_no_usable_host_is_ignored(claims, client, sealer, host):
    """W 29: what Redis says is input, also when it is sealed."""
    client.set(keys.agent("agent-a"), sealer.seal({"agent": "agent-a", "host": host}))
    assert claims.remembered("agent-a") is None


@pytest.mark.parametrize("content", [b"", b"host-1", b'{"host":"host-1"}', b"\xff\xfe", b"[]"])
def test_forged_memory_is_ignored(claims, client, content):
    """W 29: whoever writes to Redis does not choose the host of an agent."""
    client.set(keys.agent("agent-a"), content)
    assert claims.remembered("agent-a") is None


def test_memory_of_another_agent_is_ignored(claims, client):
    """W 29: a sealed memory that was copied to another agent's key is not that agent's."""
    claims.remember("agent-a", HOST)
    client.copy(keys.agent("agent-a"), keys.agent("agent-b"))
    assert claims.remembered("agent-b") is None


def test_memory_is_kept_without_a_queue_key(client):
    """W 29: then Redis is trusted in everything."""
    claims = Claims(client, Sealer())
    claims.remember("agent-a", HOST)
    assert claims.remembered("agent-a") == HOST


def test_free_host_is_claimed_once(claims, client):
    """W 29: the first agent has it until its bridge does not renew the claim any more."""
    assert claims.claim_free(HOST, "agent-a")
    assert claims.claim_free(HOST, "agent-a")
    assert not claims.claim_free(HOST, "agent-b")
    assert claims.of_others([HOST, "host-2"], "agent-b") == {HOST}
    assert claims.of_others([HOST, "host-2"], "agent-a") == set()
    assert claims.of_others([], "agent-a") == set()
    assert 0 < client.pttl(keys.served(HOST)) <= keys.SERVED_TTL_MS


def test_renewed_claims_live_longer(claims, client):
    """W 29: all hosts of a bridge at once."""
    claims.renew({HOST: "agent-a", "host-2": "agent-b"})
    client.pexpire(keys.served(HOST), 1000)
    claims.renew({HOST: "agent-a"})
    assert client.pttl(keys.served(HOST)) > 1000
    assert claims.of_others([HOST, "host-2"], "agent-a") == {"host-2"}


def test_claim_that_is_no_text_is_anothers(claims, client):
    """W 29: bytes that nobody of us wrote end no bridge."""
    client.set(keys.served(HOST), b"\xff\xfe")
    assert claims.of_others([HOST], "agent-a") == {HOST}
