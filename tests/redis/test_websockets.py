"""What a bridge reports of its agents' websockets: changes, silence, costs, a Redis that forgot."""

import asyncio

import pytest
import redis

from bridge import websockets as module
from bridge.inbound import standing as standing_module
from bridge.inbound.reconnect import Ending
from bridge.inbound.standing import Standing, Wait
from bridge.settings import AgentKeys
from bridge.websockets import PINGS_AT_ONCE, Websockets
from cowpoke import keys
from cowpoke.bridge_lease import SILENT_AFTER_S, WebsocketState, opened_report
from cowpoke.clock import Clock

BRIDGE = "b-1"
KEY = keys.websockets(BRIDGE)
AGENT = AgentKeys(access_key="a", secret_key="secret", host_uuid="h-1")
LEARNER = AgentKeys(access_key="b", secret_key="secret", agent_id="1a5")


class Rig:
    """The reports of one bridge, one look after the other."""

    def __init__(self, client, keyring, agents, monkeypatch):
        self.client = client
        self.sealer = keyring.bridge
        self.standing = Standing(agents)
        clock = Clock(client)
        clock.measure()
        self.told = Websockets(client, keyring, BRIDGE, standing=self.standing, clock=clock)
        self.passed_s = 0.0
        real = module.time.monotonic
        monkeypatch.setattr(module.time, "monotonic", lambda: real() + self.passed_s)
        monkeypatch.setattr(standing_module, "monotonic", lambda: real() + self.passed_s)

    def look(self):
        """Look once, as the bridge does every few seconds."""
        self.told._note_changes()
        self.told._note_pings()
        asyncio.run(self.told._write())
        return self.read()

    def read(self):
        """What another program reads, by field."""
        return {
            field: opened_report(self.sealer, text, bridge_id=BRIDGE)
            for field, text in self.client.hgetall(KEY).items()
        }


@pytest.fixture
def rig(client, keyring, monkeypatch):
    """A bridge with an agent of the settings and one whose host is not known yet."""
    return Rig(client, keyring, (AGENT, LEARNER), monkeypatch)


def test_each_state_is_reported_with_its_reason(rig):
    """From the start to the removal of the host, and back."""
    rig.standing.waits_for_host(LEARNER, Wait.SEVERAL_HOSTS)
    found = rig.look()
    assert set(found) == {"h-1", f"agent:{LEARNER.hash}"}
    assert found["h-1"].state is WebsocketState.CONNECTING
    waiting = found[f"agent:{LEARNER.hash}"]
    assert (waiting.state, waiting.agent, waiting.host_uuid) == ("waiting", "b/1a5", "")
    assert "several hosts" in waiting.reason
    rig.standing.opened(AGENT)
    rig.standing.asked(AGENT)
    opened = rig.look()["h-1"]
    assert (opened.state, opened.reason, opened.silent) == ("open", "", False)
    assert opened.last_ping_ms is not None
    for ending, state in ((Ending.LOST, "connecting"), (Ending.UNAUTHORIZED, "refused")):
        rig.standing.closed(AGENT, ending, f"it was {ending}")
        found = rig.look()["h-1"]
        assert (found.state, found.reason) == (state, f"it was {ending}")
        assert found.last_ping_ms is None
    rig.standing.removed(AGENT, is_removed=True)
    assert rig.look()["h-1"].state is WebsocketState.REMOVED


def test_a_state_begins_with_its_first_report(rig):
    """A new reason does not make it younger."""
    first = rig.look()["h-1"]
    rig.standing.closed(AGENT, Ending.LOST, "no route")
    assert rig.look()["h-1"].since_ms == first.since_ms
    rig.standing.opened(AGENT)
    assert rig.look()["h-1"].since_ms >= first.since_ms


def test_a_websocket_that_is_cut_again_and_again_is_down(rig):
    """Since the first cut: people look at the seconds between two tries, and at any moment."""
    rig.standing.opened(AGENT)
    opened = rig.look()["h-1"]
    rig.told._clock.known_ms = lambda: (opened.since_ms + 60_000,)
    rig.standing.closed(AGENT, Ending.LOST, "cut")
    first = rig.look()["h-1"]
    assert first.since_ms == opened.since_ms + 60_000
    rig.told._clock.known_ms = lambda: (first.since_ms + 20_000,)
    rig.standing.opened(AGENT)
    assert rig.look()["h-1"].since_ms == first.since_ms + 20_000
    rig.standing.closed(AGENT, Ending.LOST, "cut")
    assert rig.look()["h-1"].since_ms == first.since_ms


