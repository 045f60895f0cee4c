"""The worker's side of the ledger: an event is claimed by one live process, and completed once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from cowpoke import keys
from cowpoke.envelopes import REPLAY_WINDOW_MS, opened_outcome
from cowpoke.ledger.replies import ReplyLedger
from cowpoke.ledger.states import State, Verdict
from cowpoke.outcomes import error, progress, success
from cowpoke.routes import Lane
from cowpoke.seal import ClusterKeyring, SealBrokenError
from simulator.rig.processes import wait_until
from tests.ledgers import HOST, QUEUE, Ledgers, arrival

BOOT = "w1.compute.1"


@pytest.fixture
def worker(ledgers):
    """A worker process that is alive."""
    return ledgers.start_process(BOOT)


# -- claim -----------------------------------------------------------------------------------------


def test_a_claimed_event_comes_with_its_content(ledgers, worker):
    """The process that claims an event gets all of it, unsealed with its key."""
    one = arrival(data={"password": "hunter2"})
    ledgers.intake.accept([one])
    claim = worker.claim(one.event.id)
    assert (claim.verdict, claim.attempts) == (Verdict.CLAIMED, 1)
    assert 0 < claim.remaining_ms <= 60_000
    assert worker.open_event(one.event.id, claim) == one.event
    assert ledgers.is_claimed_by(one.event.id, BOOT)


def test_exactly_one_of_many_claims_an_event(ledgers):
    """Copies of a message that run at the same moment end all but one."""
    event_id = ledgers.accept()
    workers = [ledgers.start_process(f"w{number}.compute.1") for number in range(4)] * 4
    ready = threading.Barrier(16)

    def claim(worker):
        ready.wait()
        return worker.claim(event_id).verdict

    with ThreadPoolExecutor(16) as threads:
        verdicts = list(threads.map(claim, workers))
    assert sorted(verdicts) == [Verdict.BUSY] * 15 + [Verdict.CLAIMED]


def test_the_same_call_again_claims_it_still(ledgers, worker):
    """A claim whose answer was lost with a connection is asked again, and has it."""
    event_id = ledgers.accept()
    first = worker.claim(event_id, token="t1")
    again = worker.claim(event_id, token="t1")
    assert (again.verdict, again.payload, again.attempts) == (Verdict.CLAIMED, first.payload, 1)
    assert worker.claim(event_id, token="t2").verdict is Verdict.BUSY


def test_an_event_of_a_dead_process_can_be_claimed(ledgers, worker):
    """A process without a lease has nothing any more."""
    event_id = ledgers.accept()
    worker.claim(event_id)
    ledgers.end_process(BOOT)
    assert ledgers.start_process("w2.compute.1").claim(event_id).attempts == 2
    assert ledgers.entries()[event_id].deaths == 1


def test_an_event_of_a_lane_that_was_started_again_can_be_claimed(ledgers, worker):
    """The lease of its worker names the new process only."""
    event_id = ledgers.accept()
    worker.claim(event_id)
    assert ledgers.start_process("w1.compute.2").claim(event_id).verdict is Verdict.CLAIMED


def test_a_late_event_is_dropped_when_it_is_claimed(ledgers, worker):
    """What waited past its deadline is not run, and nothing is answered."""
    event_id = ledgers.accept(remaining_ms=0)
    assert worker.claim(event_id).verdict is Verdict.EXPIRED
    assert worker.claim(event_id).verdict is Verdict.OVER
    assert (ledgers.sent(), ledgers.entries()) == ([], {})


def test_an_answered_event_cannot_be_claimed(ledgers, worker):
    """A second copy of the message finds the event over."""
    event_id = ledgers.accept()
    worker.claim(event_id)
    worker.complete(event_id, success({}))
    assert worker.claim(event_id).verdict is Verdict.OVER


def test_a_forged_message_finds_nothing(worker):
    """A message without an entry runs nothing (C 41)."""
    assert worker.claim("forged").verdict is Verdict.GONE


# -- content that was not sealed for this ----------------------------------------------------------


def test_content_of_another_key_is_refused(ledgers, worker):
    """A worker with the wrong key runs nothing of what it cannot read."""
    event_id = ledgers.accept()
    claim = worker.claim(event_id)
    other = Ledgers(ledgers.client, ClusterKeyring())
    with pytest.raises(SealBrokenError):
        other.worker(BOOT).open_event(event_id, claim)


def test_the_payload_of_another_event_is_refused(ledgers, worker):
    """C 41: sealed content that was moved to another event's entry runs nothing."""
    first, second = ledgers.accept(), ledgers.accept()
    payload = ledgers.client.hget(keys.event(HOST, first), "payload")
    ledgers.client.hset(keys.event(HOST, second), "payload", payload)
    with pytest.raises(SealBrokenError):
        worker.open_event(second, worker.claim(second))


