"""The errors of events as Celery and cattle get them."""

import traceback

from cowpoke.log import logger
from worker.errors import EventFailedError, InternalError, WorkerError

_log = logger(__name__)


def failed(error: WorkerError) -> EventFailedError:
    """Return the error as Celery may have it, without its causes: Celery would quote them."""
    return EventFailedError(error.code, error.message)


def unforeseen(error: Exception) -> InternalError:
    """Return the error that cattle gets for an unforeseen exception."""
    return InternalError(
        f"an unforeseen {type(error).__name__}; the worker's log has it under this event"
    )


def log_unforeseen(error: Exception) -> None:
    """What it was and where it happened, but not its text, which may hold anything."""
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    _log.error("event.crashed", error=type(error).__name__, where=where)
