"""What the stateful test found, each as one short scenario, and what a reader found beside it."""

import pytest

from cowpoke import keys
from cowpoke.ledger.decisions import IN_TRANSIT_MS, NEXT_CHECK_FAR_MS, OVERDUE_MS, Step
from cowpoke.ledger.states import Accepted, State, Verdict
from cowpoke.liveness import LEASE_TTL_MS
from cowpoke.messages import event_id_of
from cowpoke.outcomes import error, progress, success
from cowpoke.routes import Lane
from tests.ledger_faults import MachineSweeper, Snapshot, SweeperKilledError
from tests.ledgers import HOST, QUEUE, arrival, lease

BOOT = "w1.compute.1"
LOST_MS = IN_TRANSIT_MS + 500


@pytest.fixture
def worker(ledgers):
    """A worker process that is alive."""
    return ledgers.start_process(BOOT)


@pytest.fixture
def raw(redis_server):
    """A client that does not decode, for snapshots."""
    with redis_server.client() as connected:
        yield connected


def due(ledgers):
    """The ids in the index of next checks."""
    return [member.split(" ")[1] for member in ledgers.client.zrange(keys.DUE, 0, -1)]


def end_next(ledgers, worker, event_id):
    """Let a worker take the next message of the queue and end its event."""
    assert event_id_of(ledgers.client.rpop(QUEUE)) == event_id
    assert worker.claim(event_id).verdict is Verdict.CLAIMED
    assert worker.complete(event_id, success({}))


# -- a Redis that came back with older data --------------------------------------------------------


def test_older_lease_does_not_keep_a_dead_process_alive(ledgers, raw):
    """The lease names processes of then; its worker writes it anew instead of prolonging it.

    Else the event of a dead process stays claimed for as long as its worker lives.
    """
    sealer = ledgers.keyring.host(HOST)
    event_id = ledgers.accept()
    ledgers.start_process(BOOT).claim(event_id)
    snapshot = Snapshot(raw, 0)
    ledgers.leases.renew(lease("w1.compute.2"), sealer)
    snapshot.restore(raw, 0)
    assert not ledgers.leases.prolong(HOST, "w1")
    ledgers.leases.renew(lease("w1.compute.2"), sealer)
    assert ledgers.sweeper.sweep_host(HOST) == {Step.RESEND: 1}


@pytest.mark.parametrize("step", ["complete", "requeue", "reject", "retry"])
def test_event_that_a_live_process_let_go_before_ends_all_the_same(ledgers, raw, worker, step):
    """The ledger says that the process has it, and the process does not know.

    Else it stays claimed, and holds up its resource, for as long as the process lives.
    """
    event_id = ledgers.accept(resourceId="1i1")
    following = ledgers.accept(resourceId="1i1", remaining_ms=3_600_000)
    ledgers.client.rpop(QUEUE)
    worker.claim(event_id)
    snapshot = Snapshot(raw, 0)
    steps = {
        "complete": lambda: worker.complete(event_id, success({})),
        "requeue": lambda: worker.requeue(event_id),
        "reject": lambda: worker.reject(event_id, delay_ms=0),
        "retry": lambda: worker.retry(event_id, delay_ms=0, lane=Lane.COMPUTE, queue=QUEUE),
    }
    assert steps[step]()
    snapshot.restore(raw, 0)
    ledgers.pass_time(60_000 + OVERDUE_MS + 50)
    ledgers.start_process(BOOT)
    ledgers.sweeper.sweep_due()
    assert ledgers.state(event_id) == State.EXPIRED
    assert ledgers.queued() == [following]


# -- an id that begins anew ------------------------------------------------------------------------


def test_ping_that_begins_anew_keeps_its_next_check(ledgers):
    """Its former answer is collected late, and takes only what is over out of the index.

    Else a lost message of the ping that came again is never noticed.
    """
    worker = ledgers.start_process("w1.control.1")
    one = arrival(name="ping", timeoutMillis=2_000)
    ledgers.intake.accept([one])
    worker.claim(one.event.id)
    worker.complete(one.event.id, success({}))
    ledgers.set_back(one.event.id, 2_000)
    assert ledgers.intake.accept([one]) == [Accepted.QUEUED]
    ledgers.outboxes.collect(HOST)
    assert due(ledgers) == [one.event.id]


