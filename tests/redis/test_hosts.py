"""Which hosts a bridge takes for alive and for its agent's, by a real Redis."""

import asyncio
import json
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from bridge.awake import AwakeClock
from bridge.hosts.choice import Choice, Hosts, choose
from bridge.hosts.claims import Claims
from bridge.inbound.reconnect import Ending
from bridge.inbound.standing import Standing, Wait
from bridge.settings import AgentKeys
from cowpoke import keys
from cowpoke.liveness import Lease, Leases
from tests.ledgers import HOST, end_process, start_process

AWAY_AFTER_S = 1.0
GIVEN = AgentKeys(access_key="given", secret_key="secret", host_uuid=HOST)
LEARNING = AgentKeys(access_key="learning", secret_key="secret")
OTHER = AgentKeys(access_key="other", secret_key="secret")


def start_host(client, host_uuid):
    """Let a host have a live worker, however busy the machine is."""
    Leases(client).renew(
        Lease(
            boot_id=f"boot-of-{host_uuid}",
            host_uuid=host_uuid,
            lane="compute",
            node=f"compute@{host_uuid}",
            hostname=host_uuid,
            lock_domain=host_uuid,
            version="1",
            started_ms=0,
        )
    )
    client.persist(keys.lease(f"boot-of-{host_uuid}"))


def end_host(client, host_uuid):
    """Let a host have no worker."""
    Leases(client).give_up(host_uuid, f"boot-of-{host_uuid}")


@dataclass
class Looking:
    """One bridge's view, whose clock is the test's."""

    hosts: Hosts
    clock: AwakeClock
    standing: Standing
    agent: AgentKeys

    def look(self, after_s=0.0):
        """Look at the leases, and for some time on."""
        asyncio.run(self.hosts.look())
        for _ in range(round(after_s / 0.5)):
            self.clock.advance(0.5)
            asyncio.run(self.hosts.look())

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
def bridge(client, sealer):
    """Start the view of a bridge, soon tired of an absent host; its agent is the first one."""

    def start(*agents):
        agents = agents or (LEARNING,)
        clock, standing = AwakeClock(), Standing(agents)
        hosts = Hosts(
            Leases(client),
            agents,
            claims=Claims(client, sealer),
            standing=standing,
            clock=clock,
            away_after_s=AWAY_AFTER_S,
        )
        return Looking(hosts, clock, standing, agents[0])

    return start


def test_a_host_is_alive_while_a_process_of_it_is(client, bridge):
    """Whoever waits for it gets it with the next look."""
    looking = bridge(GIVEN)
    looking.look()
    assert (looking.host, looking.wait) == (None, Wait.HOST_AWAY)
    start_process(client)
    looking.look()
    assert (looking.host, looking.wait) == (HOST, Wait.SERVER)


def test_a_host_without_processes_for_long_is_away(client, bridge):
    """Its subscription ends: cattle would only count missed pings."""
    looking = bridge(GIVEN)
    start_process(client)
    looking.look()
    end_process(client)

    async def scenario():
        away = asyncio.create_task(looking.hosts.wait_away(HOST))
        for _ in range(2):
            await looking.hosts.look()
            await asyncio.sleep(0)
            assert not away.done()
            looking.clock.advance(0.5)
        looking.clock.advance(0.5)
        await looking.hosts.look()
        await asyncio.wait_for(away, 5)

    asyncio.run(scenario())


def test_paused_bridge_takes_no_host_for_away(client, bridge):
    """W 27: nobody could renew a lease while the machine was frozen."""
    looking = bridge(GIVEN)
    start_process(client)
    looking.look()
    end_process(client)
    looking.clock.advance(3600)
    looking.look()
    assert looking.hosts.is_alive(HOST)


def test_outage_of_redis_takes_no_host_for_away_or_replaced(client, bridge):
    """W 29: leases expire meanwhile, and another host may renew its own first."""
    start_host(client, "a")
    looking = bridge()
    looking.look()
    end_host(client, "a")
    looking.lose_redis(3600)
    start_host(client, "b")
    looking.look()
    assert looking.wait is Wait.HOST_AWAY
    start_host(client, "a")
    looking.look()
    assert looking.host == "a"


def test_only_host_is_learned_and_remembered(client, bridge):
    """W 29: a second host does not disarm the first one's bridge after a restart."""
    start_host(client, "a")
    first = bridge()
    first.look()
    assert first.host == "a"
    start_host(client, "b")
    restarted = bridge()
    restarted.look()
    assert restarted.host == "a"


