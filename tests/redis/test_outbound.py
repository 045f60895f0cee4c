"""Outcomes on their way from a host's outbox to cattle: real Redis, real POSTs."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import redis
from aiohttp import web

from bridge.agents.registry import Agents
from bridge.awake import AwakeClock
from bridge.client import open_session
from bridge.doorbell import Announcements
from bridge.inbound.standing import Standing
from bridge.outbound import collecting, unreadable
from bridge.outbound.configcontent import ConfigContent
from bridge.outbound.outbox import Outbox
from bridge.outbound.publisher import Publisher
from bridge.settings import AgentKeys
from cowpoke import dead_letters, keys
from cowpoke.broker import connect
from cowpoke.clock import Clock
from cowpoke.ledger.outcome_stream import GROUP, OutcomeStream
from cowpoke.ledger.replies import ReplyLedger
from cowpoke.outcomes import progress, success
from cowpoke.seal import ClusterKeyring
from cowpoke.settings import BrokerSettings
from simulator.rig.processes import wait_until
from tests.answering import NO_TLS, answering
from tests.ledgers import HOST

AGENT = AgentKeys(access_key="access", secret_key="secret")
WITHIN_S = 30.0
OTHER_KEY = ClusterKeyring("A" * 43 + "=")


@dataclass
class Bridge:
    """One bridge's way out, and what cattle got."""

    outbox: Outbox
    announced: Announcements
    #: The bodies of the POSTs, in their order.
    posted: list = field(default_factory=list)

    @property
    def counts(self):
        """Replies by what became of them."""
        return self.outbox.counts

    def answered(self):
        """How often each event was answered."""
        return Counter(body["previousIds"][0] for body in self.posted)

    async def until(self, condition):
        """Wait for a condition."""
        await asyncio.to_thread(wait_until, condition, WITHIN_S, "the condition of the test")