def test_event_that_begins_anew_while_a_sweeper_looks_keeps_its_next_check(ledgers):
    """The sweeper read that it was over; it is removed from the indexes only if it still is."""
    one = arrival(remaining_ms=0)
    ledgers.intake.accept([one])
    ledgers.worker(BOOT).claim(one.event.id)
    assert ledgers.recovery.open_entries(HOST, [one.event.id]) == []
    assert ledgers.intake.accept([arrival(one.event.id)]) == [Accepted.QUEUED]
    ledgers.sweeper._plan_checks(HOST, [one.event.id], {})
    assert due(ledgers) == [one.event.id]
    assert ledgers.client.zrange(keys.open_events(HOST), 0, -1) == [one.event.id]


def test_refused_ping_that_was_answered_before_is_refused(ledgers):
    """No answer of it was kept that could be sent again."""
    worker = ledgers.start_process("w1.control.1")
    one = arrival(name="ping", timeoutMillis=2_000)
    ledgers.intake.accept([one])
    worker.claim(one.event.id)
    worker.complete(one.event.id, success({}))
    ledgers.set_back(one.event.id, 2_000)
    assert ledgers.refuse(one.event, error("a", "b")) is Accepted.REFUSED
    sent = {outcome.kind for _, outcome in ledgers.sent()}
    assert sent == {"success", "error"}


def test_event_that_expired_and_comes_again_is_refused(ledgers, worker):
    """Its host has gone meanwhile: cattle gets the error."""
    one = arrival(remaining_ms=0)
    ledgers.intake.accept([one])
    worker.claim(one.event.id)
    assert ledgers.refuse(one.event, error("a", "b")) is Accepted.REFUSED


def test_refusal_for_a_host_without_events_is_found_without_the_doorbell(ledgers):
    """Bridges look for outboxes at the hosts of one set, so the host is in it."""
    ledgers.refuse(arrival().event, error("a", "b"))
    assert ledgers.outboxes.filled() == [HOST]


# -- order -----------------------------------------------------------------------------------------


def test_old_copy_of_a_message_does_not_run_an_event_before_its_turn(ledgers, worker):
    """The event waits for an earlier one of its resource."""
    ledgers.intake.accept([arrival(event_id, resourceId="1i1") for event_id in ("e1", "e2")])
    assert worker.claim("e2").verdict is Verdict.WAITS
    assert worker.claim("e1").verdict is Verdict.CLAIMED


def test_resource_whose_head_redis_lost_goes_on_with_the_next_event(ledgers):
    """A later event for the resource also gets the waiting one under way."""
    ledgers.intake.accept([arrival(event_id, resourceId="1i1") for event_id in ("e1", "e2")])
    ledgers.client.delete(keys.event(HOST, "e1"), QUEUE)
    assert ledgers.intake.accept([arrival("e3", resourceId="1i1")]) == [Accepted.RECORDED]
    assert ledgers.queued() == ["e2"]


def test_event_that_is_missing_in_its_fifo_does_not_expire_there(ledgers, worker):
    """Redis lost the FIFO, and a later event for the resource began it anew.

    Else nobody queues the earlier event when the later one is over.
    """
    ledgers.intake.accept([arrival(event_id, resourceId="1i1") for event_id in ("e1", "e2")])
    ledgers.client.delete(keys.fifo(HOST, "instanceHostMap:1i1"))
    end_next(ledgers, worker, "e1")
    assert ledgers.intake.accept([arrival("e3", resourceId="1i1")]) == [Accepted.QUEUED]
    ledgers.sweeper.hasten([HOST])
    ledgers.sweeper.sweep_due()
    assert ledgers.queued() == ["e3"]
    end_next(ledgers, worker, "e3")
    assert ledgers.queued() == ["e2"]


# -- counters and times ----------------------------------------------------------------------------


def test_entry_without_a_time_of_queueing_is_sent_again(ledgers, worker):
    """A missing counter is 0 for the sweeper and for the script that compares what it saw."""
    event_id = ledgers.accept()
    ledgers.client.delete(QUEUE)
    ledgers.client.hdel(keys.event(HOST, event_id), "queued_ms", "retry_at_ms", "sends", "deaths")
    assert ledgers.sweeper.sweep_host(HOST) == {Step.RESEND: 1}


