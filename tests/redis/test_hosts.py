"""Which hosts a bridge takes for alive and for its agent's, by a real Redis."""

import asyncio
import json
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from bridge.awake import AwakeClock
from bridge.hosts.choice import CLAIM_EVERY_S, Hosts
from bridge.hosts.claims import Claims
from bridge.hosts.decision import Choice, choose
from bridge.hosts.presence import Presence
from bridge.inbound.reconnect import Ending
from bridge.inbound.standing import Standing, Wait
from bridge.settings import AgentKeys
from cowpoke import keys
from cowpoke.liveness import Leases
from tests.ledgers import HOST, lease

AWAY_AFTER_S = 1.0
GIVEN = AgentKeys(access_key="given", secret_key="secret", host_uuid=HOST)
LEARNING = AgentKeys(access_key="learning", secret_key="secret")
OTHER = AgentKeys(access_key="other", secret_key="secret")


@pytest.fixture
def start_host(client, keyring):
    """Let a host have a live worker, however busy the machine is."""

    def start(host_uuid):
        worker_id = f"worker-of-{host_uuid}"
        Leases(client).renew(
            lease(f"{worker_id}.compute.1", host=host_uuid), keyring.host(host_uuid)
        )
        client.persist(keys.lease(host_uuid, worker_id))

    return start


@pytest.fixture
def end_host(client):
    """Let a host have no worker."""

    def end(host_uuid):
        Leases(client).give_up(host_uuid, f"worker-of-{host_uuid}")

    return end


@dataclass
class Looking:
    """One bridge's view, whose clock is the test's."""

    presence: Presence
    hosts: Hosts
    clock: AwakeClock
    standing: Standing
    agent: AgentKeys

    def look(self, after_s=0.0):
        """Look at the leases, and for some time on."""
        asyncio.run(self.look_once())
        for _ in range(round(after_s / 0.5)):
            self.clock.advance(0.5)
            asyncio.run(self.look_once())

    async def look_once(self):
        """Take over what changed in Redis."""
        await self.hosts.look(self.presence.read_all())

    def lose_redis(self, for_s):
        """Let time pass without a look."""
        for _ in range(round(for_s / 0.5)):
            self.clock.advance(0.5)

    @property
    def host(self):
        """The host of the agent while it is alive, else None."""

        async def ask():
            waiting = asyncio.create_task(self.hosts.wait_alive(self.agent))
            await asyncio.sleep(0.01)
            waiting.cancel()
            return waiting.result() if waiting.done() and not waiting.cancelled() else None

        return asyncio.run(ask())

    @property
    def wait(self):
        """What the agent waits for."""
        return self.standing.waits()[self.agent]


@pytest.fixture
def bridge(client, keyring):
    """Start the view of a bridge, soon tired of an absent host; its agent is the first one."""

    def start(*agents):
        agents = agents or (LEARNING,)
        clock, standing = AwakeClock(), Standing(agents)
        presence = Presence(client, keyring)
        hosts = Hosts(
            presence,
            agents,
            claims=Claims(client, keyring.bridge),
            standing=standing,
            clock=clock,
            away_after_s=AWAY_AFTER_S,
        )
        return Looking(presence, hosts, clock, standing, agents[0])

    return start


def test_a_host_is_alive_while_a_process_of_it_is(bridge, start_host):
    """Whoever waits for it gets it with the next look."""
    looking = bridge(GIVEN)
    looking.look()
    assert (looking.host, looking.wait) == (None, Wait.HOST_AWAY)
    start_host(HOST)
    looking.look()
    assert (looking.host, looking.wait) == (HOST, Wait.SERVER)


def test_a_host_without_processes_for_long_is_away(bridge, start_host, end_host):
    """Its subscription ends: cattle would only count missed pings."""
    looking = bridge(GIVEN)
    start_host(HOST)
    looking.look()
    end_host(HOST)

    async def scenario():
        away = asyncio.create_task(looking.hosts.wait_away(HOST))
        for _ in range(2):
            await looking.look_once()
            await asyncio.sleep(0)
            assert not away.done()
            looking.clock.advance(0.5)
        looking.clock.advance(0.5)
        await looking.look_once()
        await asyncio.wait_for(away, 5)

    asyncio.run(scenario())


def test_paused_bridge_takes_no_host_for_away(bridge, start_host, end_host):
    """W 27: nobody could renew a lease while the machine was frozen."""
    looking = bridge(GIVEN)
    start_host(HOST)
    looking.look()
    end_host(HOST)
    looking.clock.advance(3600)

    async def scenario():
        away = asyncio.create_task(looking.hosts.wait_away(HOST))
        await looking.look_once()
        await asyncio.sleep(0)
        assert not away.done()
        away.cancel()

    asyncio.run(scenario())


