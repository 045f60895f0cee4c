"""Calls that run in a thread of their own while the caller waits only until a deadline.

A read timeout limits the silence between two bytes, not the whole answer. An Engine, a name server
or a disk that sends its answer byte by byte would block a ping for minutes. A ping therefore starts
its calls in threads and replies without the results that are late. Each thread ends by the timeouts
of its own call.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from worker.errors import EngineUnavailableError
from worker.threads import start_call

T = TypeVar("T")

#: Late calls that may still run. More would mean that nothing answers any more.
_MAX_CALLS = 32
_slots = threading.BoundedSemaphore(_MAX_CALLS)


class TimedCall(Generic[T]):
    """A call that started when this object was made; its result is awaited until a deadline."""

    def __init__(self, subject: str, call: Callable[[], T]) -> None:
        self._subject = subject
        self._call = call
        self._future: Future[T]
        if _slots.acquire(blocking=False):
            self._future = start_call(self._run, f"call-{subject}")
        else:
            self._future = Future()
            self._future.set_exception(
                EngineUnavailableError(f"{_MAX_CALLS} earlier calls have not been answered yet")
            )

    def result(self, deadline_s: float) -> T:
        """Return the result of the call if it ends before `time.monotonic()` reads `deadline_s`.

        Errors: EngineUnavailableError when the call is late; else the error that the call raised.
        """
        try:
            return self._future.result(max(0.0, deadline_s - time.monotonic()))
        except TimeoutError as error:
            raise EngineUnavailableError(f"no answer about {self._subject} in time") from error

    def _run(self) -> T:
        try:
            return self._call()
        finally:
            _slots.release()
