"""What Celery reports of a task's end becomes an outcome, or a further run, in a real Redis."""

from types import SimpleNamespace

import pytest
import redis
from celery import states

from cowpoke.ledger.states import State, Verdict
from cowpoke.routes import Lane, queue_for
from tests.ledgers import ACTIVATE, Ledgers
from worker.app import app
from worker.process import runtime as runtimes
from worker.settings import WorkerSettings

SHORTAGE = OSError(24, "Too many open files")
BEHIND = RuntimeError("a library's own error")
BEHIND.__cause__ = SHORTAGE


@pytest.fixture
def runtime(redis_url, tmp_path, monkeypatch):
    """A worker process's runtime, in this process."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("CATTLE_HOME", str(tmp_path))
    return runtimes.start(WorkerSettings(), Lane.COMPUTE)


@pytest.fixture
def ledgers(client, runtime):
    """The bridges' side of the same Redis."""
    return Ledgers(client, runtime.keyring)


@pytest.fixture
def accepted(ledgers, runtime):
    """An event of the runtime's host; its id."""
    return ledgers.accept(host=runtime.identity.host_uuid)


@pytest.fixture
def claimed(runtime, accepted):
    """An event that this process has claimed; its id."""
    assert runtime.ledger.claim(accepted).verdict is Verdict.CLAIMED
    return accepted


def report(event_id, problem):
    """Tell the backend of an exception that nothing of ours raised on purpose."""
    request = SimpleNamespace(task=ACTIVATE)
    app.backend.store_result(event_id, problem, states.FAILURE, request=request)


def entry_of(ledgers, runtime, event_id):
    """The event as a sweeper sees it; None when it is over."""
    return ledgers.entries(runtime.identity.host_uuid).get(event_id)


@pytest.mark.parametrize(
    "problem",
    [SHORTAGE, OSError(23, "Too many open files in system"), BEHIND, redis.ConnectionError("gone")],
    ids=["process", "machine", "cause", "redis"],
)
def test_event_that_celery_could_not_end_for_a_moment_runs_again(
    runtime, ledgers, claimed, problem
):
    """Only the machine was short of something: cattle gets no error for that (W 35)."""
    report(claimed, problem)
    entry = entry_of(ledgers, runtime, claimed)
    assert entry.state == State.QUEUED
    assert entry.retry_at_ms > entry.queued_ms
    assert entry.queue == queue_for(runtime.identity.host_uuid, Lane.COMPUTE)


@pytest.mark.parametrize("problem", [OSError(2, "No such file"), ValueError("x")])
def test_other_failures_of_celery_end_the_event(runtime, ledgers, claimed, problem):
    """A defect is answered, without the text of the exception (W 35)."""
    report(claimed, problem)
    assert entry_of(ledgers, runtime, claimed) is None


def test_event_that_somebody_else_has_by_now_is_left_alone(runtime, ledgers, accepted):
    """Its new process ends it (W 35)."""
    other = ledgers.worker("w2.compute.1", runtime.identity.host_uuid)
    assert other.claim(accepted).verdict is Verdict.CLAIMED
    report(accepted, SHORTAGE)
    entry = entry_of(ledgers, runtime, accepted)
    assert (entry.state, entry.boot) == (State.CLAIMED, "w2.compute.1")


def test_result_of_a_task_that_is_no_events_ends_no_event(runtime, ledgers, claimed):
    """Whoever writes to Redis may name any task, with the id of any event."""
    request = SimpleNamespace(task="celery.backend_cleanup")
    app.backend.store_result(claimed, {}, states.SUCCESS, request=request)
    assert entry_of(ledgers, runtime, claimed).state == State.CLAIMED
