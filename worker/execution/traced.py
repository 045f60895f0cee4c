"""The span of one attempt at one event."""

from collections.abc import Iterator
from contextlib import contextmanager

from celery.exceptions import Ignore, Retry

from cowpoke import tracing
from cowpoke.envelopes import opened_trace
from cowpoke.ledger.execution import Claim
from worker.errors import EventFailedError
from worker.process.runtime import Runtime


@contextmanager
def traced(runtime: Runtime, event_id: str, claim: Claim) -> Iterator[None]:
    """Make what runs inside a span of the event's trace; nothing without tracing."""
    if not tracing.is_on():
        yield
        return
    parent, name = opened_trace(runtime.ledger.sealer, claim.payload)
    if name == "ping":
        yield
        return
    attributes: dict[str, str | int] = {
        "event_id": event_id,
        "event_name": name,
        "host": runtime.identity.host_uuid,
        "lane": str(runtime.lane),
        "attempt": claim.attempts,
    }
    with tracing.current("event.run", parent=parent, **attributes) as span:
        try:
            yield
        except EventFailedError as error:
            span.note(outcome="error")
            span.fail(error.code)
            raise
        except Retry:
            span.note(outcome="retried")
            raise
        except Ignore:
            span.note(outcome="dropped")
            raise
        else:
            span.note(outcome="success")
