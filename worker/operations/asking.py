"""A question whose answer is waited for only so long.

A read timeout bounds the silence between two bytes, not the whole answer: an Engine, a name server
or a disk that answers drop by drop would hold a ping for minutes. So a ping asks from threads of
their own and leaves without the answers that are late; each thread ends by its own timeouts.
"""

import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from worker.errors import EngineUnavailableError

T = TypeVar("T")

#: Late threads that may still be under way; more would mean that nothing answers any more.
_MOST_ASKING = 32
_asking = threading.BoundedSemaphore(_MOST_ASKING)


class Question(Generic[T]):
    """A call that runs beside the caller, from now on."""

    def __init__(self, what: str, ask: Callable[[], T]) -> None:
        self._what = what
        self._ask = ask
        self._future: Future[T] = Future()
        if _asking.acquire(blocking=False):
            # With the caller's context, so that the deadline of its event bounds this thread too.
            context = contextvars.copy_context()
            threading.Thread(
                target=context.run, args=(self._run,), name=f"ask-{what}", daemon=True
            ).start()
        else:
            self._future.set_exception(
                EngineUnavailableError(f"{_MOST_ASKING} earlier questions are still unanswered")
            )

    def answer(self, deadline_s: float) -> T:
        """The answer, when it comes before `time.monotonic()` reads `deadline_s`.

        Errors: EngineUnavailableError when it does not; else whatever the call raised.
        """
        try:
            return self._future.result(max(0.0, deadline_s - time.monotonic()))
        except TimeoutError as error:
            raise EngineUnavailableError(f"no answer in time about {self._what}") from error

    def _run(self) -> None:
        try:
            self._future.set_result(self._ask())
        except Exception as error:  # noqa: BLE001 - the thread's end; whoever asked gets it
            self._future.set_exception(error)
        finally:
            _asking.release()
