"""The sweepers at work on a real Redis: what got lost comes back, what cannot is answered."""

import pytest

from cowpoke import keys
from cowpoke.ledger.decisions import (
    IN_TRANSIT_MS,
    MOST_DEATHS,
    MOST_SENDS,
    OVERDUE_MS,
    UNREADABLE_MS,
    Step,
)
from cowpoke.ledger.recovery import Sweeper
from cowpoke.ledger.states import State, Verdict
from cowpoke.outcomes import success
from tests.ledgers import HOST, QUEUE, arrival

BOOT = "w1.compute.1"
#: A little more: a sweeper's clock is a measured one.
LOST_MS = IN_TRANSIT_MS + 500
FIRST_START = {"instanceHostMap": {"instance": {"startCount": 0}}}
LATER_START = {"instanceHostMap": {"instance": {"startCount": 1}}}


@pytest.fixture
def sweep(ledgers):
    """Sweep the host as a bridge does; the steps that took effect."""
    return lambda: dict(ledgers.sweeper.sweep_host(HOST))


@pytest.fixture
def worker(ledgers):
    """A worker process that is alive."""
    return ledgers.start_process(BOOT)


def age(ledgers, event_id, by_ms):
    """Let an event have been queued some time ago."""
    ledgers.set_back(event_id, by_ms, "queued_ms")


def fields(ledgers, event_id):
    """State, kind of the final outcome, and count of sends."""
    return tuple(ledgers.client.hmget(keys.event(HOST, event_id), "state", "kind", "sends"))


# -- lost messages and dead processes --------------------------------------------------------------


def test_a_message_that_was_lost_comes_back(ledgers, sweep, worker):
    """A message that got lost between Redis and a worker is sent again, once."""
    event_id = ledgers.accept()
    assert sweep() == {}
    ledgers.client.rpop(QUEUE)
    assert sweep() == {}, "it may be on its way"
    age(ledgers, event_id, LOST_MS)
    assert sweep() == {Step.RESEND: 1}
    assert sweep() == {}
    assert ledgers.queued() == [event_id]
    assert worker.claim(event_id).verdict is Verdict.CLAIMED


def test_a_message_lost_before_others_that_wait_comes_back(ledgers, sweep, worker):
    """A loss is seen although the queue is not empty: its elders are gone, it is not there."""
    lost = ledgers.accept()
    ledgers.client.rpop(QUEUE)
    age(ledgers, lost, LOST_MS)
    ledgers.accept()
    assert sweep() == {Step.RESEND: 1}
    assert ledgers.client.llen(QUEUE) == 2


def test_a_long_queue_is_left_alone(ledgers, sweep, worker):
    """What waits for a slot is not lost, however long it waits."""
    for _ in range(20):
        age(ledgers, ledgers.accept(), 10 * IN_TRANSIT_MS)
    assert sweep() == {}
    assert ledgers.client.llen(QUEUE) == 20


def test_a_queue_of_strange_messages_does_no_harm(ledgers, sweep, worker):
    """A message of nobody's names no event, and stops no sweeper."""
    age(ledgers, ledgers.accept(), 10 * IN_TRANSIT_MS)
    for strange in ("nonsense", "[]", '{"headers":{"id":["x"]}}', "{}"):
        ledgers.client.rpush(QUEUE, strange)
        assert sweep() == {}


def test_the_work_of_a_dead_process_comes_back(ledgers, sweep, worker):
    """An event of a process without a lease is sent again at the next look."""
    event_id = ledgers.accept()
    ledgers.client.rpop(QUEUE)
    worker.claim(event_id)
    assert sweep() == {}
    ledgers.end_process(BOOT)
    other = ledgers.start_process("w2.compute.1")
    assert sweep() == {Step.RESEND: 1}
    assert other.claim(event_id).attempts == 2


def test_an_event_that_crashes_processes_is_answered(ledgers, sweep):
    """After too many deaths the event ends with an error instead of the next process."""
    event_id = ledgers.accept()
    counts = []
    for number in range(MOST_DEATHS):
        boot_id = f"w{number}.compute.1"
        ledgers.client.delete(QUEUE)
        assert ledgers.start_process(boot_id).claim(event_id).verdict is Verdict.CLAIMED
        ledgers.end_process(boot_id)
        counts.append(sweep())
    assert counts == [{Step.RESEND: 1}] * (MOST_DEATHS - 1) + [{Step.FAIL: 1}]
    assert fields(ledgers, event_id)[:2] == (State.ANSWERED, "error")


