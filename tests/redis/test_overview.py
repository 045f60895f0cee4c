"""The reading of a real Redis: views of a healthy installation, ages, problems, foreign data."""

import pytest
from cryptography.fernet import Fernet

from cowpoke import keys
from cowpoke.bridge_lease import WebsocketState
from cowpoke.figures import EngineState, LaneFigures
from cowpoke.lease import LaneProcess
from cowpoke.overview import read_overview
from cowpoke.seal import ClusterKeyring
from tests.redis.overviews import BRIDGE, ENGINE, ERROR, HOST, PULLS, SERVER, WORKER, Installation


@pytest.fixture
def installation(client, keyring):
    """One bridge, one host with one worker."""
    return Installation(client, keyring).begin()


def codes(client, keyring):
    """The problems, as code and subject; the Redis of the tests keeps no file."""
    found = read_overview(client, keyring).problems
    return [(one.code, one.subject) for one in found if one.code != "redis-not-persistent"]


def test_a_healthy_installation_is_read_whole(client, keyring, installation):
    """Each part says what it is, and nothing is wrong."""
    installation.bridge(errors=(ERROR,))
    installation.figures(PULLS)
    installation.event("e-1", age_ms=5_000)
    installation.event("e-2", "claimed", age_ms=9_000)
    client.xadd(keys.outbox(HOST), {"id": "e-0"})
    found = read_overview(client, keyring)
    assert codes(client, keyring) == []
    assert not found.needs_person
    (bridge,) = found.bridges
    assert (bridge.bridge_id, bridge.alive, bridge.server) == (BRIDGE, True, SERVER)
    assert (bridge.hostname, bridge.errors) == ("hub-1", (ERROR,))
    assert bridge.count(WebsocketState.OPEN) == 1
    (host,) = found.hosts
    assert (host.host_uuid, host.hostname, host.engine) == (HOST, "web-1", ENGINE)
    assert host.lanes() == {"compute": 1, "control": 1, "images": 1}
    assert host.workers[0].figures["images"] == PULLS
    assert host.queues["compute"].length == 1
    assert 5.0 <= host.queues["compute"].oldest_s < 60.0
    assert host.queues["control"].oldest_s is None
    assert (host.open_events, host.open_states) == (2, {"claimed": 1, "queued": 1})
    assert host.oldest_event.event_id == "e-2"
    assert 9.0 <= host.oldest_event.age_s < 60.0
    assert 0.0 < host.oldest_event.left_s <= 60.0
    assert (host.outbox, host.dead_letters) == (1, 0)
    assert host.websocket.state is WebsocketState.OPEN


def test_an_empty_redis_has_no_bridge(client, keyring):
    """Before the first one ran."""
    assert codes(client, keyring) == [("no-bridge", "bridges")]


def test_events_that_are_over_are_not_open(client, keyring, installation):
    """The sweeper removes their ids later."""
    installation.event("e-1", "answered")
    client.zadd(keys.open_events(HOST), {"lost": 1})
    (host,) = read_overview(client, keyring).hosts
    assert (host.open_events, host.open_states, host.oldest_event) == (0, {}, None)


def lanes(*names, consumes=True):
    """Processes of some lanes."""
    return tuple(LaneProcess(lane=one, boot_id=f"w.{one}.1", consumes=consumes) for one in names)


def _gone(one):
    one.leases.give_up(HOST, WORKER)


def _engine(one):
    down = EngineState(reachable=False, reason="cannot be reached")
    one.figures(LaneFigures(lane="images", engine=down))


def _no_bridge(one):
    one.client.delete(keys.bridge(BRIDGE), keys.websockets(BRIDGE))


def _refused_lease(one):
    one.client.set(keys.lease(HOST, WORKER), "forged", px=5_000)


def _letters(one):
    one.client.lpush(keys.dead_letters(HOST), "{}")


def _memory(one):
    used = one.client.info("memory")["used_memory"]
    one.client.config_set("maxmemory", round(used * 1.15))


#: What happens -> the problem.
FAULTS = {
    "host-without-worker": _gone,
    "lane-missing": lambda one: one.lease(lanes=lanes("compute", "control")),
    "engine-unreachable": _engine,
    "no-bridge": _no_bridge,
    "keys-differ": _refused_lease,
    "dead-letters": _letters,
    "events-stuck": lambda one: one.event("e-1", "claimed", age_ms=900_000, left_ms=-90_000),
    "pings-slow": lambda one: one.event("e-1", age_ms=20_000, lane="control"),
    "cattle-silent": lambda one: one.websocket(silent=True),
    "agent-removed": lambda one: one.websocket(WebsocketState.REMOVED),
    "agent-keys-refused": lambda one: one.websocket(WebsocketState.REFUSED),
    "cattle-unreachable": lambda one: one.websocket(WebsocketState.CONNECTING),
    "orphan-volumes": lambda one: one.lease(orphan_volumes=1),
    "versions-differ": lambda one: one.bridge(version="9.9"),
    "redis-memory": _memory,
}


@pytest.fixture
def own_memory_limit(client):
    """Whatever a test sets, the next one has no limit."""
    yield
    client.config_set("maxmemory", 0)


