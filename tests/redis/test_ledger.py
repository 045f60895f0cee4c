"""The ledger as a whole: a sweeper's steps, compared and set, and what is in Redis at any time."""

import time

import pytest

from cowpoke import keys
from cowpoke.events import Event
from cowpoke.ledger.replies import ReplyLedger
from cowpoke.ledger.states import Accepted, Verdict
from cowpoke.outcomes import error, progress, success
from tests.ledgers import HOST, QUEUE, arrival, everything

BOOT = "w1.compute.1"
STEPS = ["resend", "expire", "fail"]


@pytest.fixture
def worker(ledgers):
    """A worker process that is alive."""
    return ledgers.start_process(BOOT)


def do(ledgers, step, entry):
    """One step of a sweeper."""
    if step == "fail":
        return ledgers.recovery.fail(HOST, entry, error("a", "b"))
    return getattr(ledgers.recovery, step)(HOST, entry)


# -- steps of a sweeper: compared and set ----------------------------------------------------------


def test_a_lost_message_is_sent_again(ledgers):
    """The same message goes into the same queue."""
    event_id = ledgers.accept()
    ledgers.client.delete(QUEUE)
    assert ledgers.recovery.resend(HOST, ledgers.entries()[event_id])
    assert ledgers.queued() == [event_id]
    assert ledgers.entries()[event_id].sends == 2


@pytest.mark.parametrize("step", STEPS)
def test_a_sweeper_does_nothing_to_an_event_that_moved(ledgers, worker, step):
    """What a worker claimed since the sweeper looked is left to it."""
    event_id = ledgers.accept()
    seen = ledgers.entries()[event_id]
    worker.claim(event_id)
    assert not do(ledgers, step, seen)
    assert ledgers.is_claimed_by(event_id, BOOT)
    assert worker.complete(event_id, success({}))


@pytest.mark.parametrize("step", STEPS)
def test_a_sweeper_does_nothing_to_what_a_live_process_has(ledgers, worker, step):
    """A lease that came back in time saves the work."""
    event_id = ledgers.accept()
    worker.claim(event_id)
    assert not do(ledgers, step, ledgers.entries()[event_id])
    assert ledgers.is_claimed_by(event_id, BOOT)


@pytest.mark.parametrize("step", STEPS)
def test_a_sweepers_step_is_done_once(ledgers, worker, step):
    """Several sweepers that saw the same do it once."""
    event_id = ledgers.accept()
    worker.claim(event_id)
    ledgers.end_process(BOOT)
    seen = ledgers.entries()[event_id]
    assert [bool(do(ledgers, step, seen)) for _ in range(2)] == [True, False]


def test_an_event_is_not_dropped_before_its_deadline(ledgers):
    """A deadline that moved since the sweeper looked saves the event."""
    event_id = ledgers.accept()
    seen = ledgers.entries()[event_id]
    assert ledgers.intake.accept([arrival(event_id, remaining_ms=120_000)]) == [Accepted.KNOWN]
    assert not ledgers.recovery.expire(HOST, seen)


def test_a_failed_event_leaves_its_queue(ledgers):
    """The messages of a host that is away do not pile up."""
    event_id = ledgers.accept()
    away = error("host-offline", "away")
    assert ledgers.recovery.fail(HOST, ledgers.entries()[event_id], away)
    assert (ledgers.queued(), ledgers.sent()) == ([], [(event_id, away)])


def test_failing_many_queued_events_takes_the_same_time_for_each(ledgers):
    """Ten times as many events take about ten times as long, not a hundred times."""

    def fail_s(number):
        batch = [arrival() for _ in range(number)]
        for first in range(0, number, 500):
            ledgers.intake.accept(batch[first : first + 500])
        entries = ledgers.entries()
        seen = [entries[one.event.id] for one in batch]
        began_s = time.thread_time()
        before = ledgers.client.info("commandstats")["cmdstat_evalsha"]["usec"]
        for entry in seen:
            assert ledgers.recovery.fail(HOST, entry, error("a", "b"))
        after = ledgers.client.info("commandstats")["cmdstat_evalsha"]["usec"]
        assert ledgers.queued() == []
        ledgers.client.flushall()
        assert time.thread_time() >= began_s
        return (after - before) / number

    fail_s(200)
    few_us, many_us = fail_s(500), fail_s(5_000)
    assert many_us < 3 * few_us, (few_us, many_us)


def test_open_events_are_listed_by_deadline(ledgers, worker):
    """What is over is not among them, what Redis lost is forgotten."""
    for name, remaining_ms in (("late", 9000), ("early", 1000), ("done", 5000), ("lost", 100)):
        ledgers.accept(name, remaining_ms=remaining_ms)
    worker.claim("done")
    worker.complete("done", success({}))
    ledgers.client.delete(keys.event(HOST, "lost"))
    assert list(ledgers.entries()) == ["early", "late"]
    assert ledgers.client.zrange(keys.open_events(HOST), 0, -1) == ["early", "late"]


