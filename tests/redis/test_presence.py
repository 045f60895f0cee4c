"""Which workers live, as a bridge knows it by announcements and by the index of leases."""

import pytest
import redis

from bridge.hosts.presence import Change, Presence
from cowpoke import keys
from cowpoke.lease import Lease
from cowpoke.liveness import LEASE_CHANGED, LEASE_TTL_MS, RENEW_EVERY_S
from cowpoke.seal import ClusterKeyring
from simulator.rig.processes import wait_until
from tests.ledgers import HOST, lease

WORKER = "w1"
MEMBER = keys.member(HOST, WORKER)
CAME = Change(is_alive=True, was_alive=False, needs_sweep=True)
GONE = Change(is_alive=False, was_alive=True, needs_sweep=True)


@pytest.fixture
def presence(client, keyring):
    """The workers as one bridge knows them."""
    return Presence(client, keyring)


@pytest.fixture
def announced(client):
    """What was said on doorbells since the last call, as pairs of host and word."""
    with client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.psubscribe(f"{keys.DOORBELL_PREFIX}*")
        listener.get_message(timeout=5)

        def heard():
            found = []
            while (message := listener.get_message(timeout=0.2)) is not None:
                found.append(
                    (message["channel"].removeprefix(keys.DOORBELL_PREFIX), message["data"])
                )
            return found

        yield heard


def expire(presence):
    """Let the bridge look at the leases whose time has come."""
    while presence.expire():
        pass


def ends_ms(client, member=MEMBER):
    """When the index says that a lease may end; None for a worker that is not in it."""
    return client.zscore(keys.ALIVE, member)


def now_ms(client):
    """The time of the Redis server."""
    seconds, microseconds = client.time()
    return seconds * 1000 + microseconds // 1000


def test_worker_is_found_at_start(ledgers, presence):
    """Nobody announced it to this bridge."""
    ledgers.start_process()
    assert presence.read_all() == {HOST: CAME}
    assert presence.alive() == {HOST}
    assert presence.read_all() == {HOST: Change(is_alive=True, was_alive=True, needs_sweep=False)}


def test_worker_that_comes_and_goes_is_announced(ledgers, presence, announced):
    """A bridge reads the leases of that host only."""
    ledgers.start_process()
    assert announced() == [(HOST, LEASE_CHANGED)]
    assert presence.read([HOST]) == {HOST: CAME}
    ledgers.end_process()
    assert announced() == [(HOST, LEASE_CHANGED)]
    assert presence.read([HOST]) == {HOST: GONE}
    assert presence.alive() == set()


def test_index_holds_when_each_lease_ends(client, ledgers, presence):
    """A lease that was renewed moves on, without a word to the bridges."""
    ledgers.start_process()
    presence.read_all()
    expire(presence)
    assert 0 < ends_ms(client) - now_ms(client) <= LEASE_TTL_MS
    client.zadd(keys.ALIVE, {MEMBER: 0})
    expire(presence)
    assert ends_ms(client) > now_ms(client)


def test_dead_worker_is_announced_to_every_bridge(client, keyring, ledgers, presence, announced):
    """Its lease ran out: whichever bridge looks first tells the others."""
    ledgers.start_process()
    other = Presence(client, keyring)
    for bridge in (presence, other):
        bridge.read_all()
        expire(bridge)
    announced()
    client.delete(keys.lease(HOST, WORKER))
    client.zadd(keys.ALIVE, {MEMBER: now_ms(client) - 1})
    expire(other)
    assert announced() == [(HOST, LEASE_CHANGED)]
    assert ends_ms(client) is None
    for bridge in (presence, other):
        assert bridge.read([HOST]) == {HOST: GONE}
        assert not bridge.is_alive(HOST)


def test_dead_worker_is_gone_within_six_seconds(client, ledgers, presence, announced):
    """From its last renewal on, by the real clock, with a look every half second."""
    ledgers.start_process()
    presence.read_all()
    expire(presence)
    announced()
    began_ms = now_ms(client)
    heard = []

    def is_announced():
        expire(presence)
        heard.extend(announced())
        return heard

    wait_until(is_announced, 30, "the dead worker to be announced")
    left_ms = now_ms(client) - began_ms
    assert left_ms >= LEASE_TTL_MS - 1_000
    # Not measured on a busy machine: what the bridge waits for is the end of the lease alone.
    assert LEASE_TTL_MS + 1_000 <= 6_000
    assert 3 * RENEW_EVERY_S * 1000 <= LEASE_TTL_MS


