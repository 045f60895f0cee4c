"""What Celery reports of a task's end becomes an outcome, or a further run, in a real Redis."""

from types import SimpleNamespace

import pytest
import redis
from celery import states
from cowpoke.ledger.ledger import State, Verdict

from cowpoke.routes import Lane, queue_for
from tests.ledgers import ACTIVATE, HOST, accept
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
def taken(runtime):
    """An event that this process has taken; its id."""
    event_id = accept(runtime.ledger)
    take = runtime.ledger.take(event_id, runtime.boot_id, token="one")
    assert take.verdict is Verdict.TAKEN
    return event_id


def report(event_id, problem):
    """Tell the backend of an exception that nothing of ours raised on purpose."""
    request = SimpleNamespace(task=ACTIVATE)
    app.backend.store_result(event_id, problem, states.FAILURE, request=request)


def entry_of(runtime, event_id):
    """The event as a sweeper sees it; None when it is over."""
    entries = {entry.event_id: entry for entry in runtime.ledger.open_entries(HOST)}
    return entries.get(event_id)


@pytest.mark.parametrize(
    "problem",
    [SHORTAGE, OSError(23, "Too many open files in system"), BEHIND, redis.ConnectionError("gone")],
    ids=["process", "machine", "cause", "redis"],
)
def test_event_that_celery_could_not_end_for_a_moment_runs_again(runtime, taken, problem):
    """Only the machine was short of something: cattle gets no error for that (W 35)."""
    report(taken, problem)
    entry = entry_of(runtime, taken)
    assert entry.state == State.QUEUED
    assert entry.retry_at_ms > entry.queued_ms
    assert entry.queue == queue_for(runtime.identity.host_uuid, Lane.COMPUTE)


@pytest.mark.parametrize("problem", [OSError(2, "No such file"), ValueError("x")])
def test_other_failures_of_celery_end_the_event(runtime, taken, problem):
    """A defect is answered, without the text of the exception (W 35)."""
    report(taken, problem)
    assert entry_of(runtime, taken) is None


def test_event_that_somebody_else_has_by_now_is_left_alone(runtime):
    """Its new process ends it (W 35)."""
    event_id = accept(runtime.ledger)
    assert runtime.ledger.take(event_id, "other", token="one").verdict is Verdict.TAKEN
    report(event_id, SHORTAGE)
    entry = entry_of(runtime, event_id)
    assert (entry.state, entry.boot) == (State.TAKEN, "other")
