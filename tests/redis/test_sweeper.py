"""The sweeper at work on a real Redis: what got lost comes back, what cannot is answered."""

import pytest
from cowpoke.ledger.ledger import State, Verdict

from cowpoke import keys
from cowpoke.ledger.recovery import (
    IN_TRANSIT_MS,
    MOST_DEATHS,
    MOST_SENDS,
    YOUNG_MARGIN_MS,
    Step,
    Sweeper,
)
from cowpoke.liveness import LEASE_TTL_MS, Leases
from cowpoke.outcomes import success
from simulator.rig.processes import wait_until
from tests.ledgers import HOST, accept, end_process, start_process

QUEUE = f"host.{HOST}"


@pytest.fixture
def sweeper(client, ledger):
    """A sweeper as a bridge has it, of a Redis that is up long enough to know who lives."""
    grown_s = (LEASE_TTL_MS + YOUNG_MARGIN_MS) / 1000
    wait_until(
        lambda: client.info("server")["uptime_in_seconds"] >= grown_s, 2 * grown_s, "a grown Redis"
    )
    return Sweeper(client, ledger)


@pytest.fixture
def boot(client):
    """A worker process that is alive."""
    return start_process(client)


def age(client, event_id, by_ms):
    """Let an event have been queued some time ago."""
    client.hincrby(keys.event(event_id), "queued_ms", -by_ms)


def fields(client, event_id):
    """State, kind of the final outcome, and count of sends."""
    return tuple(client.hmget(keys.event(event_id), "state", "kind", "sends"))


def test_a_message_that_was_lost_comes_back(client, ledger, sweeper, boot):
    """A message that died between Redis and a worker is sent again, once."""
    event_id = accept(ledger)
    assert sweeper.sweep(HOST) == {}
    client.rpop(QUEUE)
    assert sweeper.sweep(HOST) == {}, "it may be on its way"
    age(client, event_id, IN_TRANSIT_MS)
    assert sweeper.sweep(HOST) == {Step.RESEND: 1}
    assert sweeper.sweep(HOST) == {}
    assert client.llen(QUEUE) == 1
    assert ledger.take(event_id, boot).verdict is Verdict.TAKEN


def test_a_message_lost_before_others_that_wait_comes_back(client, ledger, sweeper, boot):
    """A loss is seen although the queue is not empty: its elders are gone, it is not there."""
    lost = accept(ledger)
    client.rpop(QUEUE)
    age(client, lost, IN_TRANSIT_MS + 10)
    accept(ledger)
    assert sweeper.sweep(HOST) == {Step.RESEND: 1}
    assert client.llen(QUEUE) == 2


def test_a_long_queue_is_left_alone(client, ledger, sweeper, boot):
    """What waits for a slot is not lost, however long it waits."""
    for _ in range(20):
        age(client, accept(ledger), 10 * IN_TRANSIT_MS)
    assert sweeper.sweep(HOST) == {}
    assert client.llen(QUEUE) == 20


def test_a_queue_of_strange_messages_does_no_harm(client, ledger, sweeper, boot):
    """A message of nobody's knows no event, and stops no sweeper."""
    age(client, accept(ledger), 10 * IN_TRANSIT_MS)
    for strange in ("nonsense", "[]", '{"headers":{"id":["x"]}}', "{}"):
        client.rpush(QUEUE, strange)
        assert sweeper.sweep(HOST) == {}


def test_the_work_of_a_dead_process_comes_back(client, ledger, sweeper, boot):
    """A process without a lease gives its event back at the next look."""
    event_id = accept(ledger)
    client.rpop(QUEUE)
    ledger.take(event_id, boot)
    assert sweeper.sweep(HOST) == {}
    end_process(client)
    start_process(client, "boot-2")
    assert sweeper.sweep(HOST) == {Step.RESEND: 1}
    assert ledger.take(event_id, "boot-2").attempts == 2


def test_an_event_that_kills_processes_is_answered(client, ledger, sweeper):
    """After too many deaths the event ends with an error instead of the next process."""
    event_id = accept(ledger)
    counts = []
    for number in range(MOST_DEATHS):
        boot_id = start_process(client, f"boot-{number}")
        client.delete(QUEUE)
        assert ledger.take(event_id, boot_id).verdict is Verdict.TAKEN
        end_process(client, boot_id)
        counts.append(sweeper.sweep(HOST))
    assert counts == [{Step.RESEND: 1}] * (MOST_DEATHS - 1) + [{Step.FAIL: 1}]
    assert fields(client, event_id)[:2] == (State.ANSWERED, "error")


