"""The Celery tasks: one per event name, all of one shape: take, operate, let Celery store the end.

What an event means stands in `worker/operations`; how it got here and how its answer leaves stands
in `cowpoke`. This module joins the two: it decides about retries, lanes and deadlines.
"""

import random
import time
import traceback
import uuid
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar

import redis
import structlog
from celery import Celery, Task
from celery.exceptions import Ignore, Reject, Retry
from celery.utils.time import get_exponential_backoff_interval

from cowpoke.events import Event
from cowpoke.ledger.ledger import Take, Verdict
from cowpoke.log import logger
from cowpoke.outcomes import WARNINGS, progress
from cowpoke.routes import LANES, Lane, queue_for
from cowpoke.seal import SealBrokenError
from worker import deadline
from worker.deadline import Deadline
from worker.errors import (
    EventFailedError,
    HandleShortageError,
    ImageNeededError,
    InternalError,
    RetryableError,
    UnknownEventError,
    UntrustedEventError,
    WorkerError,
)
from worker.operations import operation_of
from worker.operations.context import Host
from worker.process.handles import is_shortage
from worker.process.runtime import Runtime, current

_log = logger(__name__)

#: Backoff between the tries of what fails for a moment; the event's deadline ends them.
RETRY_LEAST_S = 0.1
RETRY_FIRST_S = 1
RETRY_MOST_S = 15
#: What a requeued event may take to be taken again on a busy machine. A try that begins too late
#: would answer that no time is left, instead of what went wrong.
REQUEUE_S = 1.0
#: A control slot is not there for the asking: try again this soon.
CONTROL_RETRY_S = 0.2
#: cattle shows progress to people; more often helps nobody, unless cattle waits only briefly.
PROGRESS_EVERY_S = 1.0
_PROGRESS_SHARE = 0.25
_REDIS_RETRY_S = 0.5
#: How long a try waits at most before it looks for a free file handle again.
SHORTAGE_WAIT_S = 1.0
#: Longer than a lane that was told to stop goes on taking events from its queue.
STOPS_CONSUMING_S = 2.0
#: What Celery does with a result besides storing it; no message of the ledger's asks for any.
_NEVER_OURS = ("callbacks", "errbacks", "chain", "chord", "group")

T = TypeVar("T")


class EventTask(Task):  # type: ignore[misc]  # celery has no types
    """A task that runs one event; bound, so that it can retry itself."""

    #: Never dropped by Celery itself, see there.
    Request = "worker.execution.remote_control:EventRequest"
    typing = False
    ignore_result = False
    max_retries = None
    #: Their message is the answer, and stands in our log: no traceback is wanted.
    throws = (EventFailedError,)
    #: Celery's events go through Redis in clear: they tell that a task succeeded, not with what.
    resultrepr_maxsize = 0

    def run(self, event_id: str) -> dict[str, Any]:
        """Run the event if it is still to be run; the result is the reply's `data`.

        Errors: EventFailedError, which becomes the error reply; Retry and Ignore are Celery's.
        """
        if self.request.id != event_id or any(getattr(self.request, key) for key in _NEVER_OURS):
            # The result would be stored as another event's, or be handed on in clear.
            _log.error("message.forged", event_id=event_id, task_id=self.request.id)
            raise Ignore
        runtime = current()
        with structlog.contextvars.bound_contextvars(event_id=event_id, event_name=self.name):
            try:
                take = _take(runtime, event_id)
                if take.verdict is not Verdict.TAKEN:
                    self._drop(take.verdict)
                return _Run(self, runtime, event_id, take).reply_data()
            except (Ignore, Retry, EventFailedError):
                raise
            except Exception as error:  # noqa: BLE001 -- the outermost frame of ours
                _log_unforeseen(error)
                raise _failed(_unforeseen(error)) from None

    def _drop(self, verdict: Verdict) -> None:
        """End without an outcome: somebody else has or had it, or cattle waits no longer."""
        _log.info("event.dropped", verdict=verdict)
        if verdict is Verdict.EXPIRED:
            # Shown as REVOKED by Flower and counted, as Celery does for a task that expired.
            self.send_event("task-revoked", terminated=False, signum=None, expired=True)
        raise Ignore


