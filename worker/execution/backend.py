"""The Celery result backend whose results are outcomes on their way to cattle.

Success, failure and revocation all pass through Celery's own result path, so no task can end
without an outcome, whatever ended it. The final one is stored by one script that also marks the
event answered: it exists once. `celery.result.AsyncResult.get` is not offered; nobody waits here.
"""

from typing import Any

import redis
from celery import states
from celery.backends.base import BaseBackend

from cowpoke.ledger.execution import WorkerLedger
from cowpoke.log import logger
from cowpoke.outcomes import Outcome, error, success
from cowpoke.routes import LANES, queue_for
from worker.errors import EventFailedError
from worker.process.handles import is_shortage
from worker.process.received import UNKNOWN_EVENT
from worker.process.runtime import current

_log = logger(__name__)

#: Before an event runs again that Celery could not end, e.g. because file handles were short.
RERUN_AFTER_MS = 1000


class OutcomesBackend(BaseBackend):  # type: ignore[misc]  # celery has no types
    """Stores what Celery calls results in the ledger and the stream of outcomes.

    Celery makes an `AsyncResult` for every retry, and that one calls the methods for pending
    results, which only `BaseBackend` has.
    """

    persistent = True

    @property
    def _ledger(self) -> WorkerLedger:
        # The one of this process: when file handles are short, another one could not be made.
        return current().ledger

    def exception_safe_to_retry(self, exc: Exception) -> bool:
        """Return whether storing may be tried again: Redis failed, or no file handle was free."""
        return isinstance(exc, redis.RedisError) or is_shortage(exc)

    def encode_result(self, result: Any, state: str) -> Any:  # noqa: ANN401, ARG002 -- Celery's
        """Leave the result as it is; outcomes are made of it in `_store_result`."""
        return result

    def _store_result(
        self,
        task_id: str,
        result: Any,  # noqa: ANN401 -- whatever the task returned or raised
        state: str,
        traceback: object = None,  # noqa: ARG002
        request: Any = None,  # noqa: ANN401 -- Celery's context of the task
        **_: object,
    ) -> None:
        if getattr(request, "task", None) not in (*LANES, UNKNOWN_EVENT):
            # Only tasks of ours end events: whoever writes to Redis may name any other.
            _log.error("outcome.rejected", event_id=task_id)
            return
        if (
            state == states.FAILURE
            and isinstance(result, Exception)
            and self.exception_safe_to_retry(result)
        ):
            self._run_again(task_id, result)
            return
        outcome = outcome_of(result, state)
        if outcome is None:
            return
        deadlines_ms = current().deadlines_ms
        if not self._ledger.complete(task_id, outcome, deadline_ms=deadlines_ms.get(task_id, 0)):
            _log.info("outcome.duplicate", event_id=task_id, outcome=outcome.kind)
        deadlines_ms.pop(task_id, None)

    def _run_again(self, task_id: str, problem: Exception) -> None:
        """Queue an event whose work Celery, not the event, failed to end for a moment.

        What the work made is found by the next try. The sweeper sends the event then.
        """
        runtime = current()
        queue = queue_for(runtime.identity.host_uuid, runtime.lane)
        again = self._ledger.retry(task_id, delay_ms=RERUN_AFTER_MS, lane=runtime.lane, queue=queue)
        if again:
            _log.warning("event.requeued", event_id=task_id, reason=type(problem).__name__)

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:  # noqa: ARG002
        # Celery asks for the state in a few corners (deduplication, Flower); there is none to tell.
        return {"status": states.PENDING, "result": None}

    def as_uri(self, include_password: bool = False) -> str:  # noqa: ARG002, FBT001, FBT002
        """How Celery's banner shows it."""
        return "cowpoke outcomes"


def outcome_of(result: object, state: str) -> Outcome | None:
    """The final outcome that a task's end means; None for the states that end nothing."""
    match state:
        case states.SUCCESS:
            return success(result if isinstance(result, dict) else {})
        case states.REVOKED:
            return error("event-revoked", "the event's task was revoked by an operator")
        case states.FAILURE if isinstance(result, EventFailedError):
            return error(result.code, result.message)
        case states.FAILURE:
            # The text of an unforeseen error may hold anything, a secret included.
            return error(
                "internal-error",
                f"an unforeseen {type(result).__name__}; the worker's log has it under this event",
            )
        case _:
            return None