def test_a_message_that_nobody_can_take_is_answered(client, ledger, sweeper, boot):
    """A message that is lost again and again ends with an error."""
    event_id = accept(ledger)
    for _ in range(MOST_SENDS - 1):
        client.delete(QUEUE)
        age(client, event_id, IN_TRANSIT_MS)
        assert sweeper.sweep(HOST) == {Step.RESEND: 1}
    client.delete(QUEUE)
    age(client, event_id, IN_TRANSIT_MS)
    assert sweeper.sweep(HOST) == {Step.FAIL: 1}
    assert fields(client, event_id) == (State.ANSWERED, "error", str(MOST_SENDS))


FIRST_START = {"instanceHostMap": {"instance": {"startCount": 0}}}
LATER_START = {"instanceHostMap": {"instance": {"startCount": 1}}}


def let_be_late(client, event_id, left_ms):
    """Let an event have come a minute ago and have so much time left."""
    now_ms = client.time()[0] * 1000
    times_ms = {"received_ms": now_ms - 60_000, "deadline_ms": now_ms + left_ms}
    client.hset(keys.event(event_id), mapping=times_ms)


def test_only_a_first_start_is_answered_for_an_absent_host(client, ledger, sweeper):
    """C 37, W 4: a first start ends with an error before its deadline, everything else expires."""
    first = accept(ledger, data=FIRST_START)
    later = accept(ledger, data=LATER_START)
    assert sweeper.sweep(HOST) == {}
    for event_id in (first, later):
        let_be_late(client, event_id, 1900)
    assert sweeper.sweep(HOST) == {Step.FAIL: 1}
    assert fields(client, first)[:2] == (State.ANSWERED, "error")
    assert fields(client, later)[:2] == (State.QUEUED, None)
    let_be_late(client, later, -1)
    assert sweeper.sweep(HOST) == {Step.EXPIRE: 1}
    assert fields(client, later)[:2] == (State.EXPIRED, None)
    assert (client.llen(QUEUE), client.xlen(keys.OUTCOMES)) == (0, 1)


def test_expired_event_runs_when_cattle_sends_it_again(client, ledger, sweeper, boot):
    """W 4: the same id begins anew after it expired, with a time of its own."""
    end_process(client)
    event_id = accept(ledger, "again", data=LATER_START, remaining_ms=0)
    assert sweeper.sweep(HOST) == {Step.EXPIRE: 1}
    start_process(client, "boot-2")
    accept(ledger, "again", data=LATER_START)
    assert ledger.take(event_id, "boot-2").verdict is Verdict.TAKEN


def test_entry_of_an_older_bridge_expires_without_an_answer(client, ledger, sweeper):
    """W 4: an entry that does not say how it ends is treated like what cattle replays."""
    event_id = accept(ledger, data=FIRST_START)
    client.hdel(keys.event(event_id), "offline")
    let_be_late(client, event_id, 1900)
    assert sweeper.sweep(HOST) == {}


def test_a_line_whose_head_was_lost_goes_on(client, ledger, sweeper, boot):
    """An event that was recorded and whose turn has come is queued."""
    accept(ledger, "first", resourceId="1ihm1")
    accept(ledger, "second", resourceId="1ihm1")
    client.delete(*client.keys("cowpoke:line:*"), keys.event("first"), QUEUE)
    assert sweeper.sweep(HOST) == {Step.RESEND: 1}
    assert fields(client, "second")[0] == State.QUEUED


def test_many_sweepers_send_a_message_once(client, ledger, boot):
    """Every bridge sweeps; each step takes effect once."""
    event_id = accept(ledger)
    client.delete(QUEUE)
    age(client, event_id, IN_TRANSIT_MS)
    (entry,) = ledger.open_entries(HOST)
    assert [ledger.resend(entry) for _ in range(3)].count(True) == 1
    assert client.llen(QUEUE) == 1


def test_a_host_with_nothing_left_is_forgotten(client, ledger, sweeper, boot):
    """Hosts that are gone for good do not stay in the list."""
    event_id = accept(ledger)
    ledger.take(event_id, boot)
    ledger.settle(event_id, success({}))
    sweeper.sweep(HOST)
    assert Leases(client).hosts() == [HOST]
    end_process(client)
    sweeper.sweep(HOST)
    assert Leases(client).hosts() == []


def test_a_host_with_open_events_is_not_forgotten(client, ledger):
    """An event accepted while a sweeper looked keeps its host in the list."""
    accept(ledger)
    Leases(client).forget_host(HOST)
    assert Leases(client).hosts() == [HOST]