@pytest.mark.usefixtures("own_memory_limit")
@pytest.mark.parametrize("code", FAULTS)
def test_each_fault_shows_as_its_problem(client, keyring, installation, code):
    """By what the programs write in that case."""
    FAULTS[code](installation)
    assert [found for found, _ in codes(client, keyring)] == [code]


def test_a_bridge_whose_keys_are_refused_is_still_there(client, keyring, installation):
    """It gives its lease up and leaves the replies to others, but tries on."""
    client.delete(keys.bridge(BRIDGE))
    installation.websocket(WebsocketState.REFUSED)
    assert codes(client, keyring) == [("agent-keys-refused", HOST)]


def test_an_agent_whose_host_never_had_a_worker_is_shown(client, keyring, installation):
    """Only a bridge knows of it."""
    installation.websocket(WebsocketState.WAITING, host="h-2")
    found = read_overview(client, keyring)
    assert [host.host_uuid for host in found.hosts] == [HOST, "h-2"]
    assert codes(client, keyring) == [("host-without-worker", "h-2")]


def test_another_key_reads_nothing_and_says_so(client, installation):
    """The parts are there."""
    other = ClusterKeyring(Fernet.generate_key().decode())
    found = read_overview(client, other)
    assert {one.code for one in found.problems if one.needs_person} == {"keys-differ"}
    assert [one.readable for one in found.bridges] == [False]
    assert [one.lease for one in found.hosts[0].workers] == [None]


def test_foreign_data_concerns_only_its_own_key(client, keyring, installation):
    """Wrong types, no UTF-8, control characters, huge texts and forged figures."""
    client.sadd(keys.HOSTS, b"\xff\x1b[2J", "h-3")
    client.set(keys.open_events("h-3"), "a string")
    client.set("host.h-3.images", "a string")
    client.lpush("host.h-3", b"\xff" * 100, b"[" * 50_000)
    client.lpush("host.h-3.control", "x" * 200_000)
    client.sadd(keys.workers(HOST), "w-dead")
    client.hset(keys.figures(HOST, WORKER), "compute", b"\xff{")
    installation.event("e-1", "no state")
    client.set(keys.event(HOST, "e-2"), "a string")
    client.zadd(keys.open_events(HOST), {"e-2": 1})
    client.hset(keys.joined("h-4"), "f", "v")
    client.set(keys.removed("h-4"), "x" * 200_000)
    client.hset(keys.websockets(BRIDGE), "h-9", b"\xfe")
    client.delete(keys.OUTCOMES)
    client.set(keys.OUTCOMES, "a string")
    found = read_overview(client, keyring)
    subjects = {one.subject for one in found.problems if one.code == "entry-unreadable"}
    assert subjects == {
        keys.HOSTS,
        keys.OUTCOMES,
        keys.open_events("h-3"),
        "host.h-3.images",
        f"{keys.figures(HOST, WORKER)} compute",
        keys.open_events(HOST),
        keys.event(HOST, "e-2"),
        keys.joined("h-4"),
        keys.removed("h-4"),
        f"{keys.websockets(BRIDGE)} h-9",
    }
    hosts = {host.host_uuid: host for host in found.hosts}
    assert set(hosts) == {HOST, "h-3", "h-4"}
    assert [queue.length for queue in hosts["h-3"].queues.values()] == [2, 1, None]
    assert hosts[HOST].open_states == {"unreadable": 2}
    assert hosts[HOST].is_alive


def test_huge_texts_of_a_host_are_cut_in_redis(client, keyring, installation):
    """The user of a host writes its events, and must not fill the memory of bridges."""
    huge = "x" * 1_000_000
    installation.event("e-1", huge, age_ms=9_000)
    client.hset(keys.event(HOST, "e-1"), mapping={"name": huge, "lane": huge, "queued_ms": huge})
    client.zadd(keys.open_events(HOST), {f"{number}{huge[:1000]}": 1 for number in range(200)})
    for number in range(200):
        client.set(keys.event(HOST, f"{number}{huge[:1000]}"), "a string")
    client.sadd(keys.workers(HOST), huge)
    client.set(keys.lease(HOST, huge), "a lease")
    before = client.info("stats")["total_net_output_bytes"]
    found = read_overview(client, keyring)
    assert client.info("stats")["total_net_output_bytes"] - before < 100_000
    (host,) = found.hosts
    assert len(host.oldest_event.name) < 1_000
    assert [worker.worker_id for worker in host.workers] == [WORKER]


def test_a_thousand_hosts_cost_few_round_trips(client, keyring, installation):
    """Redis is asked for a hundred hosts at once."""
    client.zadd(keys.SEEN, {f"h-{number}": 1 for number in range(1_000)})
    before = client.info("stats")["total_net_input_bytes"]
    calls = client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
    found = read_overview(client, keyring)
    assert len(found.hosts) == 1_000
    assert client.info("commandstats")["cmdstat_evalsha"]["calls"] - calls <= 12
    assert client.info("stats")["total_net_input_bytes"] - before < 100_000