def test_outage_of_redis_takes_no_host_for_away_or_replaced(bridge, start_host, end_host):
    """W 29: leases expire meanwhile, and another host may renew its own first."""
    start_host("a")
    looking = bridge()
    looking.look()
    end_host("a")
    looking.lose_redis(3600)
    start_host("b")
    looking.look()
    assert looking.wait is Wait.HOST_AWAY
    start_host("a")
    looking.look()
    assert looking.host == "a"


def test_only_host_is_learned_and_remembered(bridge, start_host):
    """W 29: a second host does not disarm the first one's bridge after a restart."""
    start_host("a")
    first = bridge()
    first.look()
    assert first.host == "a"
    start_host("b")
    restarted = bridge()
    restarted.look()
    assert restarted.host == "a"


def test_two_unknown_hosts_are_not_chosen_between(bridge, start_host):
    """W 29: the agent waits, and says for what."""
    start_host("a")
    start_host("b")
    looking = bridge()
    looking.look()
    looking.look()
    assert (looking.host, looking.wait) == (None, Wait.SEVERAL_HOSTS)


def test_host_of_another_agent_is_left_to_it(bridge, start_host):
    """W 29: the bridges of two hosts find their own, whichever worker comes first."""
    start_host("a")
    first = bridge()
    first.look()
    second = bridge(OTHER)
    second.look()
    assert (second.host, second.wait) == (None, Wait.OTHER_AGENTS_HOST)
    start_host("b")
    second.look()
    first.look()
    assert (first.host, second.host) == ("a", "b")


def test_configured_host_is_no_other_agents(bridge, start_host):
    """W 29: hosts that the settings name are claimed like learned ones."""
    start_host(HOST)
    bridge(GIVEN).look()
    second = bridge(OTHER)
    second.look()
    assert second.wait is Wait.OTHER_AGENTS_HOST


def test_host_with_new_keys_is_learned_when_the_old_bridge_is_gone(client, bridge, start_host):
    """W 29: a host that was registered again has the same uuid and another agent."""
    start_host("a")
    bridge().look()
    client.delete(keys.served("a"))  # as its lifetime does
    again = bridge(OTHER)
    again.look()
    assert again.host == "a"


@pytest.mark.parametrize(
    ("ending", "is_kept"),
    [(Ending.UNAUTHORIZED, False), (Ending.WRONG_ACCOUNT, False), (Ending.LOST, True)],
)
def test_keys_that_cattle_does_not_know_hold_no_host(client, bridge, ending, is_kept, start_host):
    """W 29: a bridge that still runs with the keys of a removed agent lets the new one through."""
    start_host("a")
    old = bridge()
    old.look()
    client.delete(keys.served("a"))
    old.standing.closed(LEARNING, ending)
    old.look(2 * CLAIM_EVERY_S)
    assert client.exists(keys.served("a")) == is_kept


@pytest.mark.parametrize("agent", [GIVEN, LEARNING], ids=["given", "learned"])
def test_keys_that_are_good_again_hold_their_host_at_once(client, bridge, agent, start_host):
    """Not with the next renewal of claims: another agent would take the host before."""
    one = bridge(agent)
    start_host(HOST)
    one.look()
    one.standing.closed(agent, Ending.UNAUTHORIZED)
    one.look(after_s=CLAIM_EVERY_S)
    assert client.get(keys.served(HOST)) is None
    one.standing.opened(agent)
    one.look()
    assert client.get(keys.served(HOST)) == agent.hash
    other = bridge(OTHER)
    other.look()
    assert other.host is None


def test_absent_hosts_of_many_agents_are_each_named(bridge, start_host):
    """W 29: once each, and not while a websocket is open."""
    agents = [AgentKeys(access_key=n, secret_key="s", host_uuid=f"host-{n}") for n in "abcd"]
    looking = bridge(*agents)
    start_host("host-a")
    looking.standing.opened(agents[1])
    with capture_logs() as logs:
        looking.look()
        looking.look()
    assert looking.standing.waits() == {
        agents[0]: Wait.SERVER,
        agents[2]: Wait.HOST_AWAY,
        agents[3]: Wait.HOST_AWAY,
    }
    assert _unknown(logs) == ["c", "d"]


def _unknown(logs):
    return sorted(entry["agent"] for entry in logs if entry["event"] == "host.unknown")


