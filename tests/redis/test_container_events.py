"""Container events through a real Redis: the streams, and the bridge's part against a server."""

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from bridge.awake import AwakeClock
from bridge.client import open_session
from bridge.container_events import reporting
from bridge.container_events.posting import Poster
from bridge.container_events.reporting import ContainerEventReporting
from bridge.container_events.streams import ContainerEventStreams
from bridge.doorbell import Announcements
from bridge.settings import AgentKeys
from cowpoke import keys
from cowpoke.clock import Clock
from cowpoke.container_events import ContainerEvent, sealed_container_event
from cowpoke.liveness import Leases
from cowpoke.seal import Sealer
from simulator.rig.processes import wait_until
from tests.answering import NO_TLS, answering
from tests.ledgers import HOST
from worker.container_events.writing import ContainerEventWriter

OTHER_HOST = "host-2"
WITHIN_S = 20.0


async def waited(condition):
    """Wait for a condition beside the loop."""
    await asyncio.to_thread(wait_until, condition, WITHIN_S, "the bridge", interval_s=0.002)


class Side:
    """The worker's side of several hosts, and what cattle got."""

    def __init__(self, client, keyring):
        self.client = client
        self.keyring = keyring
        self.clock = Clock(client)
        #: Host, container and status of each report that cattle took.
        self.taken = []
        #: What cattle answers to the next reports; then 201.
        self.answers = []
        #: Requests on their way, and the most there were at once, by host.
        self.underway, self.most_underway = Counter(), Counter()

    def add(self, *words, host=HOST, ago_s=0, sealer=None, **more):
        """Report some events: `a start`."""
        for word in words:
            container, status = word.split()
            event = ContainerEvent(
                host_uuid=host,
                container_id=container[:1] * 64,
                status=status,
                image="i",
                time_s=1,
                occurred_ms=self.clock.now_ms() - int(ago_s * 1000),
                inspect={"Id": container},
                **more,
            )
            text = sealed_container_event(sealer or self.keyring.host(host), event)
            ContainerEventWriter(self.client, host).add(text)
            self.client.zadd(keys.SEEN, {host: 1})

    async def answer(self, request):
        """Answer as cattle."""
        body = json.loads(await request.read())
        host = body["reportedHostUuid"]
        self.underway[host] += 1
        self.most_underway[host] = max(self.most_underway[host], self.underway[host])
        await asyncio.sleep(0)
        self.underway[host] -= 1
        answer = self.answers.pop(0) if self.answers else 201
        status, code = answer if isinstance(answer, tuple) else (answer, "x")
        if callable(status):
            status = status(body)
        if status == 201:
            self.taken.append(f"{host} {body['externalId'][0]} {body['externalStatus']}")
        return web.json_response({"code": code}, status=status)

    def left(self, host=HOST):
        """How many events wait."""
        return self.client.xlen(keys.container_events(host))

    @asynccontextmanager
    async def bridge(self, bridge_id="b1", agents=(HOST, OTHER_HOST)):
        """A bridge for some hosts."""
        Leases(self.client).renew_bridge(bridge_id)
        async with (
            answering(self.answer) as url,
            AwakeClock() as clock,
            open_session(NO_TLS) as session,
        ):
            announced = Announcements()
            made = ContainerEventReporting(
                ContainerEventStreams(self.client, bridge_id),
                self.keyring,
                self.clock,
                poster=Poster(session, f"{url}/v1", clock=clock),
                announced=announced,
                agent_of=lambda host: (
                    AgentKeys(access_key=host, secret_key="s") if host in agents else None
                ),
            )
            task = asyncio.create_task(made.run())
            try:
                yield made, announced
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    def run(self, until, **options):
        """Run a bridge until a condition holds; its counts."""

        async def scenario():
            async with self.bridge(**options) as (made, _):
                await waited(until)
            return made.counts, made.refused

        return asyncio.run(scenario())


