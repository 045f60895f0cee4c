"""The Celery tasks: one per event name, all of one shape: claim, run, let Celery store the end."""

import uuid
from collections.abc import Iterable
from typing import Any

import structlog
from celery import Celery, Task
from celery.exceptions import Ignore, Retry

from cowpoke.ledger.execution import Claim
from cowpoke.ledger.states import Verdict
from cowpoke.log import logger
from cowpoke.routes import LANES
from worker.errors import EventFailedError
from worker.execution.attempt import Attempt, until_redis
from worker.execution.failing import failed, log_unforeseen, unforeseen
from worker.execution.request import PING, shows
from worker.process.received import UNKNOWN_EVENT
from worker.process.runtime import Runtime, current

_log = logger(__name__)

#: What Celery does with a result besides storing it; no message of the ledger's asks for any.
_NEVER_OURS = ("callbacks", "errbacks", "chain", "chord", "group")


class EventTask(Task):  # type: ignore[misc]  # celery has no types
    """A task that runs one event; bound, so that it can retry itself."""

    #: Never dropped by Celery itself, see there.
    Request = "worker.execution.request:EventRequest"
    typing = False
    ignore_result = False
    max_retries = None
    #: Their message is the answer, and stands in our log: no traceback is wanted.
    throws = (EventFailedError,)
    #: Celery's events go through Redis in clear. `EventRequest` says what they tell of a result.
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
                claim = _claim(runtime, event_id)
                if claim.verdict is not Verdict.CLAIMED:
                    self._drop(claim.verdict)
                return Attempt(self, runtime, event_id, claim).reply_data()
            except (Ignore, Retry, EventFailedError):
                raise
            except Exception as error:  # noqa: BLE001 -- the outermost frame of ours
                log_unforeseen(error)
                raise failed(unforeseen(error)) from None

    def _drop(self, verdict: Verdict) -> None:
        """End without an outcome: somebody else has or had it, or cattle waits no longer."""
        _log.info("event.dropped", verdict=verdict)
        if verdict is Verdict.EXPIRED and shows(self.name, self.request.id):
            # Shown as REVOKED by Flower and counted, as Celery does for a task that expired.
            self.send_event("task-revoked", terminated=False, signum=None, expired=True)
        raise Ignore


def _claim(runtime: Runtime, event_id: str) -> Claim:
    """Claim the event; an absent Redis is waited for, since nothing was run yet."""
    token = uuid.uuid4().hex
    return until_redis(lambda: runtime.ledger.claim(event_id, token=token))


def register(app: Celery, names: Iterable[str] = (*LANES, UNKNOWN_EVENT)) -> None:
    """Give the app one task per event name, and no others: Celery's own would return anything."""
    app.finalize()
    for name in list(app.tasks):
        app.tasks.unregister(name)
    for name in names:
        # Celery would send its events about every ping; `EventRequest` sends those of some.
        fields = {"name": name, "send_events": name != PING}
        app.register_task(type("EventTask", (EventTask,), fields)())