def test_two_unknown_hosts_are_not_chosen_between(client, bridge):
    """W 29: the agent waits, and says for what."""
    start_host(client, "a")
    start_host(client, "b")
    looking = bridge()
    looking.look()
    looking.look()
    assert (looking.host, looking.wait) == (None, Wait.SEVERAL_HOSTS)


def test_host_of_another_agent_is_left_to_it(client, bridge):
    """W 29: the bridges of two hosts find their own, whichever worker comes first."""
    start_host(client, "a")
    first = bridge()
    first.look()
    second = bridge(OTHER)
    second.look()
    assert (second.host, second.wait) == (None, Wait.OTHER_AGENTS_HOST)
    start_host(client, "b")
    second.look()
    first.look()
    assert (first.host, second.host) == ("a", "b")


def test_configured_host_is_no_other_agents(client, bridge):
    """W 29: hosts that the settings name are claimed like learned ones."""
    start_process(client)
    bridge(GIVEN).look()
    second = bridge(OTHER)
    second.look()
    assert second.wait is Wait.OTHER_AGENTS_HOST


def test_host_with_new_keys_is_learned_when_the_old_bridge_is_gone(client, bridge):
    """W 29: a host that was registered again has the same uuid and another agent."""
    start_host(client, "a")
    bridge().look()
    client.delete(keys.served("a"))  # as its lifetime does
    again = bridge(OTHER)
    again.look()
    assert again.host == "a"


@pytest.mark.parametrize(
    ("ending", "is_kept"),
    [(Ending.UNAUTHORIZED, False), (Ending.WRONG_ACCOUNT, False), (Ending.LOST, True)],
)
def test_keys_that_cattle_does_not_know_hold_no_host(client, bridge, ending, is_kept):
    """W 29: a bridge that still runs with the keys of a removed agent lets the new one through."""
    start_host(client, "a")
    old = bridge()
    old.look()
    client.delete(keys.served("a"))
    old.standing.closed(LEARNING, ending)
    old.look(20)
    assert client.exists(keys.served("a")) == is_kept


def test_absent_hosts_of_many_agents_are_each_named(client, bridge):
    """W 29: once each, and not while a websocket is open."""
    agents = [AgentKeys(access_key=n, secret_key="s", host_uuid=f"host-{n}") for n in "abcd"]
    looking = bridge(*agents)
    start_host(client, "host-a")
    looking.standing.opened(agents[1])
    with capture_logs() as logs:
        looking.look()
        looking.look()
    assert looking.standing.waits() == {
        agents[0]: Wait.SERVER,
        agents[2]: Wait.HOST_AWAY,
        agents[3]: Wait.HOST_AWAY,
    }
    assert [entry["agent"] for entry in logs if entry["event"] == "host.unknown"] == ["c", "d"]


def test_replaced_host_is_taken_over(client, bridge):
    """W 29: its state was lost, and its worker came back with another uuid."""
    start_host(client, "a")
    looking = bridge()
    looking.look()
    end_host(client, "a")
    start_host(client, "new")
    looking.look(AWAY_AFTER_S)
    assert looking.wait is Wait.HOST_AWAY
    looking.look(AWAY_AFTER_S / 2)
    assert looking.host == "new"
    end_host(client, "new")
    start_host(client, "a")
    restarted = bridge()
    restarted.look()
    assert (restarted.host, restarted.wait) == (None, Wait.HOST_AWAY)


def test_restarted_bridge_takes_a_replaced_host_over(client, bridge):
    """W 29: also when the host was replaced while no bridge ran."""
    start_host(client, "a")
    bridge().look()
    end_host(client, "a")
    start_host(client, "new")
    restarted = bridge()
    restarted.look()
    assert restarted.wait is Wait.HOST_AWAY
    restarted.look(2 * AWAY_AFTER_S)
    assert restarted.host == "new"


def test_neighbor_is_no_replacement(client, bridge):
    """W 29: a host that lived beside an absent one is another host."""
    start_host(client, "a")
    looking = bridge()
    looking.look()
    start_host(client, "b")
    looking.look(10)
    end_host(client, "a")
    looking.look(2 * AWAY_AFTER_S)
    assert (looking.host, looking.wait) == (None, Wait.HOST_AWAY)
    start_host(client, "a")
    looking.look()
    assert looking.host == "a"


def test_memory_is_no_secret_and_shows_none(client, bridge):
    """W 29: neither key nor value of what is kept holds the agent's keys."""
    start_host(client, "a")
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
