"""Calls in threads of their own."""

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def start_call(call: Callable[[], T], name: str) -> "Future[T]":
    """Make a call in a new thread; the future gets its result or its error.

    The thread has the caller's context: log lines name the event, and its secrets are scrubbed. It
    is a daemon, so that a call that hangs does not keep the process alive; an executor's is not.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            done.set_exception(error)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run,), name=name, daemon=True).start()
    return done