@pytest.fixture
def side(client, keyring):
    """Nothing happened yet."""
    return Side(client, keyring)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pauses of the bridge that a test waits for."""
    monkeypatch.setattr(reporting, "LATER_S", 0.1)
    monkeypatch.setattr("bridge.container_events.entries.LATER_S", 0.1)
    monkeypatch.setattr(reporting, "STAND_BACK_S", 0.3)
    monkeypatch.setattr("bridge.container_events.host_report.FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr("bridge.container_events.host_report.KEYS_PAUSE_S", 0.1)


def test_events_of_a_host_are_posted_in_their_order_one_at_a_time(side):
    """B.5: what is posted leaves the stream, and with the last one the claim goes."""
    side.add("a start", "b start", "a kill", "a die", "b destroy", coalesced=2, dropped=1)
    counts, refused = side.run(lambda: len(side.taken) == 5 and not side.left())
    assert side.taken == [f"{HOST} {one}" for one in ("a start", "b start", "a kill", "a die")] + [
        f"{HOST} b destroy"
    ]
    assert counts == Counter(posted=5, coalesced=10, stale=5)
    assert refused == Counter()
    assert side.most_underway == {HOST: 1}
    assert side.client.exists(keys.container_events(HOST), keys.reporting(HOST)) == 0


def test_hosts_have_fair_turns(side):
    """A storm on one host does not hold up another."""
    side.add(*["a start"] * 100)
    side.add("b die", host=OTHER_HOST)
    side.run(lambda: len(side.taken) == 101)
    assert side.taken.index(f"{OTHER_HOST} b die") < 10


def test_stale_events_are_dropped(side):
    """B.5: after a minute the ping list says better what is true."""
    side.add("a start", ago_s=61)
    side.add("b die", ago_s=50)
    counts, _ = side.run(lambda: not side.left())
    assert side.taken == [f"{HOST} b die"]
    assert counts == Counter(posted=1, stale=1, coalesced=0)


@pytest.mark.parametrize("answer", [(422, "InvalidReference"), 500, 502, 404, 429])
def test_host_waits_while_cattle_does_not_take_its_events(side, answer):
    """B.5: a host is unknown before its first resources ping; its events keep their order."""
    side.answers = [answer] * 3
    side.add("a start", "a die")
    counts, refused = side.run(lambda: len(side.taken) == 2 and not side.left())
    assert side.taken == [f"{HOST} a start", f"{HOST} a die"]
    assert counts == Counter(posted=2, retried=3, coalesced=0, stale=0)
    status = answer[0] if isinstance(answer, tuple) else answer
    assert refused == Counter({str(status): 3})


def test_host_that_stays_unknown_loses_its_events_by_age(side):
    """B.5: and nothing else."""
    side.answers = [(422, "InvalidReference")] * 1000
    side.add("a start", ago_s=59)
    counts, _ = side.run(lambda: not side.left())
    assert side.taken == []
    assert counts["stale"] == 1
    assert counts["retried"] < 20


@pytest.mark.parametrize("answer", [400, 413, (422, "MissingRequired")])
def test_event_that_is_refused_for_good_is_given_up(side, answer):
    """B.5: the next one is tried at once."""
    side.answers = [answer]
    side.add("a start", "a die")
    counts, refused = side.run(lambda: not side.left())
    assert side.taken == [f"{HOST} a die"]
    assert counts == Counter(posted=1, coalesced=0, stale=0)
    assert sum(refused.values()) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_host_with_refused_keys_is_left_to_another_bridge(side, status):
    """B.5: 403 comes when cattle knows no agent with the keys; another bridge may do better."""
    side.answers = [status]
    side.add("a start")

    async def scenario():
        async with side.bridge("b1", agents=(HOST,)) as (first, announced):
            announced.add(HOST)
            await waited(lambda: first.refused)
            await waited(lambda: not side.client.exists(keys.reporting(HOST)))
            await waited(lambda: side.taken)
            return first.refused

    assert asyncio.run(scenario()) == Counter({str(status): 1})


def test_starts_that_cattle_takes_no_more_wait_and_others_do_not(side):
    """B.5: 409 is for starts alone."""
    full = [True]

    def status(body):
        return 409 if full[0] and body["externalStatus"] == "start" else 201

    side.answers = [(status, "TooManyContainerEvents")] * 1000
    side.add("a start", "b die", "a die", "c start", "d stop", "c destroy")

    def until():
        if len(side.taken) == 2:
            full[0] = False
        return not side.left()

    counts, refused = side.run(until)
    assert side.taken[:2] == [f"{HOST} b die", f"{HOST} d stop"]
    assert side.taken[2:] == [f"{HOST} {one}" for one in ("a start", "a die", "c start")] + [
        f"{HOST} c destroy"
    ]
    assert refused["409"] == counts["retried"] >= 1


def test_one_bridge_at_a_time_has_a_host(side):
    """B.5: two bridges hear of it, one posts; when it is gone the other one does."""
    Leases(side.client).renew_bridge("b2")
    assert ContainerEventStreams(side.client, "b2").step(HOST) == []
    side.add("a start", "a die")
    first, second = (ContainerEventStreams(side.client, one) for one in ("b1", "b2"))
    Leases(side.client).renew_bridge("b1")
    (entry,) = first.step(HOST)
    assert second.step(HOST) is None
    side.client.delete(keys.bridge("b1"))
    assert second.step(HOST) == [entry]
    assert second.step(HOST, done=entry.entry_id, after=entry.entry_id)[0].entry_id > entry.entry_id


def test_bridge_that_comes_later_reports_what_waits(side):
    """Without an announcement: it looks at all hosts when it begins, and now and then."""
    side.add("a start")
    side.add("b start", host=OTHER_HOST)
    side.run(lambda: len(side.taken) == 2)


def test_events_of_hosts_without_an_agent_stay(side):
    """They are another bridge's."""
    side.add("a start")
    side.add("b start", host=OTHER_HOST)
    side.run(lambda: len(side.taken) == 1, agents=(OTHER_HOST,))
    assert side.left() == 1


