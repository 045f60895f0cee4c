"""What a bridge does about hosts that come, go and stay away: the tasks, on a real Redis."""

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from cryptography.fernet import Fernet

from bridge.awake import AwakeClock
from bridge.doorbell import Doorbell
from bridge.hosts import sweeping as sweeping_module
from bridge.hosts.choice import Hosts
from bridge.hosts.claims import Claims
from bridge.hosts.forgetting import forget_gone
from bridge.hosts.presence import Presence
from bridge.hosts.sweeping import Sweeping
from bridge.hosts.watching import GATHER_S, Watching
from bridge.inbound.standing import Standing
from bridge.settings import AgentKeys
from cowpoke import keys
from cowpoke.broker import connect
from cowpoke.clock import Clock
from cowpoke.host_keys import check_keys
from cowpoke.ledger.states import State, Verdict
from cowpoke.liveness import LEASE_CHANGED, Leases
from cowpoke.outcomes import success
from cowpoke.seal import ClusterKeyring
from cowpoke.settings import BrokerSettings
from simulator.rig.processes import wait_until
from tests.ledgers import HOST, GrownSweeper, Ledgers

AGENT = AgentKeys(access_key="a", secret_key="s", host_uuid=HOST)
WITHIN_S = 30.0


@dataclass
class Bridge:
    """The part of a bridge that looks after hosts."""

    presence: Presence
    hosts: Hosts
    sweeping: Sweeping
    doorbell: Doorbell


@pytest.fixture
def watching(redis_url, keyring):
    """Start that part, with a client of its own."""

    @asynccontextmanager
    async def start(bridge_id="b1"):
        with connect(BrokerSettings.model_validate({"REDIS_URL": redis_url})) as client:
            Leases(client).renew_bridge(bridge_id)
            doorbell, presence = Doorbell(client), Presence(client, keyring)
            hosts = Hosts(
                presence,
                (AGENT,),
                claims=Claims(client, keyring.bridge),
                standing=Standing((AGENT,)),
                clock=AwakeClock(),
            )
            sweeping = Sweeping(GrownSweeper(client, keyring, Clock(client)))
            watch = Watching(
                client,
                keyring,
                bridge_id,
                doorbell=doorbell,
                presence=presence,
                hosts=hosts,
                sweep=sweeping.add,
            )
            doorbell.start()
            tasks = [asyncio.create_task(watch.run()), asyncio.create_task(sweeping.run())]
            try:
                yield Bridge(presence, hosts, sweeping, doorbell)
            finally:
                doorbell.stop()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                pool = client.connection_pool._in_use_connections
                await asyncio.to_thread(wait_until, lambda: not pool, WITHIN_S, "the last calls")

    return start


async def until(condition, what):
    """Wait for a condition, in a thread."""
    await asyncio.to_thread(wait_until, condition, WITHIN_S, what)


def test_host_that_comes_is_served_and_told_of_our_keys(client, keyring, ledgers, watching):
    """Its agent is served, and its worker can compare its keys."""

    async def scenario():
        async with watching() as bridge:
            await until(client.pubsub_numpat, "the doorbell")
            ledgers.start_process()
            client.persist(keys.lease(HOST, "w1"))
            assert await asyncio.wait_for(bridge.hosts.wait_alive(AGENT), WITHIN_S) == HOST
            await until(lambda: client.hexists(keys.host_keys(HOST), "b1"), "the note")

    asyncio.run(scenario())
    sealer = keyring.host(HOST)
    assert check_keys(client, HOST, sealer).opened_by_bridges == sealer.fingerprints


def test_hosts_with_other_keys_get_no_note_of_ours(client, ledgers, watching):
    """Those of another cluster on this Redis; a host with a key of ours may join some time."""
    stranger = Ledgers(client, ClusterKeyring(Fernet.generate_key().decode()))

    async def scenario():
        async with watching():
            stranger.start_process("w2.compute.1", "host-2")
            ledgers.start_process("w3.compute.1", "host-3")
            ledgers.start_process()
            for host in (HOST, "host-3"):
                await until(lambda host=host: client.hexists(keys.host_keys(host), "b1"), "a note")

    asyncio.run(scenario())
    assert not client.exists(keys.host_keys("host-2"))


