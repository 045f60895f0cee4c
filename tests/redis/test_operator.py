"""What a person may do with an event that has no answer yet."""

import pytest

from cowpoke import keys
from cowpoke.ledger.operator import Did, OperatorLedger
from cowpoke.ledger.states import State, Verdict
from cowpoke.outcomes import progress, success
from cowpoke.routes import Lane
from tests.ledgers import HOST, QUEUE

RESOURCE = {"resourceType": "instanceHostMap", "resourceId": "1ihm-same"}


@pytest.fixture
def operator(client, keyring):
    """The side of a person."""
    return OperatorLedger(client, keyring)


@pytest.fixture
def worker(ledgers):
    """A live worker process."""
    return ledgers.start_process()


def wait_for_retry(ledgers, worker, delay_ms=30_000):
    """An event that waits for its next try; its message is with its worker."""
    event_id = ledgers.accept()
    ledgers.client.delete(QUEUE)
    worker.claim(event_id)
    worker.retry(event_id, delay_ms=delay_ms, lane=Lane.COMPUTE, queue=QUEUE, code="engine-busy")
    return event_id


def test_retry_queues_what_waits_for_its_next_try(ledgers, worker, operator):
    """The message of the planned try finds the event claimed, and later over."""
    event_id = wait_for_retry(ledgers, worker)
    assert operator.retry(HOST, event_id) is Did.QUEUED
    assert ledgers.queued() == [event_id]
    assert operator.retry(HOST, event_id) is Did.WAITING
    assert worker.claim(event_id).verdict is Verdict.CLAIMED
    assert ledgers.worker("w2.compute.1").claim(event_id).verdict is Verdict.BUSY
    assert worker.complete(event_id, success({}))
    assert worker.claim(event_id).verdict is Verdict.OVER
    assert [one for one, _ in ledgers.sent()] == [event_id]


def test_retry_of_what_a_worker_could_not_read(ledgers, worker, operator):
    """It need not wait for the sweeper."""
    event_id = ledgers.accept()
    ledgers.client.delete(QUEUE)
    worker.claim(event_id)
    worker.reject(event_id, delay_ms=3_000)
    assert operator.retry(HOST, event_id) is Did.QUEUED
    assert ledgers.queued() == [event_id]
    assert ledgers.entries()[event_id].rejected_ms == 0


def test_retry_changes_nothing_otherwise(ledgers, worker, operator):
    """Each other state has its own answer."""
    first, second = ledgers.accept(**RESOURCE), ledgers.accept(**RESOURCE)
    assert operator.retry(HOST, first) is Did.WAITING
    assert operator.retry(HOST, second) is Did.RECORDED
    worker.claim(first)
    assert operator.retry(HOST, first) is Did.CLAIMED
    worker.complete(first, success({}))
    assert operator.retry(HOST, first) is Did.ANSWERED
    assert operator.retry(HOST, "unknown") is Did.GONE
    assert ledgers.queued() == [first, second], "nothing but what was queued before"
    late = wait_for_retry(ledgers, worker, delay_ms=3_600_000)
    ledgers.set_back(late, 120_000, "deadline_ms")
    assert operator.retry(HOST, late) is Did.LATE


@pytest.mark.parametrize("state", [State.RECORDED, State.QUEUED, State.CLAIMED])
def test_drop_answers_with_an_error(ledgers, worker, operator, state):
    """Whoever has the event; the next one for its resource has its turn."""
    first, second = ledgers.accept(**RESOURCE), ledgers.accept(**RESOURCE)
    dropped = second if state == State.RECORDED else first
    if state == State.CLAIMED:
        worker.claim(first)
    assert ledgers.state(dropped) == state
    assert operator.drop(HOST, dropped, "it hangs") is Did.DROPPED
    ((event_id, outcome),) = ledgers.sent()
    assert (event_id, outcome.code) == (dropped, "dropped")
    assert outcome.message == "an operator dropped this event: it hangs"
    assert dropped not in ledgers.entries()
    assert operator.drop(HOST, dropped) is Did.ANSWERED
    if state != State.RECORDED:
        assert ledgers.state(second) == State.QUEUED
        assert ledgers.queued()[-1] == second
    if state == State.QUEUED:
        assert ledgers.queued() == [second], "its message left the queue"


def test_worker_of_a_dropped_event_learns_of_it(ledgers, worker, operator):
    """Neither progress nor its outcome reaches cattle."""
    event_id = ledgers.accept()
    claim = worker.claim(event_id)
    operator.drop(HOST, event_id)
    assert not worker.holds(event_id, claim)
    assert worker.progress(event_id, progress("half")) == 0
    assert not worker.complete(event_id, success({}))
    assert [outcome.code for _, outcome in ledgers.sent()] == ["dropped"]


def test_drop_of_what_is_unknown(ledgers, operator):
    """Nothing is made of nothing."""
    assert operator.drop(HOST, "unknown") is Did.GONE
    assert ledgers.client.exists(keys.event(HOST, "unknown")) == 0
    assert ledgers.sent() == []


def test_message_of_a_drop_is_bounded(ledgers, operator):
    """Cattle stores the sentence."""
    event_id = ledgers.accept()
    operator.drop(HOST, event_id, "x" * 100_000)
    ((_, outcome),) = ledgers.sent()
    assert len(outcome.message) <= 4_000
