"""Run a call in a thread of its own."""

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def start_call(call: Callable[[], T], name: str) -> "Future[T]":
    """Start a call in a new thread; return a future with its result or its error.

    The thread gets a copy of the caller's context: the deadline of the event, the fields of its log
    lines and its scrubber. The thread is a daemon, unlike those of an executor, so that a call that
    hangs does not keep the process alive.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is read
            done.set_exception(error)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run,), name=name, daemon=True).start()
    return done
