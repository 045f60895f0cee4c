"""What bridges hear of hosts, on a real Redis."""

import asyncio
import threading
from contextlib import asynccontextmanager

import pytest

from bridge.doorbell import Announcements, Doorbell
from cowpoke import keys
from cowpoke.broker import connect
from cowpoke.ledger.outbox import OUTBOX_FILLED
from cowpoke.liveness import LEASE_CHANGED
from cowpoke.outcomes import success
from cowpoke.settings import BrokerSettings
from simulator.rig.processes import wait_until
from tests.ledgers import HOST

WITHIN_S = 20.0


@asynccontextmanager
async def listening(client):
    """A doorbell that listens already."""
    doorbell = Doorbell(client)
    doorbell.start()
    try:
        await asyncio.to_thread(wait_until, client.pubsub_numpat, WITHIN_S, "the subscription")
        client.publish(keys.doorbell("probe"), OUTBOX_FILLED)
        client.publish(keys.doorbell("probe"), LEASE_CHANGED)
        for announced in (doorbell.outboxes, doorbell.leases):
            hosts, missed = set(), False
            while not hosts:
                hosts, missing = await announced.take(WITHIN_S)
                missed |= missing
            assert missed, "before it listened anybody may have announced"
        yield doorbell
    finally:
        doorbell.stop()
        client.publish(keys.doorbell("probe"), OUTBOX_FILLED)  # wakes its thread
        await asyncio.to_thread(wait_until, _is_over, WITHIN_S, "the end of the thread")


def _is_over():
    return "doorbell" not in {thread.name for thread in threading.enumerate()}


async def heard(announced):
    """The hosts that rang until now, with the next one that does."""
    return await announced.take(WITHIN_S)


def test_hosts_are_heard_by_what_changed(client):
    """A host that rings for its outbox has nothing to do with the leases."""

    async def scenario():
        async with listening(client) as doorbell:
            client.publish(keys.doorbell(HOST), OUTBOX_FILLED)
            client.publish(keys.doorbell("host-2"), LEASE_CHANGED)
            assert await heard(doorbell.outboxes) == ({HOST}, False)
            assert await heard(doorbell.leases) == ({"host-2"}, False)
            assert await doorbell.outboxes.take(0) == (set(), False)

    asyncio.run(scenario())


def test_programs_ring_for_what_they_did(client, ledgers):
    """A worker that comes, a final outcome, a progress."""

    async def scenario():
        async with listening(client) as doorbell:
            worker = await asyncio.to_thread(ledgers.start_process)
            assert await heard(doorbell.leases) == ({HOST}, False)
            event_id = ledgers.accept()
            worker.claim(event_id)
            worker.complete(event_id, success({}))
            assert await heard(doorbell.outboxes) == ({HOST}, False)

    asyncio.run(scenario())


@pytest.mark.parametrize("host", ["", "a b", "\xff", "x" * 300, "*"])
@pytest.mark.parametrize("said", [OUTBOX_FILLED, LEASE_CHANGED])
def test_channel_of_no_host_is_not_heard(client, host, said):
    """Whoever publishes there: no key of such a host is asked for."""

    async def scenario():
        async with listening(client) as doorbell:
            client.publish(f"{keys.DOORBELL_PREFIX}{host}", said)
            client.publish(keys.doorbell(HOST), OUTBOX_FILLED)
            client.publish(keys.doorbell(HOST), LEASE_CHANGED)
            assert await heard(doorbell.outboxes) == ({HOST}, False)
            assert await heard(doorbell.leases) == ({HOST}, False)

    asyncio.run(scenario())


@pytest.mark.parametrize("said", ["", "check", b"\xff\xfe", b"x" * 100_000])
def test_other_words_are_not_heard(client, said):
    """A later release may say more; a forger may say anything."""

    async def scenario():
        async with listening(client) as doorbell:
            client.publish(keys.doorbell("host-2"), said)
            client.publish(keys.doorbell(HOST), OUTBOX_FILLED)
            assert await heard(doorbell.outboxes) == ({HOST}, False)
            assert await doorbell.leases.take(0) == (set(), False)

    asyncio.run(scenario())


def test_what_may_be_missed_is_said_after_a_lost_connection(client):
    """Everything is looked at then."""

    async def scenario():
        async with listening(client) as doorbell:
            client.client_kill_filter(_type="pubsub")
            assert await heard(doorbell.outboxes) == (set(), True)
            assert await heard(doorbell.leases) == (set(), True)
            client.publish(keys.doorbell(HOST), OUTBOX_FILLED)
            assert await heard(doorbell.outboxes) == ({HOST}, False)

    asyncio.run(scenario())


def test_outage_is_waited_for(make_redis):
    """The doorbell listens again when Redis is back, at the same address."""
    server = make_redis()
    settings = BrokerSettings.model_validate({"REDIS_URL": server.url})

    async def scenario():
        with connect(settings) as client:
            async with listening(client) as doorbell:
                await asyncio.to_thread(server.restart)
                while True:
                    hosts, missed = await heard(doorbell.leases)
                    assert hosts == set()
                    if missed:
                        break
                client.publish(keys.doorbell(HOST), LEASE_CHANGED)
                assert await heard(doorbell.leases) == ({HOST}, False)

    asyncio.run(scenario())


def test_nobody_rings_and_nobody_waits_for_ever():
    """Who looks now and then also does so without a sound."""

    async def scenario():
        announced = Announcements()
        assert await announced.take(WITHIN_S) == (set(), True)
        assert await announced.take(0.01) == (set(), False)

    asyncio.run(scenario())


def test_thread_ends_with_its_loop(client):
    """A bridge that ends does not wait for it."""

    async def scenario():
        Doorbell(client).start()

    asyncio.run(scenario())
    client.publish(keys.doorbell(HOST), LEASE_CHANGED)

    def is_over():
        client.publish(keys.doorbell(HOST), LEASE_CHANGED)
        return _is_over()

    wait_until(is_over, WITHIN_S, "the end of the thread")