def test_lost_index_is_made_again(client, ledgers, presence, announced):
    """A worker announces itself again and again only by its changes, so a bridge reads all."""
    ledgers.start_process()
    presence.read_all()
    client.delete(keys.ALIVE)
    presence.read_all()
    expire(presence)
    assert ends_ms(client) > now_ms(client)


@pytest.mark.parametrize("key", [keys.ALIVE, keys.SEEN])
def test_index_of_another_type_is_made_again(client, ledgers, presence, key):
    """Whoever wrote it: no host is dead for that, and no bridge stops looking."""
    ledgers.start_process()
    client.delete(key)
    client.lpush(key, "no zset")
    assert presence.read_all() == {HOST: CAME}
    expire(presence)
    client.delete(keys.ALIVE)
    client.set(keys.ALIVE, "no zset")
    expire(presence)
    assert presence.read_all()[HOST].is_alive
    assert ends_ms(client) is not None


@pytest.mark.parametrize("member", ["", "no-blank", "too many blanks", b"\xff \xfe", "host *"])
def test_member_of_the_index_that_is_no_worker_leaves_it(client, ledgers, presence, member):
    """It must not be looked at for ever."""
    ledgers.start_process()
    presence.read_all()
    client.zadd(keys.ALIVE, {member: 0})
    expire(presence)
    assert client.zrange(keys.ALIVE, 0, -1) == [MEMBER]


def test_set_of_workers_of_another_type_concerns_its_host_only(client, ledgers, presence):
    """One host may write to its keys what it likes."""
    ledgers.start_process()
    ledgers.start_process("w2.compute.1", "host-2")
    client.delete(keys.workers("host-2"))
    client.set(keys.workers("host-2"), "no set")
    found = presence.read_all()
    assert (found[HOST], found["host-2"].is_alive) == (CAME, False)
    ledgers.start_process("w2.compute.1", "host-2")
    assert presence.read(["host-2"])["host-2"] == CAME


@pytest.mark.parametrize(
    "write",
    [
        lambda client, key: client.set(key, "nonsense"),
        lambda client, key: client.set(key, b"\xff\xfe"),
        lambda client, key: client.set(key, "[" * 100_000),
        lambda client, key: client.set(key, '{"boots":["w2.compute.1"],"sealed":7}'),
        lambda client, key: client.hset(key, "a", "b"),
    ],
    ids=["text", "bytes", "deep", "unsealed", "hash"],
)
def test_lease_that_is_none_concerns_its_host_only(client, ledgers, presence, write):
    """A host with such a lease has no worker; the others are read as ever."""
    ledgers.start_process()
    ledgers.start_process("w2.compute.1", "host-2")
    key = keys.lease("host-2", "w2")
    client.delete(key)
    write(client, key)
    found = presence.read_all()
    assert (found[HOST], found["host-2"].is_alive) == (CAME, False)
    expire(presence)
    assert presence.alive() == {HOST}


def test_lease_of_another_key_is_counted_and_is_nobodys(ledgers, presence):
    """While keys are changed in the wrong order an operator sees which hosts are behind."""
    stranger = ClusterKeyring("A" * 43 + "=")
    ledgers.leases.renew(lease("w1.compute.1"), stranger.host(HOST))
    ledgers.leases.renew(lease("w2.compute.1", host="host-2"), ledgers.keyring.host(HOST))
    presence.read_all()
    assert presence.alive() == set()
    assert presence.unreadable() == [HOST, "host-2"]


def test_copied_lease_is_nobodys(client, ledgers, presence):
    """A sealed lease under another worker's name brings no dead worker to life."""
    ledgers.start_process()
    client.copy(keys.lease(HOST, WORKER), keys.lease(HOST, "w9"))
    client.sadd(keys.workers(HOST), "w9")
    presence.read_all()
    assert set(presence.workers(HOST)) == {WORKER}


def test_lease_without_an_end_is_not_announced_again_and_again(
    client, ledgers, presence, announced
):
    """A host that keeps its lease for ever costs a bridge one look every few seconds."""
    ledgers.start_process()
    client.persist(keys.lease(HOST, WORKER))
    presence.read_all()
    announced()
    expire(presence)
    assert announced() == []
    assert 0 < ends_ms(client) - now_ms(client) <= LEASE_TTL_MS
    assert presence.is_alive(HOST)