def test_the_payload_of_another_host_is_refused(ledgers):
    """C 41: an entry that was copied to another host runs nothing there."""
    event_id = ledgers.accept()
    ledgers.client.copy(keys.event(HOST, event_id), keys.event("host-2", event_id))
    other = ledgers.start_process(BOOT, "host-2")
    claim = other.claim(event_id)
    assert claim.verdict is Verdict.CLAIMED
    with pytest.raises(SealBrokenError):
        other.open_event(event_id, claim)


def test_a_payload_of_long_ago_is_refused(ledgers, worker):
    """C 41: who kept an entry of Redis and puts it back later runs nothing."""
    one = arrival()
    ledgers.intake.accept([one])
    claim = worker.claim(one.event.id)
    window_ms = one.event.timeout_ms + REPLAY_WINDOW_MS
    # One that knows only the time of the claim.
    reader = Ledgers(ledgers.client, ledgers.keyring).worker(BOOT)
    in_time = replace(claim, claimed_ms=claim.claimed_ms + window_ms - 1000)
    assert reader.open_event(one.event.id, in_time) == one.event
    late = replace(claim, claimed_ms=claim.claimed_ms + window_ms + 1000)
    with pytest.raises(SealBrokenError, match="expired"):
        reader.open_event(one.event.id, late)


# -- retry, requeue, reject ------------------------------------------------------------------------


def test_an_event_waits_for_its_retry(ledgers, worker):
    """Put back for a retry, an event has its new lane, its queue and the time of the retry."""
    event_id = ledgers.accept()
    worker.claim(event_id)
    assert worker.retry(event_id, delay_ms=5000, lane=Lane.IMAGES, queue=f"{QUEUE}.images")
    entry = ledgers.entries()[event_id]
    assert (entry.state, entry.boot, entry.lane, entry.queue) == (
        State.QUEUED,
        "",
        "images",
        f"{QUEUE}.images",
    )
    assert entry.retry_at_ms == entry.queued_ms + 5000
    assert worker.claim(event_id).attempts == 2


def test_a_requeued_event_is_in_its_queue_again(ledgers, worker):
    """A process that stops is no death of the event's."""
    event_id = ledgers.accept()
    ledgers.client.rpop(QUEUE)
    worker.claim(event_id)
    assert worker.requeue(event_id)
    assert ledgers.queued() == [event_id]
    assert ledgers.entries()[event_id].deaths == 0


def test_a_rejected_event_waits_and_says_since_when(ledgers, worker):
    """Another worker may be able to read it; the first rejection counts."""
    event_id = ledgers.accept()
    for _ in range(2):
        ledgers.client.delete(QUEUE)
        worker.claim(event_id)
        assert worker.reject(event_id, delay_ms=3000)
        ledgers.set_back(event_id, 1000, "rejected_ms")
    entry = ledgers.entries()[event_id]
    assert (entry.state, ledgers.queued()) == (State.QUEUED, [])
    assert entry.queued_ms - entry.rejected_ms >= 2000


@pytest.mark.parametrize("step", ["retry", "requeue", "reject", "progress"])
def test_only_the_process_that_has_an_event_does_anything_with_it(ledgers, worker, step):
    """A process that lost an event does not put it back for another, nor report its progress."""
    event_id = ledgers.accept()
    worker.claim(event_id)
    other = ledgers.start_process("w2.compute.1")
    steps = {
        "retry": lambda: other.retry(event_id, delay_ms=0, lane=Lane.COMPUTE, queue=QUEUE),
        "requeue": lambda: other.requeue(event_id),
        "reject": lambda: other.reject(event_id, delay_ms=0),
        "progress": lambda: other.progress(event_id, progress("x")),
    }
    assert not steps[step]()
    assert ledgers.is_claimed_by(event_id, BOOT)


# -- complete and progress -------------------------------------------------------------------------


def test_an_event_is_completed_once(ledgers, worker):
    """The first final outcome is the only one."""
    event_id = ledgers.accept()
    worker.claim(event_id)
    outcomes = [success({"a": 1}), error("a", "b"), success({"a": 2})]
    assert [worker.complete(event_id, outcome) for outcome in outcomes] == [True, False, False]
    assert ledgers.sent() == [(event_id, success({"a": 1}))]
    assert ledgers.state(event_id) == State.ANSWERED


def test_an_event_completed_from_many_sides_has_one_outcome(ledgers, worker):
    """Outcomes that come at the same moment leave one."""
    event_id = ledgers.accept()
    worker.claim(event_id)
    ready = threading.Barrier(8)

    def complete(number):
        ready.wait()
        return worker.complete(event_id, success({"number": number}))

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(complete, range(8))) == [False] * 7 + [True]
    assert len(ledgers.sent()) == 1