def test_events_of_a_dead_worker_are_sent_again(client, ledgers, watching):
    """Its lease ran out, without a word; another worker of the host is there."""
    dead = ledgers.start_process("w1.compute.1")
    live = ledgers.start_process("w2.compute.1")
    client.persist(keys.lease(HOST, "w2"))
    event_id = ledgers.accept()
    assert dead.claim(event_id).verdict is Verdict.CLAIMED

    async def scenario():
        async with watching() as bridge:
            await until(lambda: "w1" in bridge.presence.workers(HOST), "both workers")
            client.delete(keys.lease(HOST, "w1"))
            client.zadd(keys.ALIVE, {keys.member(HOST, "w1"): 0})
            # Counted a moment after it took effect.
            await until(lambda: bridge.sweeping.counts, "the event sent again")
            assert ledgers.state(event_id) == State.QUEUED
            return bridge

    bridge = asyncio.run(scenario())
    assert bridge.sweeping.counts == {"resend": 1}
    assert live.claim(event_id).verdict is Verdict.CLAIMED


def test_lost_message_is_sent_again_without_a_word(client, ledgers, watching):
    """The index says when to look; nothing was announced."""
    ledgers.start_process()
    client.persist(keys.lease(HOST, "w1"))
    event_id = ledgers.accept()
    client.delete(f"host.{HOST}")

    async def scenario():
        async with watching():
            await until(lambda: ledgers.queued() == [event_id], "the message")

    asyncio.run(scenario())


def test_event_that_lost_its_place_in_the_index_is_found(client, ledgers, watching, monkeypatch):
    """Now and then all open events are compared with the index."""
    monkeypatch.setattr(sweeping_module, "CHECK_INDEX_EVERY_S", 0.5)
    ledgers.start_process()
    client.persist(keys.lease(HOST, "w1"))

    async def scenario():
        async with watching():
            event_id = ledgers.accept()
            client.delete(keys.DUE, f"host.{HOST}")
            await until(lambda: ledgers.queued() == [event_id], "the message")

    asyncio.run(scenario())


@pytest.mark.parametrize("key", [keys.DUE, keys.HOSTS, keys.ALIVE, keys.SEEN])
def test_index_of_another_type_stops_no_bridge(client, ledgers, watching, key):
    """Whoever wrote it: hosts are seen, and lost messages are sent again."""
    client.set(key, "something else")

    async def scenario():
        async with watching() as bridge:
            ledgers.start_process()
            client.persist(keys.lease(HOST, "w1"))
            await asyncio.wait_for(bridge.hosts.wait_alive(AGENT), WITHIN_S)
            event_id = ledgers.accept()
            client.delete(key, f"host.{HOST}")
            client.set(key, "something else again")
            bridge.sweeping.add([HOST])
            if key == keys.HOSTS:
                # It is in the index of checks still.
                client.zadd(keys.DUE, {keys.member(HOST, event_id): 0})
            await until(lambda: ledgers.queued() == [event_id], "the message")

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["open", "event", "queue", "fifo", "workers"])
def test_key_of_another_type_concerns_its_host_only(client, ledgers, watching, name):
    """A host may write to its own keys what it likes."""
    bad_id = ledgers.accept(host="host-2")
    foreign = {
        "open": keys.open_events("host-2"),
        "event": keys.event("host-2", bad_id),
        "queue": "host.host-2",
        "fifo": client.hget(keys.event("host-2", bad_id), "fifo"),
        "workers": keys.workers("host-2"),
    }[name]
    ledgers.start_process("w2.compute.1", "host-2")
    client.delete(foreign)
    client.set(foreign, "something else")
    ledgers.start_process()
    client.persist(keys.lease(HOST, "w1"))
    event_id = ledgers.accept()
    client.delete(f"host.{HOST}")
    client.zadd(keys.DUE, {keys.member("host-2", bad_id): 0, keys.member(HOST, event_id): 1})

    async def scenario():
        async with watching():
            await until(lambda: ledgers.queued() == [event_id], "the message")

    asyncio.run(scenario())