def test_host_whose_agent_becomes_known_is_reported_soon(side):
    """B.5: a bridge that begins learns its agents' hosts while events wait already."""
    known = []
    side.add("a start")

    async def scenario():
        async with side.bridge(agents=known) as (made, _):
            await waited(lambda: HOST in made._unserved)
            known.append(HOST)
            await waited(lambda: side.taken)

    asyncio.run(scenario())
    assert side.taken == [f"{HOST} a start"]


def test_full_stream_loses_its_oldest_entries(side, monkeypatch):
    """B.5: no bridge runs; Redis keeps a bounded number, for a bounded time."""
    monkeypatch.setattr(keys, "CONTAINER_EVENTS_MOST", 10)
    side.add(*["a start"] * 20, "b die")
    assert side.left() == 10
    assert 0 < side.client.pttl(keys.container_events(HOST)) <= keys.CONTAINER_EVENTS_TTL_MS
    side.run(lambda: not side.left())
    assert side.taken[-1] == f"{HOST} b die"


def test_forgeries_and_rubbish_stop_nobody(side):
    """C 41: what no worker of the host sealed is counted and removed."""
    stream = keys.container_events(HOST)
    side.client.xadd(stream, {"event": "rubbish"})
    side.client.xadd(stream, {"other": "field"})
    side.client.xadd(stream, {"event": "x" * 2_000_000})
    side.add("a start", sealer=Sealer("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="))
    # Of another host: moved here, it is not opened.
    side.add("b start", host=OTHER_HOST)
    for _, fields in side.client.xrange(keys.container_events(OTHER_HOST)):
        side.client.xadd(stream, fields)
    side.add("c die")
    counts, _ = side.run(lambda: not side.left(), agents=(HOST,))
    assert side.taken == [f"{HOST} c die"]
    assert counts["unreadable"] == 3


def test_key_of_another_type_is_replaced(side):
    """C 41: by whoever comes first."""
    side.client.set(keys.container_events(HOST), "x")
    side.add("a start")
    side.client.delete(keys.container_events(HOST))
    side.client.lpush(keys.container_events(HOST), "x")
    streams = ContainerEventStreams(side.client, "b1")
    assert streams.step(HOST) == []
    side.client.xadd(keys.container_events(HOST), {"event": "x"}, id="18446744073709551615-1")
    side.client.xadd(
        keys.container_events(HOST), {"event": "x"}, id="18446744073709551615-18446744073709551615"
    )
    side.add("a die")
    side.run(lambda: not side.left())
    assert side.taken == [f"{HOST} a die"]


def test_event_of_a_later_version_is_left_to_later_bridges(side, monkeypatch):
    """This one stands back, and the event stays until it is stale."""
    text = side.keyring.host(HOST).seal({"v": 2, "kind": "container-event", "host": HOST})
    ContainerEventWriter(side.client, HOST).add(text)
    side.client.zadd(keys.SEEN, {HOST: 1})
    side.add("b die", host=OTHER_HOST)
    side.run(lambda: side.taken and not side.client.exists(keys.reporting(HOST)))
    assert side.left() == 1


def test_old_event_of_a_later_version_blocks_nobody(side):
    """No later bridge came: it is stale, as any other one would be."""
    text = side.keyring.host(HOST).seal({"v": 2, "kind": "container-event", "host": HOST})
    written_ms = side.clock.now_ms() - 61_000
    side.client.xadd(keys.container_events(HOST), {"event": text}, id=f"{written_ms}-0")
    side.add("a die")
    counts, _ = side.run(lambda: not side.left())
    assert side.taken == [f"{HOST} a die"]
    assert counts["stale"] == 1


def test_large_inspect_is_left_out(side):
    """Cattle asks for it by an event."""
    event = ContainerEvent(
        host_uuid=HOST,
        container_id="a" * 64,
        status="start",
        image="i",
        time_s=1,
        occurred_ms=side.clock.now_ms(),
        inspect={"Config": {"Labels": {"x": "y" * 2_000_000}}},
    )
    text = sealed_container_event(side.keyring.host(HOST), event)
    assert len(text) < 2_000
    ContainerEventWriter(side.client, HOST).add(text)
    side.client.zadd(keys.SEEN, {HOST: 1})
    side.run(lambda: side.taken == [f"{HOST} a start"])
