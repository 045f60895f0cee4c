"""What `/metrics` of a bridge tells: its own counts, and what a real Redis knows."""

import asyncio
from collections import Counter

import pytest

from bridge.agents.registry import Agents
from bridge.hosts.presence import Presence
from bridge.inbound.reconnect import Ending
from bridge.inbound.standing import Standing, Wait
from bridge.metrics.collector import Metrics
from bridge.metrics.finished import FinishedCounts
from bridge.metrics.own import OwnMetrics
from bridge.settings import AgentKeys
from bridge.web.readiness import Readiness
from bridge.web.watched import Watched
from cowpoke import keys
from cowpoke.broker import BrokerSettings, connect
from cowpoke.outcomes import error
from cowpoke.overview import read_overview
from cowpoke.seal import ClusterKeyring
from simulator.rig.redis_server import RedisServer
from tests.ledgers import HOST, lease

AGENTS = (
    AgentKeys(access_key="a", secret_key="secret-of-a", host_uuid="host-a"),
    AgentKeys(access_key="b", secret_key="secret-of-b", host_uuid="host-b", agent_id="1a5"),
)


@pytest.fixture
def presence(client, keyring):
    """The live workers as the bridge knows them."""
    return Presence(client, keyring)


@pytest.fixture
def counts(presence, keyring):
    """The parts of a bridge, and what they counted."""
    return {
        "counts": {
            "events": Counter(queued=3),
            "replies": Counter(sent=2),
            "swept": Counter(resend=1),
            "container_events": Counter(posted=4),
            "container_events_refused": Counter({"422": 5}),
        },
        "agents": Agents(AGENTS),
        "unused": {},
        "standing": Standing(AGENTS),
        "presence": presence,
        "keyring": keyring,
    }


def scrape(client, counts):
    """Everything that a scrape shows: `name, label values` -> value."""
    watched = Watched(lambda: (read_overview(client, counts["keyring"]), []))
    readiness = Readiness(
        lambda: client.ping() and None,
        standing=counts["standing"],
        hosts_known=lambda: True,
        is_stopping=lambda: False,
    )
    metrics = Metrics(
        OwnMetrics(**counts),
        FinishedCounts(),
        watched=watched,
        readiness=readiness,
        most_hosts=10,
    )

    async def both():
        return await watched.latest(), await readiness.health()

    families = metrics.families(*asyncio.run(both()))
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_scrape_shows_counts_hosts_and_what_waits(client, ledgers, counts, presence, keyring):
    """Events, replies, sweeps; open events, processes and outcomes that cattle has not taken."""
    key, host_key = keyring.fingerprints[0], keyring.host(HOST).fingerprints[0]
    for boots in (["w1.compute.1", "w1.control.2"], ["w2.compute.1"]):
        one = lease(*boots, fingerprints=(host_key,))
        ledgers.leases.renew(one, keyring.host(HOST))
    presence.read_all()
    done = ledgers.accept()
    ledgers.accept()
    worker = ledgers.worker("w1.compute.1")
    worker.claim(done)
    worker.complete(done, error("a", "b"))
    ledgers.outboxes.collect(HOST)
    found = scrape(client, counts)
    wanted = {
        ("cowpoke_events_total", "queued"): 3,
        ("cowpoke_websockets_open", "a"): 0,
        ("cowpoke_websockets_open", "b/1a5"): 0,
        ("cowpoke_agent_waiting", "a", "server"): 1,
        ("cowpoke_agent_waiting", "b/1a5", "server"): 1,
        ("cowpoke_agents", "settings"): 2,
        ("cowpoke_agents", "joined"): 0,
        ("cowpoke_replies_total", "sent"): 2,
        ("cowpoke_swept_total", "resend"): 1,
        ("cowpoke_container_events_total", "posted"): 4,
        ("cowpoke_container_events_refused_total", "422"): 5,
        ("cowpoke_outcomes_waiting",): 1,
        ("cowpoke_dead_letters",): 0,
        ("cowpoke_open_events", HOST): 1,
        ("cowpoke_worker_processes", HOST, "compute"): 2,
        ("cowpoke_worker_processes", HOST, "control"): 1,
        ("cowpoke_orphan_volumes", HOST): 0,
        ("cowpoke_unreadable_workers", HOST): 0,
        ("cowpoke_keys", "bridge", "", "1", key): 1,
        ("cowpoke_keys", "bridge", HOST, "1", host_key): 1,
        ("cowpoke_keys", "worker", HOST, "1", host_key): 2,
        ("cowpoke_queue_messages", "compute"): 2,
        ("cowpoke_lane_processes", "compute"): 2,
        ("cowpoke_redis_up",): 1,
        ("cowpoke_problems", "no-bridge", "true"): 1,
    }
    assert {key: found.get(key) for key in wanted} == wanted
    assert found["cowpoke_redis_memory_bytes",] > 0


def test_orphaned_volumes_are_counted_once_per_host(client, ledgers, counts, presence, keyring):
    """A 13.8: all workers of a host tell the same number, of one folder."""
    for worker, orphans in (("w1", 0), ("w2", 2), ("w3", 2)):
        one = lease(f"{worker}.images.1", orphan_volumes=orphans)
        ledgers.leases.renew(one, keyring.host(HOST))
    presence.read_all()
    assert scrape(client, counts)["cowpoke_orphan_volumes", HOST] == 2


def test_without_redis_a_scrape_still_shows_the_bridges_own(counts):
    """An outage is when an operator looks."""
    server = RedisServer().start()
    with connect(BrokerSettings.model_validate({"REDIS_URL": server.url})) as client:
        server.stop()
        found = scrape(client, counts)
    assert found["cowpoke_redis_up",] == 0
    assert found["cowpoke_events_total", "queued"] == 3


def test_workers_with_other_keys_are_counted(client, ledgers, counts, presence):
    """An operator who changes keys sees which hosts are behind."""
    stranger = ClusterKeyring("A" * 43 + "=")
    ledgers.leases.renew(lease("w1.compute.1"), stranger.host(HOST))
    presence.read_all()
    found = scrape(client, counts)
    assert found["cowpoke_unreadable_workers", HOST] == 1
    assert ("cowpoke_worker_processes", HOST, "compute") not in found


def test_key_of_another_type_does_not_hide_the_rest(client, ledgers, counts):
    """One host may write to its own keys what it likes; a scrape shows the other hosts."""
    ledgers.accept()
    ledgers.accept(host="host-2")
    client.set(keys.open_events("host-2"), "no zset")
    assert scrape(client, counts)["cowpoke_open_events", HOST] == 1


def test_scrape_shows_what_each_agent_waits_for(client, counts):
    """W 29: a bridge without a websocket is not healthy, and says per agent why."""
    first, second = AGENTS
    standing = counts["standing"]
    standing.opened(first)
    standing.waits_for_host(second, Wait.HOST_AWAY)

    def seen():
        found = scrape(client, counts)
        names = ("cowpoke_websockets_open", "cowpoke_agent_waiting")
        return {key[1:]: value for key, value in found.items() if key[0] in names}

    assert seen() == {("a",): 1, ("b/1a5",): 0, ("b/1a5", "host-away"): 1}
    standing.closed(first, Ending.WRONG_ACCOUNT)
    standing.waits_for_host(second, None)
    assert seen() == {
        ("a",): 0,
        ("b/1a5",): 0,
        ("a", "keys-refused"): 1,
        ("b/1a5", "server"): 1,
    }