def test_absence_is_logged_once_the_websocket_is_closed(bridge, start_host, end_host):
    """W 29: until then the host has its grace time, and may be back."""
    looking = bridge(GIVEN)
    start_host(HOST)
    looking.look()
    looking.standing.opened(GIVEN)
    end_host(HOST)
    with capture_logs() as logs:
        looking.look(AWAY_AFTER_S)
        assert _unknown(logs) == []
        looking.standing.closed(GIVEN, Ending.LOST)
        looking.look(1)
    assert _unknown(logs) == ["given"]


def test_configured_host_is_claimed_as_soon_as_it_comes(client, bridge, start_host):
    """W 29: an agent whose host is to be learned must not be faster."""
    looking = bridge(GIVEN)
    looking.look()
    start_host(HOST)
    looking.look()
    assert client.get(keys.served(HOST)) == GIVEN.hash


def test_replaced_host_is_taken_over(bridge, start_host, end_host):
    """W 29: its state was lost, and its worker came back with another uuid."""
    start_host("a")
    looking = bridge()
    looking.look()
    end_host("a")
    start_host("new")
    looking.look(AWAY_AFTER_S)
    assert looking.wait is Wait.HOST_AWAY
    looking.look(AWAY_AFTER_S / 2)
    assert looking.host == "new"
    end_host("new")
    start_host("a")
    restarted = bridge()
    restarted.look()
    assert (restarted.host, restarted.wait) == (None, Wait.HOST_AWAY)


def test_restarted_bridge_takes_a_replaced_host_over(bridge, start_host, end_host):
    """W 29: also when the host was replaced while no bridge ran."""
    start_host("a")
    bridge().look()
    end_host("a")
    start_host("new")
    restarted = bridge()
    restarted.look()
    assert restarted.wait is Wait.HOST_AWAY
    restarted.look(2 * AWAY_AFTER_S)
    assert restarted.host == "new"


def test_neighbor_is_no_replacement(bridge, start_host, end_host):
    """W 29: a host that lived beside an absent one is another host."""
    start_host("a")
    looking = bridge()
    looking.look()
    start_host("b")
    looking.look(10)
    end_host("a")
    looking.look(2 * AWAY_AFTER_S)
    assert (looking.host, looking.wait) == (None, Wait.HOST_AWAY)
    start_host("a")
    looking.look()
    assert looking.host == "a"


def test_memory_is_no_secret_and_shows_none(client, bridge, start_host):
    """W 29: neither key nor value of what is kept holds the agent's keys."""
    start_host("a")
    bridge().look()
    kept = {name: client.get(name) for name in client.keys("cowpoke:agent:*")}
    assert len(kept) == 1
    assert "learning" not in json.dumps(kept)
    assert "secret" not in json.dumps(kept)


@pytest.mark.parametrize(
    ("known", "alive", "of_others", "is_gone", "neighbors", "choice"),
    [
        (None, "", "", False, "", Choice(host_uuid=None, wait=Wait.NO_WORKER)),
        (None, "a", "", False, "", Choice(host_uuid="a")),
        (None, "ab", "", False, "", Choice(host_uuid=None, wait=Wait.SEVERAL_HOSTS)),
        (None, "ab", "a", False, "", Choice(host_uuid="b")),
        (None, "a", "a", False, "", Choice(host_uuid=None, wait=Wait.OTHER_AGENTS_HOST)),
        ("a", "ab", "", False, "", Choice(host_uuid="a")),
        ("a", "b", "", False, "", Choice(host_uuid="a", wait=Wait.HOST_AWAY)),
        ("a", "b", "", True, "", Choice(host_uuid="b")),
        ("a", "b", "b", True, "", Choice(host_uuid="a", wait=Wait.HOST_AWAY)),
        ("a", "b", "", True, "b", Choice(host_uuid="a", wait=Wait.HOST_AWAY)),
        ("a", "bc", "", True, "b", Choice(host_uuid="c")),
        ("a", "bc", "", True, "", Choice(host_uuid="a", wait=Wait.SEVERAL_HOSTS)),
        ("a", "", "", True, "", Choice(host_uuid="a", wait=Wait.HOST_AWAY)),
    ],
)
def test_host_is_chosen_where_there_is_no_doubt(
    known, alive, of_others, is_gone, neighbors, choice
):
    """W 29: every case of what may be known and alive; letters are hosts."""
    found = choose(
        known,
        alive=set(alive),
        of_others=set(of_others),
        is_gone=is_gone,
        neighbors=set(neighbors),
    )
    assert found == choice