def test_rejection_is_forgotten_once_another_worker_reads_the_event(ledgers, worker):
    """Else its retry ends with the error that nobody can read it."""
    event_id = ledgers.accept(remaining_ms=600_000)
    worker.claim(event_id)
    worker.reject(event_id, delay_ms=0)
    ledgers.pass_time(31_000)
    worker = ledgers.start_process(BOOT)
    assert worker.claim(event_id).verdict is Verdict.CLAIMED
    worker.retry(event_id, delay_ms=10_000, lane=Lane.COMPUTE, queue=QUEUE)
    assert ledgers.sweeper.sweep_host(HOST) == {}


def test_fresh_copy_of_a_rejected_event_runs_at_once(ledgers, worker):
    """The payload in Redis was forged; cattle's next send brings a true one."""
    event_id = ledgers.accept()
    ledgers.client.rpop(QUEUE)
    ledgers.client.hset(keys.event(HOST, event_id), "payload", "forged")
    worker.claim(event_id)
    worker.reject(event_id, delay_ms=3_000)
    assert ledgers.intake.accept([arrival(event_id)]) == [Accepted.KNOWN]
    assert ledgers.queued() == [event_id]
    assert worker.open_event(event_id, worker.claim(event_id)).id == event_id


def test_checks_planned_by_a_clock_that_was_set_back_are_not_waited_for(ledgers, worker):
    """No check is planned that far ahead."""
    event_id = ledgers.accept()
    ledgers.client.delete(QUEUE)
    ledgers.set_back(event_id, LOST_MS, "queued_ms")
    hours_ahead = ledgers.clock.now_ms() + NEXT_CHECK_FAR_MS + 5 * 3_600_000
    ledgers.client.zadd(keys.DUE, {f"{HOST} {event_id}": hours_ahead})
    assert ledgers.sweeper.sweep_due()[0] == {HOST: {Step.RESEND: 1}}


def test_failed_ping_is_kept_no_longer_than_an_answered_one(ledgers):
    """It has a lifetime of its own, however it ended."""
    event_id = ledgers.accept(name="ping")
    assert ledgers.recovery.fail(HOST, ledgers.entries()[event_id], error("a", "b"))
    assert ledgers.client.pttl(keys.event(HOST, event_id)) <= keys.ANSWERED_PING_TTL_MS


def test_worker_whose_lease_was_away_for_a_moment_stays_in_the_list(ledgers):
    """A reader that saw it without a lease looks again in the step that removes it."""
    ledgers.start_process(BOOT)
    ledgers.leases._forget(HOST, ["w1"])
    assert ledgers.client.smembers(keys.workers(HOST)) == {"w1"}


def test_progress_of_a_process_that_lost_the_event_moves_nothing(ledgers, worker):
    """The event is another's: only that one says how long cattle shall wait."""
    event_id = ledgers.accept(remaining_ms=5_000)
    worker.claim(event_id)
    ledgers.pass_time(LEASE_TTL_MS + 50 - 1_000)
    ledgers.end_process(BOOT)
    other = ledgers.start_process("w2.compute.1")
    assert other.claim(event_id).verdict is Verdict.CLAIMED
    assert worker.progress(event_id, progress("x")) == 0
    assert ledgers.sent() == []


# -- keys of others --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [keys.OUTCOMES, "host.host-2", "host.host-10"])
def test_forged_queue_makes_a_sweeper_touch_no_key_of_others(ledgers, worker, name):
    """A host may write its events' hashes; a bridge must not act on other keys for it."""
    event_id = ledgers.accept()
    entry = ledgers.entries()[event_id]
    ledgers.client.hset(keys.event(HOST, event_id), "queue", name)
    ledgers.client.xadd(name, {"a": "b"})
    assert not ledgers.recovery.resend(HOST, entry)
    assert ledgers.recovery.fail(HOST, entry, error("a", "b"))
    assert ledgers.client.type(name) == "stream"


def test_sweeper_that_is_killed_leaves_its_events_to_the_next_one(ledgers, worker):
    """They are due again soon."""
    event_id = ledgers.accept()
    ledgers.client.delete(QUEUE)
    ledgers.pass_time(LOST_MS)
    ledgers.start_process(BOOT)
    dying = MachineSweeper(ledgers.client, ledgers.keyring, ledgers.clock)
    dying.killed_after = 0
    with pytest.raises(SweeperKilledError):
        dying.sweep_due()
    assert ledgers.sweeper.sweep_due() == ({}, False)
    ledgers.pass_time(5_050)
    ledgers.start_process(BOOT)
    assert ledgers.sweeper.sweep_due()[0] == {HOST: {Step.RESEND: 1}}
    assert ledgers.queued() == [event_id]
