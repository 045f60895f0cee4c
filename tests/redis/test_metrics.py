"""What `/metrics` of a bridge tells: its own counts, and what a real Redis knows."""

from collections import Counter
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from bridge.inbound.reconnect import Ending
from bridge.inbound.standing import Standing, Wait
from bridge.metrics import BridgeCollector
from bridge.settings import AgentKeys
from cowpoke.broker import BrokerSettings, connect
from cowpoke.liveness import Leases
from cowpoke.outcomes import error
from simulator.rig.redis_server import RedisServer
from tests.ledgers import HOST, accept, start_process

AGENTS = (
    AgentKeys(access_key="a", secret_key="secret-of-a", host_uuid="host-a"),
    AgentKeys(access_key="b", secret_key="secret-of-b", host_uuid="host-b", agent_id="1a5"),
)


@pytest.fixture
def counts():
    """Counts as the bridge's parts keep them."""
    return {
        "intake": Counter(queued=3),
        "outbox": Counter(sent=2),
        "swept": Counter(resend=1),
        "standing": Standing(AGENTS),
    }


def scrape(client, counts):
    """Everything that a scrape shows: `name{labels}` -> value."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(BridgeCollector(client, **counts))
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in registry.collect()
        for sample in metric.samples
    }


def test_a_scrape_shows_counts_hosts_and_what_waits(client, ledger, counts):
    """Events, replies, sweeps; open events, processes and outcomes that cattle has not taken."""
    for boot, lane in (("b1", "compute"), ("b2", "compute"), ("b3", "control")):
        start_process(client, boot, lane)
    done = accept(ledger)
    accept(ledger)
    ledger.take(done, "b1")
    ledger.settle(done, error("a", "b"))
    found = scrape(client, counts)
    assert {key: found[key] for key in found if key[0] != "cowpoke_redis_up"} == {
        ("cowpoke_events_total", "queued"): 3,
        ("cowpoke_websockets_open", "a"): 0,
        ("cowpoke_websockets_open", "b/1a5"): 0,
        ("cowpoke_agent_waiting", "a", "server"): 1,
        ("cowpoke_agent_waiting", "b/1a5", "server"): 1,
        ("cowpoke_replies_total", "sent"): 2,
        ("cowpoke_swept_total", "resend"): 1,
        ("cowpoke_outcomes_waiting",): 1,
        ("cowpoke_open_events", HOST): 1,
        ("cowpoke_worker_processes", HOST, "compute"): 2,
        ("cowpoke_worker_processes", HOST, "control"): 1,
        ("cowpoke_orphan_volumes", HOST): 0,
    }


def test_orphaned_volumes_are_counted_once_per_host(client, counts):
    """A 13.8: all workers of a host tell the same number, of one folder."""
    leases = Leases(client)
    for boot, orphans in (("b1", 0), ("b2", 2), ("b3", 2)):
        start_process(client, boot, "images")
        leases.renew(replace(leases.of_host(HOST)[boot], orphan_volumes=orphans))
    assert scrape(client, counts)["cowpoke_orphan_volumes", HOST] == 2


def test_without_redis_a_scrape_still_shows_the_bridges_own(counts):
    """An outage is when an operator looks."""
    server = RedisServer().start()
    with connect(BrokerSettings.model_validate({"REDIS_URL": server.url})) as client:
        server.stop()
        found = scrape(client, counts)
    assert found["cowpoke_redis_up",] == 0
    assert found["cowpoke_events_total", "queued"] == 3


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