def test_a_learned_host_replaces_the_hash_of_the_agent(rig):
    """People look for hosts."""
    rig.look()
    rig.standing.serves(LEARNER, "h-2")
    found = rig.look()
    assert {field: one.host_uuid for field, one in found.items()} == {"h-1": "h-1", "h-2": "h-2"}
    # The only field of a hash: a bridge that is killed now must not look alive for ever.
    rig.standing.forget(AGENT)
    rig.look()
    rig.standing.serves(LEARNER, "h-3")
    assert set(rig.look()) == {"h-3"}
    assert 0 < rig.client.pttl(KEY) <= keys.WEBSOCKETS_TTL_MS
    rig.standing.add(AGENT)
    rig.look()
    rig.standing.serves(LEARNER, "h-1")
    assert set(rig.look()) == {"h-1", f"agent:{LEARNER.hash}"}


def test_an_agent_that_left_is_not_reported(rig):
    """Its host left, or has other keys."""
    rig.look()
    rig.standing.forget(AGENT)
    assert set(rig.look()) == {f"agent:{LEARNER.hash}"}
    rig.standing.add(AGENT)
    assert "h-1" in rig.look()


def test_silence_of_cattle_is_a_change(rig):
    """Also of an agent whose turn is far away, and of one that was never pinged."""
    rig.standing.opened(AGENT)
    rig.standing.opened(LEARNER)
    rig.standing.asked(AGENT)
    assert not any(one.silent for one in rig.look().values())
    rig.passed_s = SILENT_AFTER_S + 1
    rig.told._clock.measure()
    assert rig.look()["h-1"].silent
    rig.passed_s = 0.0
    rig.standing.asked(AGENT)
    assert not rig.look()["h-1"].silent


def test_nothing_is_written_of_an_agent_at_rest(rig):
    """The times of pings aside; looks of the bridge at hosts that did not change count as rest."""
    rig.standing.opened(AGENT)
    rig.standing.asked(AGENT)
    rig.look()
    rig.client.config_resetstat()
    for _ in range(5):
        rig.passed_s += 1
        rig.standing.waits_for_host(AGENT, None)
        rig.standing.serves(AGENT, "h-1")
        rig.look()
    stats = rig.client.info("commandstats")
    assert stats["cmdstat_pexpire"]["calls"] == 5
    assert "cmdstat_hset" not in stats


def test_many_agents_at_rest_cost_as_much_as_few(client, keyring, monkeypatch):
    """One look writes the pings of `PINGS_AT_ONCE` agents; all have a turn."""
    agents = [
        AgentKeys(access_key=f"a-{n}", secret_key="secret", host_uuid=f"h-{n}") for n in range(450)
    ]
    rig = Rig(client, keyring, agents, monkeypatch)
    for agent in agents:
        rig.standing.opened(agent)
    before = rig.look()
    turns = []
    for number in range(3):
        for agent in agents:
            rig.standing.asked(agent)
        rig.passed_s += 10
        texts = client.hgetall(KEY)
        client.config_resetstat()
        rig.look()
        stats = client.info("commandstats")
        writes = {name: stats[f"cmdstat_{name}"]["calls"] for name in ("pexpire", "hset")}
        assert writes == {"pexpire": 1, "hset": 1}, number
        turns.append({field for field, text in client.hgetall(KEY).items() if text != texts[field]})
    assert [len(turn) for turn in turns] == [PINGS_AT_ONCE] * 3
    assert set().union(*turns) == set(before)


def test_a_redis_that_forgot_gets_all_reports_again(rig):
    """After an outage longer than the hash lives, or a flush."""
    before = set(rig.look())
    rig.client.delete(KEY)
    assert set(rig.look()) == before
    assert 0 < rig.client.pttl(KEY) <= keys.WEBSOCKETS_TTL_MS
    rig.client.delete(KEY)
    rig.client.set(KEY, "no hash")
    rig.standing.opened(AGENT)
    rig.look()
    assert set(rig.look()) == before


def test_reports_wait_for_an_absent_redis(rig, monkeypatch):
    """What changed meanwhile is written when it answers."""
    rig.look()
    rig.standing.opened(AGENT)

    def refuse(*_):
        raise redis.ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(rig.told, "_send", refuse)
        with pytest.raises(redis.ConnectionError):
            rig.look()
    assert rig.look()["h-1"].state is WebsocketState.OPEN


def test_a_bridge_that_leaves_removes_its_reports(rig):
    """They would be shown until they expire."""
    rig.look()
    asyncio.run(rig.told.leave())
    assert not rig.client.exists(KEY)
