"""One attempt at one event in a worker process: run the operation, then answer, retry or requeue.

What an event means stands in `worker/operations`; how it got here and how its answer leaves stands
in `cowpoke`. This module joins the two: it decides about retries, lanes and deadlines.
"""

import random
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import redis
from celery import Task
from celery.exceptions import Ignore, Reject, Retry
from celery.utils.time import get_exponential_backoff_interval

from cowpoke.envelopes import UnknownVersionError
from cowpoke.events import Event
from cowpoke.ledger.execution import Claim
from cowpoke.liveness import LEASE_TTL_MS
from cowpoke.log import logger
from cowpoke.outcomes import WARNINGS, progress
from cowpoke.routes import Lane, queue_for
from cowpoke.seal import SealBrokenError
from cowpoke.summary import result_summary
from worker import deadline
from worker.deadline import Deadline
from worker.errors import (
    HandleShortageError,
    ImageNeededError,
    NotYetError,
    RetryableError,
    UnknownEventError,
    WorkerError,
)
from worker.execution.failing import failed, log_unforeseen, unforeseen
from worker.execution.reasons import retry_reason
from worker.operations import operation_of
from worker.operations.context import Host
from worker.process.handles import is_shortage
from worker.process.runtime import Runtime

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
#: Before an event that this process could not read is sent again.
REJECTED_FOR_S = 3.0
T = TypeVar("T")


class Attempt:
    """One try of one event."""

    def __init__(self, task: Task, runtime: Runtime, event_id: str, claim: Claim) -> None:
        self._task = task
        self._runtime = runtime
        self._event_id = event_id
        self._claim = claim
        self._deadline = Deadline(claim.remaining_ms / 1000, claim.timeout_ms / 1000)
        self._deadline.check_claim = self._check_claim
        self._claimed_s = time.monotonic()
        self._progress_s = 0.0
        self._warnings: list[str] = []
        self._earlier_warnings = runtime.warnings.pop(event_id, ())
        self._progress_every_s = min(PROGRESS_EVERY_S, claim.timeout_ms / 1000 * _PROGRESS_SHARE)

    def reply_data(self) -> dict[str, Any]:
        """Run the operation; the reply's `data`.

        Errors: EventFailedError, which becomes the error reply; Retry and Ignore are Celery's.
        """
        began_s = time.monotonic()
        outcome, code = "error", "internal-error"
        try:
            data = self._bounded()
            outcome, code = "success", ""
        except ImageNeededError as needed:
            outcome, code = "moved", needed.code
            self._retry(needed, delay_s=0, lane=Lane.IMAGES)
        except NotYetError as error:
            outcome = "waiting"
            _log.debug("event.waiting", code=error.code, reason=error.message)
            if self._warnings:
                self._runtime.keep_warnings(self._event_id, self._warnings)
            self._retry(error, delay_s=error.retry_in_s, lane=self._runtime.lane)
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
                raise failed(error) from None
            self._retry(error, delay_s=min(self._backoff_s(), left_s), lane=self._runtime.lane)
        except WorkerError as error:
            code = error.code
            _log.warning("event.failed", code=code, reason=error.message)
            raise failed(error) from None
        except (Ignore, Retry):
            outcome, code = "retried", ""
            self._runtime.deadlines_ms.pop(self._event_id, None)
            raise
        except Exception as error:  # noqa: BLE001 -- the outermost frame of ours
            log_unforeseen(error)
            raise failed(unforeseen(error)) from None
        finally:
            if outcome != "waiting":
                _log.info(
                    "event.done",
                    outcome=outcome,
                    code=code,
                    attempts=self._claim.attempts,
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
                self._warnings[:] = self._earlier_warnings
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
                _log.warning("handles.exhausted", reason=type(error).__name__)
                self._runtime.close_idle_connections()
            time.sleep(random.uniform(0.5, 1) * SHORTAGE_WAIT_S)  # noqa: S311 -- spreads load

    def _operate(self) -> dict[str, Any]:
        try:
            event = self._runtime.ledger.open_event(self._event_id, self._claim)
        except (SealBrokenError, UnknownVersionError) as problem:
            self._reject(problem)
        # The sealed name decides, not the message's: that one anybody on the broker could write.
        operation = operation_of(event.base_name, self._runtime.settings)
        if operation is None:
            self._reject(UnknownEventError(f"no operation is named {event.base_name}; update it"))
        if self._runtime.lane is Lane.CONTROL and event.base_name != "ping":
            data = self._operate_beside_pings(operation, event)
        else:
            data = operation(event, self._host())
        took_s = time.monotonic() - self._claimed_s
        self._runtime.show(self._event_id, result_summary(event, data, took_s))
        return data

    def _reject(self, problem: Exception) -> NoReturn:
        """Leave an event that this process cannot read or run to one that can.

        A forgery must not end an event: cattle's own copy comes again with its next send. A sweeper
        answers the event when nobody could read it for a while.
        """
        _log.error(
            "event.unreadable",
            event_id=self._event_id,
            reason=str(problem),
            advice="the event waits for a worker that can read it, or for its next copy",
        )
        delay_ms = round(REJECTED_FOR_S * 1000)
        until_redis(lambda: self._runtime.ledger.reject(self._event_id, delay_ms=delay_ms))
        self._runtime.key_gate.doubt()
        raise Ignore

    def _check_claim(self, waited: bool) -> None:  # noqa: FBT001 -- called by `deadline`
        """End this attempt when the event is another process's by now.

        A process that was frozen, or cut off from Redis, looks dead: its event is run again.
        """
        if not waited and time.monotonic() - self._claimed_s < LEASE_TTL_MS / 1000:
            return
        try:
            is_ours = self._runtime.ledger.holds(self._event_id, self._claim)
        except redis.RedisError:
            return  # nobody else could claim it meanwhile either
        if not is_ours:
            _log.warning("event.lost_claim", event_id=self._event_id)
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
            deadline_ms = self._runtime.ledger.progress(self._event_id, progress(message, percent))
        except (redis.RedisError, OSError) as problem:
            # Progress is best effort: work must not stop for it.
            _log.warning("progress.dropped", event_id=self._event_id, reason=str(problem))
            return
        if deadline_ms:
            self._runtime.deadlines_ms[self._event_id] = deadline_ms
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
        put_back = until_redis(
            lambda: self._runtime.ledger.retry(
                self._event_id,
                delay_ms=round(delay_s * 1000),
                lane=lane,
                queue=queue,
                code=error.code,
            )
        )
        if not put_back:
            raise Ignore
        try:
            again = self._task.retry(
                exc=failed(error),
                # None would mean Celery's default delay of three minutes.
                countdown=delay_s,
                queue=queue,
                throw=False,
                # Celery would make new ones of the event's id; these say what the event is about.
                argsrepr=self._task.request.get("argsrepr"),
            )
        except Reject:
            # The sweeper sends the event again: the ledger has it as queued, without a message.
            _log.warning("retry.not_sent", code=error.code, advice="the sweeper sends it again")
            raise Ignore from None
        moved_to = lane if lane is not self._runtime.lane else None
        reason = retry_reason(error.code, delay_s=delay_s, moved_to=moved_to)
        self._runtime.show(self._event_id, reason)
        raise again from None


def until_redis(step: Callable[[], T]) -> T:
    """Do a step of the ledger; an outage of Redis is no outcome of an event."""
    while True:
        try:
            return step()
        except (redis.RedisError, OSError) as error:
            if not isinstance(error, redis.RedisError) and not is_shortage(error):
                raise
            _log.warning("ledger.blocked", reason=str(error))
            time.sleep(_REDIS_RETRY_S)