def test_keys_that_name_no_host_are_passed_over(client, ledgers, presence):
    """What a bridge finds under the prefix of leases is input."""
    ledgers.start_process()
    for name in (
        b"cowpoke:lease:\xff:w1",
        "cowpoke:lease:",
        "cowpoke:lease:a b:c",
        "cowpoke:lease:x",
    ):
        client.set(name, "x")
    assert set(presence.read_all()) == {HOST}


def test_lane_that_is_gone_has_its_events_looked_at(keyring, ledgers, presence):
    """The worker lives on, and its supervisor left the lane out of the lease."""
    both = lease("w1.compute.1", "w1.images.1")
    ledgers.leases.renew(both, keyring.host(HOST))
    presence.read_all()
    ledgers.leases.renew(lease("w1.images.1"), keyring.host(HOST))
    still = Change(is_alive=True, was_alive=True, needs_sweep=True)
    assert presence.read([HOST]) == {HOST: still}
    ledgers.leases.renew(lease("w1.images.1", orphan_volumes=1), keyring.host(HOST))
    assert not presence.read([HOST])[HOST].needs_sweep


def test_worker_without_a_lane_serves_nothing(keyring, ledgers, presence):
    """A supervisor whose lanes all died, or are not up yet."""
    none = Lease(worker_id="w1", host_uuid=HOST, lanes=())
    ledgers.leases.renew(none, keyring.host(HOST))
    presence.read_all()
    assert presence.alive() == set()


def test_events_of_workers_are_known_by_their_leases(keyring, ledgers, presence):
    """One worker that knows the event is enough; without a live one nothing is known."""
    assert presence.knows_event(HOST, "ping")
    for worker, events in (("w1", ("ping",)), ("w2", ("ping", "storage.image.activate"))):
        one = lease(f"{worker}.compute.1", events=events)
        ledgers.leases.renew(one, keyring.host(HOST))
    presence.read_all()
    assert presence.knows_event(HOST, "storage.image.activate")
    assert not presence.knows_event(HOST, "compute.instance.activate")
    assert presence.knows_event("host-2", "compute.instance.activate")


def test_change_is_not_lost_with_a_connection(client, ledgers, presence, monkeypatch):
    """Redis failed after the change was found: the next read tells it."""
    ledgers.start_process()

    def fail(*_, **__):
        raise redis.ConnectionError("gone")

    add = presence._add
    with monkeypatch.context() as patch:
        patch.setattr(
            presence, "_add", lambda key, scores: add(key, scores) if key == keys.ALIVE else fail()
        )
        with pytest.raises(redis.ConnectionError):
            presence.read([HOST])
    assert presence.read_all() == {HOST: CAME}


def _commands(client):
    stats = client.info("commandstats")
    return sum(row["calls"] for name, row in stats.items() if name != "cmdstat_info")


@pytest.mark.parametrize("hosts", [5, 200])
def test_hosts_at_rest_cost_nothing(client, keyring, ledgers, presence, hosts):
    """A look asks Redis once, however many hosts live and however many events are done."""
    for number in range(hosts):
        one = lease(f"w{number}.compute.1", host=f"host-{number}")
        ledgers.leases.renew(one, keyring.host(one.host_uuid))
        client.pexpire(keys.lease(one.host_uuid, one.worker_id), 600_000)
    presence.read_all()
    expire(presence)
    before = _commands(client)
    for _ in range(10):
        expire(presence)
    # The call itself, and in it the time, the type and the range of the index.
    assert _commands(client) - before == 10 * 5


def test_cost_of_a_look_grows_with_what_is_overdue(client, keyring, ledgers, presence):
    """Of many hosts only those whose lease may have ended are looked at."""
    for number in range(100):
        one = lease(f"w{number}.compute.1", host=f"host-{number}")
        ledgers.leases.renew(one, keyring.host(one.host_uuid))
        client.pexpire(keys.lease(one.host_uuid, one.worker_id), 600_000)
    presence.read_all()
    expire(presence)
    client.zadd(keys.ALIVE, {keys.member("host-7", "w7"): 0})
    before = _commands(client)
    expire(presence)
    assert _commands(client) - before == 5 + 2