class _Run:
    """One try of one event."""

    def __init__(self, task: EventTask, runtime: Runtime, event_id: str, take: Take) -> None:
        self._task = task
        self._runtime = runtime
        self._event_id = event_id
        self._take = take
        self._deadline = Deadline(take.remaining_ms / 1000, take.timeout_ms / 1000)
        self._progress_s = 0.0
        self._warnings: list[str] = []
        self._progress_every_s = min(PROGRESS_EVERY_S, take.timeout_ms / 1000 * _PROGRESS_SHARE)

    def reply_data(self) -> dict[str, Any]:
        began_s = time.monotonic()
        outcome, code = "error", "internal-error"
        try:
            data = self._bounded()
            outcome, code = "success", ""
        except ImageNeededError as needed:
            outcome, code = "moved", needed.code
            self._retry(needed, delay_s=0, lane=Lane.IMAGES)
        except RetryableError as error:
            outcome, code = "retried", error.code
            # Until the last moment at which one more try like this one can begin. What took this
            # try up to its last progress, such as a pull, is done.
            took_s = time.monotonic() - self._deadline.began_s
            left_s = self._deadline.left_s() - took_s - REQUEUE_S
            if left_s < RETRY_LEAST_S:
                # It would end after cattle's patience: answer in time.
                outcome = "error"
                _log.warning("event.failed", code=code, reason=error.message)
                raise _failed(error) from None
            self._retry(error, delay_s=min(self._backoff_s(), left_s), lane=self._runtime.lane)
        except WorkerError as error:
            code = error.code
            _log.warning("event.failed", code=code, reason=error.message)
            raise _failed(error) from None
        except (Ignore, Retry):
            outcome, code = "retried", ""
            raise
        except Exception as error:  # noqa: BLE001 -- the outermost frame of ours
            _log_unforeseen(error)
            raise _failed(_unforeseen(error)) from None
        finally:
            _log.info(
                "event.done",
                outcome=outcome,
                code=code,
                attempts=self._take.attempts,
                duration_ms=round((time.monotonic() - began_s) * 1000),
            )
        return {**data, WARNINGS: self._warnings} if self._warnings else data

    def _bounded(self) -> dict[str, Any]:
        """Run the operation within the event's deadline; wait here while no file handle is free.

        A retry by the broker would need more handles than are there.
        Errors: HandleShortageError when none becomes free in time.
        """
        while True:
            try:
                self._warnings.clear()
                with deadline.bound(self._deadline):
                    return self._operate()
            except (Ignore, Retry):
                raise
            except Exception as error:
                if not is_shortage(error):
                    raise
                if self._deadline.left_s() < SHORTAGE_WAIT_S:
                    raise HandleShortageError(
                        "all file handles of the worker or of its host are in use; raise the limit "
                        "of open files (ulimit -n)"
                    ) from error
                _log.warning("handles.awaited", reason=type(error).__name__)
                self._runtime.close_idle_connections()
            time.sleep(random.uniform(0.5, 1) * SHORTAGE_WAIT_S)  # noqa: S311 -- spreads load

    def _operate(self) -> dict[str, Any]:
        try:
            host_uuid = self._runtime.identity.host_uuid
            event = self._runtime.ledger.open_event(self._event_id, host_uuid, self._take)
        except SealBrokenError as error:
            if not _until_redis(self._runtime.key_gate.check):
                self._give_back()
            raise UntrustedEventError(str(error)) from error
        # The sealed name decides, not the message's: that one anybody on the broker could write.
        operation = operation_of(event.base_name, self._runtime.settings)
        if operation is None:
            raise UnknownEventError(f"this worker has no operation named {event.base_name}")
        if self._runtime.lane is Lane.CONTROL and event.base_name != "ping":
            return self._operate_beside_pings(operation, event)
        return operation(event, self._host())

    def _give_back(self) -> NoReturn:
        """Requeue the event, since this process has the wrong keys and was told to stop."""
        # It consumes for a moment more: an event that is requeued sooner would be taken again.
        time.sleep(STOPS_CONSUMING_S)
        _until_redis(lambda: self._runtime.ledger.give_back(self._event_id, self._runtime.boot_id))
        raise Ignore

    def _operate_beside_pings(self, operation: Any, event: Event) -> dict[str, Any]:  # noqa: ANN401
        """Run what may wait for the Engine in the lane of pings, never in all its slots."""
        if not self._runtime.engine_slots.acquire(blocking=False):
            busy = RetryableError("all slots for questions to the Engine are taken")
            self._retry(busy, delay_s=CONTROL_RETRY_S, lane=Lane.CONTROL)
        try:
            data: dict[str, Any] = operation(event, self._host())
            return data
        finally:
            self._runtime.engine_slots.release()

    def _host(self) -> Host:
        return Host(
            settings=self._runtime.settings,
            identity=self._runtime.identity,
            engine=self._runtime.engine,
            locks=self._runtime.locks,
            report_progress=self._report_progress,
            warn=self._warnings.append,
            may_pull=self._runtime.lane is Lane.IMAGES,
        )

    def _report_progress(self, message: str, percent: int | None) -> None:
        now_s = time.monotonic()
        if now_s - self._progress_s < self._progress_every_s:
            return
        self._progress_s = now_s
        try:
            sent = self._runtime.ledger.progress(self._event_id, progress(message, percent))
        except (redis.RedisError, OSError) as problem:
            # Progress is best effort: work must not stop for it.
            _log.warning("progress.lost", event_id=self._event_id, reason=str(problem))
            return
        if sent:
            self._deadline.restart()

    def _backoff_s(self) -> float:
        retries: int = self._task.request.retries
        seconds: float = get_exponential_backoff_interval(
            factor=RETRY_FIRST_S, retries=retries, maximum=RETRY_MOST_S, full_jitter=True
        )
        return max(seconds, RETRY_LEAST_S)

    def _retry(self, error: WorkerError, *, delay_s: float, lane: Lane) -> None:
        """Put the event back and let Celery send it again; Flower shows the reason."""
        queue = queue_for(self._runtime.identity.host_uuid, lane)
        released = _until_redis(
            lambda: self._runtime.ledger.release(
                self._event_id,
                self._runtime.boot_id,
                delay_ms=round(delay_s * 1000),
                lane=lane,
                queue=queue,
            )
        )
        if not released:
            raise Ignore
        try:
            # A countdown of None would mean Celery's default delay of three minutes.
            again = self._task.retry(
                exc=_failed(error), countdown=delay_s, queue=queue, throw=False
            )
        except Reject:
            # The sweeper sends the event again: the ledger has it as queued, without a message.
            _log.warning("retry.not_sent", code=error.code, advice="the sweeper sends it again")
            raise Ignore from None
        raise again from None