@asynccontextmanager
async def _sending(client, keyring, bridge_id):
    posted = []

    async def handle(request):
        posted.append(await request.json())
        return web.Response(status=201)

    async with (
        answering(handle) as url,
        AwakeClock() as clock,
        open_session(NO_TLS) as session,
    ):
        announced = Announcements()
        outbox = Outbox(
            client=client,
            ledger=ReplyLedger(client, bridge_id),
            keyring=keyring,
            clock=Clock(client),
            publisher=Publisher(session, url, clock=clock, standing=Standing((AGENT,))),
            config=ConfigContent(session, url, clock=clock),
            agents=Agents((AGENT,)),
            concurrency=4,
            memory_bytes=1 << 24,
            bridge_id=bridge_id,
            announced=announced,
        )
        task = asyncio.create_task(outbox.run())
        try:
            yield Bridge(outbox, announced, posted)
        finally:
            await asyncio.wait_for(outbox.drain(), WITHIN_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            # A blocking read goes on in its thread; the client must not be closed below it.
            in_use = client.connection_pool._in_use_connections
            await asyncio.to_thread(wait_until, lambda: not in_use, WITHIN_S, "the last calls")


@pytest.fixture
def sending(redis_url):
    """Start a bridge that collects and sends, with a client of its own."""

    @asynccontextmanager
    async def start(keyring, bridge_id="b1"):
        settings = BrokerSettings.model_validate({"REDIS_URL": redis_url})
        with connect(settings) as client:
            async with _sending(client, keyring, bridge_id) as bridge:
                yield bridge

    return start


@pytest.fixture
def impatient(monkeypatch):
    """What cannot be read becomes a dead letter soon."""
    monkeypatch.setattr(unreadable, "FOR_S", 0.5)


@pytest.fixture
def worker(ledgers):
    """A live worker process."""
    return ledgers.start_process()


@pytest.fixture
def complete(ledgers, worker):
    """Accept and complete one event; its id."""

    def one(**options):
        event_id = ledgers.accept(**options)
        side = worker if "host" not in options else ledgers.worker(host=options["host"])
        side.claim(event_id)
        assert side.complete(event_id, success({"id": event_id}))
        return event_id

    return one


def fields_of(client, host=HOST):
    """The newest entry of a host's outbox."""
    ((_, fields),) = client.xrevrange(keys.outbox(host), count=1)
    return fields


def test_outcome_reaches_cattle_and_leaves_redis(client, keyring, complete, sending):
    """Also when nobody rang: every outbox is looked at when a bridge starts."""
    event_id = complete()

    async def scenario():
        async with sending(keyring) as bridge:
            await bridge.until(lambda: bridge.posted)
            return bridge

    bridge = asyncio.run(scenario())
    assert bridge.answered() == {event_id: 1}
    assert bridge.posted[0]["data"] == {"id": event_id}
    assert client.exists(keys.outbox(HOST)) == 0
    assert client.xlen(keys.OUTCOMES) == 0


def test_announced_outbox_is_collected_at_once(client, keyring, complete, monkeypatch, sending):
    """No look at all outboxes is needed."""
    monkeypatch.setattr(collecting, "LOOK_EVERY_S", 1000.0)

    async def scenario():
        async with sending(keyring) as bridge:
            await bridge.until(lambda: not bridge.announced._missed)
            event_id = complete()
            bridge.announced.add(HOST)
            await bridge.until(lambda: bridge.posted)
            assert bridge.answered() == {event_id: 1}

    asyncio.run(scenario())


def test_lost_announcement_costs_the_time_to_the_next_look(
    client, keyring, complete, monkeypatch, sending
):
    """Nobody rings again for what lies in an outbox."""
    monkeypatch.setattr(collecting, "LOOK_EVERY_S", 0.3)

    async def scenario():
        async with sending(keyring) as bridge:
            await bridge.until(lambda: not bridge.announced._missed)
            event_id = complete()
            await bridge.until(lambda: bridge.posted)
            assert bridge.answered() == {event_id: 1}

    asyncio.run(scenario())


def test_more_than_one_portion_is_collected(client, keyring, complete, monkeypatch, sending):
    """A host with many outcomes is looked at until it has none."""
    monkeypatch.setattr("cowpoke.ledger.outbox.COLLECT_MOST", 3)
    wanted = [complete() for _ in range(10)]
    wanted += [complete(host="host-2") for _ in range(2)]

    async def scenario():
        async with sending(keyring) as bridge:
            await bridge.until(lambda: len(bridge.posted) == 12)
            return bridge.answered()

    assert asyncio.run(scenario()) == dict.fromkeys(wanted, 1)


@pytest.mark.parametrize("foreign", ["outbox", "outcomes", "control", "due", "hosts"])
def test_key_of_another_type_holds_up_no_outcome(client, keyring, complete, foreign, sending):
    """Whoever put it there: the outcomes of the other hosts are sent."""
    key = {
        "outbox": keys.outbox("host-2"),
        "outcomes": keys.OUTCOMES,
        "control": keys.CONTROL_OUTCOMES,
        "due": keys.DUE,
        "hosts": keys.HOSTS,
    }[foreign]
    event_id = complete()
    if foreign == "outbox":
        client.sadd(keys.HOSTS, "host-2")
    client.delete(key)
    client.set(key, "something else")

    async def scenario():
        async with sending(keyring) as bridge:
            bridge.announced.add(HOST)
            await bridge.until(lambda: bridge.posted)
            return bridge.answered()

    assert asyncio.run(scenario()) == {event_id: 1}


def forge_other_envelope(client, complete, _):
    """The outcome of one event beside the envelope of another."""
    complete()
    content = fields_of(client)["content"]
    event_id = complete()
    return event_id, {**fields_of(client), "content": content}


def forge_other_host(client, complete, _):
    """What another host sealed, and what was sealed for it."""
    complete(host="host-2")
    stolen = fields_of(client, "host-2")
    event_id = complete()
    return event_id, stolen


def forge_kind(client, complete, _):
    """A progress that is to be final."""
    event_id = complete()
    return event_id, {**fields_of(client), "kind": "error"}


def forge_later_version(client, complete, keyring):
    """Sealed by a release that this bridge does not know."""
    event_id = complete()
    later = keyring.host(HOST).seal({"v": 99, "event_id": event_id, "kind": "success"})
    return event_id, {**fields_of(client), "content": later}


def forge_bytes(client, complete, _):
    """No text at all."""
    event_id = complete()
    return event_id, dict.fromkeys(fields_of(client), b"\xff\xfe")


def forge_nothing(client, complete, _):
    """An entry without a field of ours."""
    return complete(), {"strange": "entry"}


@pytest.mark.parametrize(
    "forge",
    [
        forge_other_envelope,
        forge_other_host,
        forge_kind,
        forge_later_version,
        forge_bytes,
        forge_nothing,
    ],
)
def test_forged_outcome_is_refused_and_the_true_one_is_sent(
    client, keyring, complete, impatient, forge, sending
):
    """It is counted once, left to other bridges for a while, and then a dead letter."""
    event_id, forged = forge(client, complete, keyring)
    # Before the true one, so that it is read first.
    true = client.xrange(keys.outbox(HOST))
    client.delete(keys.outbox(HOST))
    client.xadd(keys.outbox(HOST), forged)
    for _, fields in true:
        client.xadd(keys.outbox(HOST), fields)

    async def scenario():
        async with sending(keyring) as bridge:
            await bridge.until(lambda: client.llen(keys.BRIDGE_DEAD_LETTERS) == 1)
            await bridge.until(lambda: client.xlen(keys.OUTCOMES) == 0)
            return bridge

    bridge = asyncio.run(scenario())
    assert bridge.answered()[event_id] == 1
    assert set(bridge.answered().values()) == {1}
    assert bridge.counts["unreadable"] == 1
    assert bridge.counts["sent"] == len(bridge.posted)
    (letter,) = dead_letters.read(client, keys.BRIDGE_DEAD_LETTERS)
    assert letter.reason
    assert client.xpending(keys.OUTCOMES, GROUP)["pending"] == 0


def test_outcome_is_left_to_a_bridge_that_can_read_it(client, ledgers, keyring, complete, sending):
    """While keys are changed a bridge has keys that another one lacks."""
    event_id = complete()

    async def scenario():
        async with (
            sending(OTHER_KEY, "b1") as other,
            sending(keyring, "b2") as ours,
        ):
            await ours.until(lambda: other.posted or ours.posted)
            assert (other.answered(), ours.answered()) == ({}, {event_id: 1})
            await ours.until(lambda: client.xlen(keys.OUTCOMES) == 0)

    asyncio.run(scenario())
    assert client.llen(keys.BRIDGE_DEAD_LETTERS) == 0


def test_outcome_waits_for_a_bridge_with_its_key(client, keyring, complete, sending):
    """The only bridge has other keys; the next one finds the outcome."""
    event_id = complete()

    async def without_its_key():
        async with sending(OTHER_KEY) as bridge:
            await bridge.until(lambda: bridge.counts["unreadable"] == 1)
            assert bridge.posted == []

    async def with_its_key():
        async with sending(keyring, "b2") as bridge:
            await bridge.until(lambda: bridge.posted)
            return bridge.answered()

    asyncio.run(without_its_key())
    assert asyncio.run(with_its_key()) == {event_id: 1}


def test_unreadable_outcome_stays_when_redis_fails_meanwhile(
    client, keyring, complete, impatient, monkeypatch, sending
):
    """It is this bridge's then, and is tried again."""
    event_id, forged = forge_kind(client, complete, keyring)
    client.xadd(keys.outbox(HOST), forged)
    failures = []
    leave = OutcomeStream.leave_to_others

    def fail_once(stream, outcome_id):
        if not failures:
            failures.append(outcome_id)
            raise redis.ConnectionError("gone")
        leave(stream, outcome_id)

    monkeypatch.setattr(OutcomeStream, "leave_to_others", fail_once)

    async def scenario():
        async with sending(keyring) as bridge:
            await bridge.until(lambda: client.llen(keys.BRIDGE_DEAD_LETTERS) == 1)
            return bridge.answered()

    assert asyncio.run(scenario()) == {event_id: 1}
    assert len(failures) == 1


def test_progress_comes_before_the_final_reply(client, ledgers, keyring, worker, sending):
    """In the order of the outbox, also when a forged one is between them."""
    event_id = ledgers.accept()
    worker.claim(event_id)
    worker.progress(event_id, progress("half", 50))

    async def scenario():
        async with sending(keyring) as bridge:
            await bridge.until(lambda: bridge.posted)
            client.xadd(keys.outbox(HOST), {**forged, "content": "forged"})
            worker.complete(event_id, success({}))
            bridge.announced.add(HOST)
            await bridge.until(lambda: len(bridge.posted) == 2)
            return bridge.posted

    forged = fields_of(client)
    first, last = asyncio.run(scenario())
    assert (first["transitioning"], first["transitioningProgress"]) == ("yes", 50)
    assert "transitioning" not in last