def test_a_message_that_nobody_can_claim_is_answered(ledgers, sweep, worker):
    """A message that is lost again and again ends with an error."""
    event_id = ledgers.accept()
    for _ in range(MOST_SENDS - 1):
        ledgers.client.delete(QUEUE)
        age(ledgers, event_id, LOST_MS)
        assert sweep() == {Step.RESEND: 1}
    ledgers.client.delete(QUEUE)
    age(ledgers, event_id, LOST_MS)
    assert sweep() == {Step.FAIL: 1}
    assert fields(ledgers, event_id) == (State.ANSWERED, "error", str(MOST_SENDS))


def test_an_event_that_no_worker_can_read_is_answered_in_time(ledgers, sweep, worker):
    """It waits for one that can, for a bounded time, and is sent again meanwhile."""
    event_id = ledgers.accept()
    ledgers.client.delete(QUEUE)
    worker.claim(event_id)
    worker.reject(event_id, delay_ms=3_000)
    assert sweep() == {}
    ledgers.pass_time(3_000 + LOST_MS)
    ledgers.start_process(BOOT)
    assert sweep() == {Step.RESEND: 1}
    ledgers.client.hset(
        keys.event(HOST, event_id), "payload", ledgers.keyring.host(HOST).seal({"v": 99})
    )
    ledgers.pass_time(UNREADABLE_MS)
    ledgers.start_process(BOOT)
    assert sweep() == {Step.FAIL: 1}
    ((_, outcome),) = ledgers.sent()
    assert outcome.code == "event-unreadable"


def test_an_event_that_a_live_process_has_long_after_its_deadline_is_dropped(
    ledgers, sweep, worker
):
    """Redis came back with older data, and the process does not work on it."""
    event_id = ledgers.accept(resourceId="1i1")
    following = ledgers.accept(resourceId="1i1", remaining_ms=600_000)
    worker.claim(event_id)
    ledgers.pass_time(60_000 + OVERDUE_MS - 2_000)
    ledgers.start_process(BOOT)
    assert sweep() == {}
    ledgers.pass_time(2_050)
    ledgers.start_process(BOOT)
    assert sweep() == {Step.EXPIRE: 1}
    assert fields(ledgers, following)[0] == State.QUEUED


# -- absent hosts ----------------------------------------------------------------------------------


def let_be_late(ledgers, event_id, left_ms):
    """Let an event have come a minute ago and have so much time left."""
    now_ms = ledgers.clock.now_ms()
    times_ms = {"received_ms": now_ms - 60_000, "deadline_ms": now_ms + left_ms}
    ledgers.client.hset(keys.event(HOST, event_id), mapping=times_ms)


def test_only_a_first_start_is_answered_for_an_absent_host(ledgers, sweep):
    """C 37, W 4: a first start ends with an error before its deadline, everything else expires."""
    first = ledgers.accept(data=FIRST_START)
    later = ledgers.accept(data=LATER_START)
    assert sweep() == {}
    for event_id in (first, later):
        let_be_late(ledgers, event_id, 1900)
    assert sweep() == {Step.FAIL: 1}
    assert fields(ledgers, first)[:2] == (State.ANSWERED, "error")
    assert fields(ledgers, later)[:2] == (State.QUEUED, None)
    let_be_late(ledgers, later, -1)
    assert sweep() == {Step.EXPIRE: 1}
    assert fields(ledgers, later)[:2] == (State.EXPIRED, None)
    assert (ledgers.queued(), len(ledgers.sent())) == ([], 1)


def test_expired_event_runs_when_cattle_sends_it_again(ledgers, sweep):
    """W 4: the same id begins anew after it expired, with a time of its own."""
    event_id = ledgers.accept("again", data=LATER_START, remaining_ms=0)
    assert sweep() == {Step.EXPIRE: 1}
    worker = ledgers.start_process("w2.compute.1")
    ledgers.accept("again", data=LATER_START)
    assert worker.claim(event_id).verdict is Verdict.CLAIMED


def test_entry_of_an_older_bridge_expires_without_an_answer(ledgers, sweep):
    """W 4: an entry that does not say how it ends is treated like what cattle replays."""
    event_id = ledgers.accept(data=FIRST_START)
    ledgers.client.hdel(keys.event(HOST, event_id), "offline")
    let_be_late(ledgers, event_id, 1900)
    assert sweep() == {}


# -- FIFOs, many sweepers, hosts -------------------------------------------------------------------


def test_a_fifo_whose_head_was_lost_goes_on(ledgers, sweep, worker):
    """An event that was recorded and has become the head is queued."""
    for event_id in ("first", "second", "third"):
        ledgers.accept(event_id, resourceId="1ihm1")
    ledgers.client.delete(keys.event(HOST, "first"), QUEUE)
    assert sweep() == {Step.RESEND: 1}
    assert [fields(ledgers, one)[0] for one in ("second", "third")] == ["queued", "recorded"]


