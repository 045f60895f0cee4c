"""What a bridge holds in memory between cattle and Redis, and what it refuses itself."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
import redis

from bridge.hosts.presence import Presence
from bridge.inbound.intake import Intake
from bridge.settings import AgentKeys
from cowpoke import keys
from cowpoke.broker import connect
from cowpoke.ledger.states import State
from cowpoke.outcomes import Kind
from cowpoke.settings import BrokerSettings
from simulator.rig.processes import wait_until
from tests.factories import event
from tests.ledgers import HOST, QUEUE, Ledgers, lease

AGENT = AgentKeys(access_key="key", secret_key="secret")


def frame(number, **fields):
    """One event of cattle's, of a resource of its own."""
    return json.dumps(event(id=f"event-{number}", resourceId=f"1ihm{number}", **fields))


@pytest.fixture
def make_intake(ledgers):
    """An intake of a bridge that knows of workers what a test says."""

    def make(limit=100, knows_event=lambda *_: True):
        return Intake(ledgers.intake, knows_event=knows_event, limit=limit, limit_bytes=1 << 20)

    return make


@asynccontextmanager
async def emptying(intake):
    """Let the intake write to Redis; all of it is there at the end."""
    task = asyncio.create_task(intake.run())
    try:
        yield
        await asyncio.wait_for(intake.flush(), 20)
    finally:
        task.cancel()


def take_all(intake, *frames, host=HOST):
    """Take frames and write them to Redis; whether cattle waits for an answer to each."""

    async def scenario():
        async with emptying(intake):
            return [await intake.take_frame(one, AGENT, host) for one in frames]

    return asyncio.run(scenario())


def test_reading_waits_when_memory_is_full_and_loses_nothing(ledgers, make_intake):
    """BRIDGE_INTAKE_LIMIT: cattle's own queue fills then, and nothing is dropped here."""

    async def scenario():
        intake = make_intake(limit=2)
        for number in range(2):
            assert await intake.take_frame(frame(number), AGENT, HOST)
        third = asyncio.create_task(intake.take_frame(frame(2), AGENT, HOST))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(third), 0.2)
        async with emptying(intake):
            assert await asyncio.wait_for(third, 5)

    asyncio.run(scenario())
    assert {ledgers.state(f"event-{number}") for number in range(3)} == {State.QUEUED}


def test_event_that_no_worker_of_the_host_knows_is_refused_at_once(
    client, ledgers, make_intake, keyring
):
    """Cattle hears it now, and not after five sends; another host's workers do not matter."""
    for host, events in ((HOST, ("ping",)), ("host-2", ("compute.instance.activate",))):
        one = lease(f"w-{host}.compute.1", host=host, events=events)
        ledgers.leases.renew(one, keyring.host(host))
    presence = Presence(client, keyring)
    presence.read_all()
    intake = make_intake(knows_event=presence.knows_event)
    assert take_all(intake, frame(1)) == [True]
    ((event_id, outcome),) = ledgers.sent()
    assert (event_id, outcome.kind, outcome.code) == ("event-1", Kind.ERROR, "event-unknown")
    assert "compute.instance.activate" in outcome.message
    assert intake.counts == {"unknown": 1, "refused": 1}
    assert ledgers.queued() == []
    take_all(make_intake(knows_event=presence.knows_event), frame(2), host="host-2")
    assert ledgers.state("event-2", "host-2") == State.QUEUED


def test_event_waits_for_the_first_worker_of_a_host(ledgers, make_intake, client, keyring):
    """Without a live one nobody can say that it is not known."""
    intake = make_intake(knows_event=Presence(client, keyring).knows_event)
    take_all(intake, frame(1))
    assert ledgers.state("event-1") == State.QUEUED


def test_unknown_event_that_nobody_waits_for_is_dropped(ledgers, make_intake):
    """A one-way event has no reply."""
    intake = make_intake()
    assert take_all(intake, frame(1, name="compute.of.the.future", replyTo=None)) == [False]
    assert (ledgers.sent(), ledgers.state("event-1")) == ([], None)


@pytest.mark.parametrize("name", ["event", "open", "fifo", "queue", "due", "hosts"])
def test_key_of_another_type_holds_up_no_event(client, ledgers, make_intake, name):
    """It is nothing of ours; the event it stood in the way of, and all others, are queued."""
    foreign = {
        "event": keys.event(HOST, "event-1"),
        "open": keys.open_events(HOST),
        "fifo": keys.fifo(HOST, "instanceHostMap:1ihm1"),
        "queue": QUEUE,
        "due": keys.DUE,
        "hosts": keys.HOSTS,
    }[name]
    client.set(foreign, "something else")
    take_all(make_intake(), *map(frame, range(3)))
    assert {ledgers.state(f"event-{number}") for number in range(3)} == {State.QUEUED}


class Refusing:
    """A ledger to which Redis answers one event with an error of a script."""

    def __init__(self, ledger, event_id):
        self._ledger = ledger
        self._event_id = event_id

    def accept(self, arrivals):
        """Offer all but one."""
        others = [one for one in arrivals if one.event.id != self._event_id]
        results = iter(self._ledger.accept(others))
        error = redis.ResponseError("WRONGTYPE Operation against a key")
        return [error if one.event.id == self._event_id else next(results) for one in arrivals]


def test_event_that_could_not_be_recorded_is_counted_and_logged(ledgers):
    """The batch is not tried again for it: cattle sends the event again."""
    refusing = Refusing(ledgers.intake, "event-1")
    intake = Intake(refusing, knows_event=lambda *_: True, limit=10, limit_bytes=1 << 20)
    take_all(intake, frame(0), frame(1), frame(2))
    assert intake.counts == {"queued": 2, "not-recorded": 1}


def test_outage_is_waited_for(make_redis, keyring):
    """Everything read meanwhile is recorded when Redis is back."""
    server = make_redis(appendonly=True)
    settings = BrokerSettings.model_validate({"REDIS_URL": server.url})

    async def scenario(ledgers):
        intake = Intake(ledgers.intake, knows_event=lambda *_: True, limit=100, limit_bytes=1 << 20)
        await asyncio.to_thread(server.kill)
        async with emptying(intake):
            for number in range(5):
                await intake.take_frame(frame(number), AGENT, HOST)
            await asyncio.to_thread(server.restart)
        return intake

    with connect(settings) as client:
        ledgers = Ledgers(client, keyring)
        intake = asyncio.run(scenario(ledgers))
        wait_until(lambda: intake.counts["queued"] == 5, 20, "all events")
        assert len(ledgers.entries()) == 5