def test_an_event_without_a_reply_address_is_completed_in_silence(ledgers, worker):
    """Nobody waits, so nothing is sent; the event is over all the same (A 1.17)."""
    for fields in (
        {"replyTo": None},
        {"name": "compute.instance.force.stop", "replyTo": "compute.instance.force.stop.reply"},
    ):
        event_id = ledgers.accept(**fields)
        worker.claim(event_id)
        assert worker.complete(event_id, success({}))
        assert ledgers.state(event_id) == State.ANSWERED
    assert ledgers.sent() == []


def test_progress_is_sent_while_an_event_is_worked_on_and_never_later(ledgers, worker):
    """No progress before the event is claimed, none after its final outcome."""
    event_id = ledgers.accept()
    assert not worker.progress(event_id, progress("too early"))
    worker.claim(event_id)
    assert worker.progress(event_id, progress("now", 50))
    worker.complete(event_id, success({}))
    assert not worker.progress(event_id, progress("too late"))
    assert [outcome for _, outcome in ledgers.sent()] == [progress("now", 50), success({})]


def test_a_copy_of_a_completed_event_leaves_its_queue(ledgers, worker):
    """A process presumed dead that completes after all takes the second copy back."""
    event_id = ledgers.accept()
    ledgers.client.rpop(QUEUE)
    worker.claim(event_id)
    ledgers.end_process(BOOT)
    assert ledgers.recovery.resend(HOST, ledgers.entries()[event_id])
    assert ledgers.queued() == [event_id]
    assert worker.complete(event_id, success({}))
    assert ledgers.queued() == []


def test_the_lifetime_of_an_entry_follows_its_prolonged_deadline(ledgers, worker):
    """An event that reports progress for more than a day is there until its deadline."""
    event_id = ledgers.accept(timeoutMillis=12 * 3_600_000)
    worker.claim(event_id)
    for key in (keys.event(HOST, event_id), *ledgers.client.scan_iter("cowpoke:fifo:*")):
        ledgers.client.pexpire(key, 5_000)
    assert worker.progress(event_id, progress("now"))
    for key in (keys.event(HOST, event_id), *ledgers.client.scan_iter("cowpoke:fifo:*")):
        assert ledgers.client.pttl(key) > 12 * 3_600_000, key


def test_a_final_outcome_says_until_when_cattle_waits_and_when_it_was_begun(ledgers, worker):
    """What progress moved, and what the age of a list is known by, is sealed with the outcome."""
    event_id = ledgers.accept()
    claim = worker.claim(event_id)
    deadline_ms = worker.progress(event_id, progress("now"))
    worker.complete(event_id, success({}), deadline_ms=deadline_ms)
    ledgers.outboxes.collect(HOST)
    content = ledgers.client.xrevrange(keys.OUTCOMES, count=1)[0][1]["content"]
    opened = opened_outcome(ledgers.keyring.host(HOST), content, event_id=event_id, kind="success")
    assert (opened.deadline_ms, opened.claimed_ms) == (deadline_ms, claim.claimed_ms)


# -- replies ---------------------------------------------------------------------------------------


def test_progress_of_a_bridge_is_seen_by_the_others(ledgers, worker):
    """A bridge with the final outcome can wait for progress that others are sending."""
    first, second = (ReplyLedger(ledgers.client, bridge_id) for bridge_id in ("b1", "b2"))
    for bridge_id in ("b1", "b2"):
        ledgers.leases.renew_bridge(bridge_id)
    event_id = ledgers.accept()
    worker.claim(event_id)
    assert first.begin_progress(HOST, event_id)
    assert second.begin_progress(HOST, event_id)
    assert not first.begin_progress(HOST, "over")
    first.end_progress(event_id)
    assert first.progress_underway(event_id)
    assert not second.progress_underway(event_id)
    second.end_progress(event_id)
    assert not first.progress_underway(event_id)


def test_progress_of_a_dead_bridge_is_not_waited_for(ledgers, worker):
    """What it was sending when it died holds up no final outcome."""
    event_id = ledgers.accept()
    worker.claim(event_id)
    assert ReplyLedger(ledgers.client, "dead").begin_progress(HOST, event_id)
    assert not ReplyLedger(ledgers.client, "b1").progress_underway(event_id)


def test_a_list_of_containers_is_current_until_an_activate_ends_well(ledgers, worker):
    """A 14.12: cattle destroys what it knows and a list lacks, so an older list is none."""
    replies = ReplyLedger(ledgers.client, "b1")
    before, failed, started = (ledgers.accept() for _ in range(3))
    ping = ledgers.accept(name="ping")
    worker.claim(before)
    worker.complete(before, success({}))
    started_ms = int(ledgers.client.get(keys.started(HOST)))
    wait_until(lambda: ledgers.clock.now_ms() > started_ms + 2, 5, "a later moment")
    claimed_ms = worker.claim(ping).claimed_ms
    worker.complete(failed, error("a", "b"))
    assert replies.list_is_current(HOST, claimed_ms)
    worker.complete(started, success({}))
    assert not replies.list_is_current(HOST, claimed_ms)
    assert not replies.list_is_current(HOST, 0)