@pytest.mark.parametrize(
    "fields",
    [
        {"deadline_ms": "soon"},
        {"deadline_ms": ""},
        {"queue": ""},
        {"queue": "host.host-2"},
        {"queue": keys.OUTCOMES},
        {"fifo": "cowpoke:fifo:host-2:x"},
        {"state": "dancing"},
    ],
)
def test_an_unreadable_entry_is_left_alone_until_its_deadline_and_goes_then(ledgers, fields):
    """It stops no sweeper, and makes it touch no key of others."""
    event_id, other = ledgers.accept(), ledgers.accept()
    ledgers.client.hset(keys.event(HOST, event_id), mapping=fields)
    assert list(ledgers.entries()) == [other]
    assert ledgers.client.exists(keys.event(HOST, event_id))
    ledgers.pass_time(60_050)
    assert list(ledgers.entries()) == [other]
    assert not ledgers.client.exists(keys.event(HOST, event_id))


# -- what is in Redis ------------------------------------------------------------------------------

WITHOUT_TTL = (
    "cowpoke:open:",
    "cowpoke:hosts",
    "cowpoke:due",
    "cowpoke:outcomes",
    "cowpoke:outbox:",
    "cowpoke:workers:",
    "host.",
)


def test_every_key_of_ours_has_a_lifetime(ledgers, worker):
    """Nothing is for ever but what is documented as such, and that empties by itself (C 35)."""
    for number in range(3):
        ledgers.accept(f"waiting-{number}", resourceId="1ihm1")
    ledgers.accept("claimed")
    worker.claim("claimed")
    ReplyLedger(ledgers.client, "b1").begin_progress(HOST, "claimed")
    for name, fields in (("answered", {}), ("ping", {"name": "ping"})):
        ledgers.accept(name, **fields)
        worker.claim(name)
        worker.complete(name, success({}))
    ledgers.accept("expired", remaining_ms=0)
    worker.claim("expired")
    ledgers.refuse(Event(id="refused", name="x", reply_to="reply.1"), error("a", "b"))
    for key in ledgers.client.scan_iter():
        assert key.startswith(WITHOUT_TTL) or ledgers.client.pttl(key) > 0, key
    assert ledgers.client.pttl(keys.event(HOST, "ping")) <= keys.ANSWERED_PING_TTL_MS
    assert ledgers.client.pttl(keys.event(HOST, "answered")) > keys.ANSWERED_PING_TTL_MS


def test_nothing_is_left_of_what_is_over(ledgers, worker):
    """When all events are answered and sent, only their short-lived entries remain (C 35)."""
    ids = [ledgers.accept(resourceId="1ihm1") for _ in range(3)]
    for event_id in ids:
        worker.claim(event_id)
        worker.complete(event_id, success({}))
    ledgers.sent()
    ledgers.client.delete(*keys.OUTCOME_STREAMS)
    ledgers.sweeper.sweep_host(HOST)
    assert ledgers.client.pttl(keys.started(HOST)) <= keys.STARTED_TTL_MS
    ledgers.client.delete(keys.started(HOST))
    left = {key for key in ledgers.client.scan_iter() if not key.startswith(keys.EVENT_PREFIX)}
    assert left == {keys.workers(HOST), keys.lease(HOST, "w1")}


def test_no_payload_lies_in_redis_in_clear(client, ledgers, worker):
    """A dump of Redis shows no password, of an event or of a reply, at any time."""
    seen = ""
    event_id = ledgers.accept(data={"registryCredential": {"secretValue": "hunter2"}})
    seen += everything(client)
    worker.claim(event_id)
    worker.progress(event_id, progress("hunter2"))
    seen += everything(client)
    worker.complete(event_id, success({"env": "hunter2"}))
    ledgers.refuse(arrival().event, error("a", "hunter2"))
    seen += everything(client)
    assert event_id in seen
    assert "hunter2" not in seen


def test_it_works_after_redis_forgot_its_scripts(client, ledgers, worker):
    """A Redis that was restarted gets the scripts again, alone and in a batch (C 36)."""
    event_id = ledgers.accept()
    client.script_flush()
    assert worker.claim(event_id).verdict is Verdict.CLAIMED
    client.script_flush()
    assert ledgers.intake.accept([arrival()]) == [Accepted.QUEUED]
    client.script_flush()
    assert ledgers.intake.accept([arrival(), arrival()]) == [Accepted.QUEUED] * 2