def _failed(error: WorkerError) -> EventFailedError:
    """Return the error as Celery may have it, without its causes: Celery would quote them."""
    return EventFailedError(error.code, error.message)


def _unforeseen(error: Exception) -> InternalError:
    return InternalError(
        f"an unforeseen {type(error).__name__}; the worker's log has it under this event"
    )


def _log_unforeseen(error: Exception) -> None:
    """What it was and where it happened, but not its text, which may hold anything."""
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    _log.error("event.crashed", error=type(error).__name__, where=where)


def _take(runtime: Runtime, event_id: str) -> Take:
    """Take the event; an absent Redis is waited for, since nothing was run yet."""
    token = uuid.uuid4().hex
    return _until_redis(lambda: runtime.ledger.take(event_id, runtime.boot_id, token=token))


def _until_redis(step: Callable[[], T]) -> T:
    """Do a step of the ledger; an outage of Redis is no outcome of an event."""
    while True:
        try:
            return step()
        except (redis.RedisError, OSError) as error:
            if not isinstance(error, redis.RedisError) and not is_shortage(error):
                raise
            _log.warning("ledger.waits", reason=str(error))
            time.sleep(_REDIS_RETRY_S)


def register(app: Celery, names: Iterable[str] = LANES) -> None:
    """Give the app one task per event name, and no others: Celery's own would return anything."""
    app.finalize()
    for name in list(app.tasks):
        app.tasks.unregister(name)
    for name in names:
        app.register_task(type("EventTask", (EventTask,), {"name": name})())