def test_a_fifo_that_was_lost_is_made_again(ledgers, sweep, worker):
    """Its events run in the order of their deadlines."""
    for event_id in ("first", "second", "third"):
        ledgers.accept(event_id, resourceId="1ihm1")
    ledgers.client.delete(*ledgers.client.keys("cowpoke:fifo:*"), keys.event(HOST, "first"), QUEUE)
    sweep()
    assert ledgers.queued() == ["second"]
    worker.claim("second")
    worker.complete("second", success({}))
    sweep()
    assert "third" in ledgers.queued()


def test_many_sweepers_send_a_message_once(ledgers, worker):
    """Every bridge sweeps; each step takes effect once."""
    event_id = ledgers.accept()
    ledgers.client.delete(QUEUE)
    age(ledgers, event_id, LOST_MS)
    entry = ledgers.entries()[event_id]
    assert [ledgers.recovery.resend(HOST, entry) for _ in range(3)].count(True) == 1
    assert ledgers.client.llen(QUEUE) == 1


def test_two_sweepers_in_the_same_ms_send_a_message_once(ledgers, worker):
    """The count of sends tells them apart where times do not."""
    event_id = ledgers.accept()
    ledgers.client.delete(QUEUE)
    entry = ledgers.entries()[event_id]
    assert ledgers.recovery.resend(HOST, entry)
    ledgers.client.hset(keys.event(HOST, event_id), "queued_ms", entry.queued_ms)
    assert not ledgers.recovery.resend(HOST, entry)
    assert ledgers.queued() == [event_id]


def test_a_host_with_nothing_left_is_forgotten(ledgers, sweep, worker):
    """Its set of hosts, its queues with old copies of messages, and the ids of its workers."""
    event_id = ledgers.accept()
    worker.claim(event_id)
    worker.complete(event_id, success({}))
    sweep()
    assert ledgers.client.smembers(keys.HOSTS) == {HOST}, "its outbox is not empty"
    ledgers.sent()
    ledgers.client.lpush(QUEUE, "a copy")
    ledgers.end_process(BOOT)
    sweep()
    assert not ledgers.client.exists(keys.HOSTS, QUEUE, keys.workers(HOST))


def test_a_host_with_open_events_is_not_forgotten(ledgers, sweep):
    """An event accepted while a sweeper looked keeps its host in the list."""
    event_id = ledgers.accept()
    ledgers.sweeper._sweep_some(HOST, ["another"])
    assert ledgers.client.smembers(keys.HOSTS) == {HOST}
    assert ledgers.queued() == [event_id]


def test_a_worker_sweeps_its_host_and_leaves_the_index_of_checks_to_bridges(ledgers, worker):
    """Its Redis user may not write there."""
    event_id = ledgers.accept()
    ledgers.client.rpop(QUEUE)
    age(ledgers, event_id, LOST_MS)
    ledgers.client.delete(keys.DUE)
    steps = Sweeper(ledgers.client, ledgers.keyring, ledgers.clock).sweep_host(HOST)
    assert dict(steps) == {Step.RESEND: 1}
    assert not ledgers.client.exists(keys.DUE)


# -- what is due -----------------------------------------------------------------------------------


def test_an_event_is_looked_at_when_its_check_is_due(ledgers, worker):
    """Not before; then by one bridge."""
    event_id = ledgers.accept()
    ledgers.client.rpop(QUEUE)
    assert ledgers.sweeper.sweep_due() == ({}, False)
    ledgers.pass_time(LOST_MS)
    ledgers.start_process(BOOT)
    assert ledgers.sweeper.sweep_due() == ({HOST: {Step.RESEND: 1}}, False)
    assert ledgers.sweeper.sweep_due() == ({}, False)
    assert ledgers.queued() == [event_id]


def test_an_event_that_is_over_leaves_the_index(ledgers, worker):
    """At its next check at the latest."""
    event_id = ledgers.accept(replyTo=None)
    worker.claim(event_id)
    worker.complete(event_id, success({}))
    ledgers.pass_time(LOST_MS)
    ledgers.sweeper.sweep_due()
    assert not ledgers.client.exists(keys.DUE)


def test_one_hosts_unreadable_keys_stop_no_other_host(ledgers):
    """The other host's event is looked at, too."""
    ledgers.accept("odd")
    ledgers.intake.accept([arrival("fine", host="host-2", remaining_ms=100)])
    ledgers.pass_time(LOST_MS)
    for key in (keys.open_events(HOST), keys.workers(HOST), keys.event(HOST, "odd")):
        ledgers.client.delete(key)
        ledgers.client.set(key, "x")
    steps, _ = ledgers.sweeper.sweep_due()
    assert steps["host-2"] == {Step.EXPIRE: 1}