def test_nobody_is_dead_while_redis_was_away(client, ledgers, monkeypatch):
    """Leases ran out in an outage: events of live workers are not sent again after it."""
    live = ledgers.start_process()
    event_id = ledgers.accept()
    live.claim(event_id)
    sweeping = Sweeping(GrownSweeper(client, ledgers.keyring, ledgers.clock))
    client.delete(keys.lease(HOST, "w1"))
    with monkeypatch.context() as patch:
        # Any answer is as late as that of a Redis that was away.
        patch.setattr(sweeping_module, "SWEEP_EVERY_S", -1.0)
        asyncio.run(sweeping._sweep())
    assert ledgers.state(event_id) == State.CLAIMED
    asyncio.run(sweeping._sweep())
    assert ledgers.state(event_id) == State.CLAIMED, "a lease may still be renewed"
    sweeping._patient_until_s = 0.0
    asyncio.run(sweeping._sweep())
    assert ledgers.state(event_id) == State.QUEUED


def test_host_that_announces_without_end_is_read_now_and_then(client, ledgers, watching):
    """Whoever has its key may do so: what is announced within one pause is read once."""
    ledgers.start_process()
    client.persist(keys.lease(HOST, "w1"))

    async def scenario():
        async with watching() as bridge:
            await asyncio.wait_for(bridge.hosts.wait_alive(AGENT), WITHIN_S)
            reads, read = [], bridge.presence.read
            bridge.presence.read = lambda hosts: reads.append(hosts) or read(hosts)
            began_s = time.monotonic()
            while not reads or time.monotonic() - began_s < 20 * GATHER_S:
                await asyncio.to_thread(client.publish, keys.doorbell(HOST), LEASE_CHANGED)
            return len(reads), (time.monotonic() - began_s) / GATHER_S

    reads, pauses = asyncio.run(scenario())
    assert 0 < reads <= pauses + 2


# Hosts that are gone for good.


@pytest.fixture
def presence(client, keyring):
    """The workers as one bridge knows them."""
    return Presence(client, keyring)


def of_host(client, host):
    """The keys that name a host."""
    return {key for key in client.scan_iter() if host in key}


def test_host_that_is_gone_for_good_is_forgotten(client, ledgers, presence):
    """Nothing of it stays in Redis."""
    ledgers.start_process()
    ledgers.start_process("w2.compute.1", "host-2")
    presence.read_all()
    client.hset(keys.host_keys(HOST), "b1", "x")
    client.lpush(f"host.{HOST}.images", "x")
    client.set(keys.joined(HOST), "the keys of its agent")
    client.zadd(keys.SEEN, {HOST: 1})
    assert forget_gone(client, presence) == [], "it is alive"
    ledgers.end_process()
    presence.read_all()
    client.zadd(keys.SEEN, {HOST: 1})
    assert forget_gone(client, presence) == [HOST]
    assert of_host(client, HOST) == set()
    assert client.zrange(keys.SEEN, 0, -1) == ["host-2"]
    assert of_host(client, "host-2")


def test_host_with_open_events_is_not_forgotten(client, ledgers, presence):
    """They are answered or expire first."""
    event_id = ledgers.accept()
    client.zadd(keys.SEEN, {HOST: 1})
    assert forget_gone(client, presence) == []
    ledgers.worker().claim(event_id)
    ledgers.worker().complete(event_id, success({}))
    assert forget_gone(client, presence) == [], "its outcome is not collected"
    ledgers.outboxes.collect(HOST)
    assert forget_gone(client, presence) == [HOST]


def test_host_that_was_away_for_days_is_kept(client, presence):
    """Over a holiday."""
    client.zadd(keys.SEEN, {HOST: round(time.time()) - 20 * 24 * 3600})
    assert forget_gone(client, presence) == []
