"""Flower as this project needs it; `cowpoke flower` starts it, with Flower's own options.

- `/metrics` needs the login that every page of Flower needs. Flower's own has none.
- The broker page has the queues of workers that started after Flower.
- The tasks page shows what a task is about and what became of it.

Flower reads its options from the command line and from variables `FLOWER_*`.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import wraps
from types import MappingProxyType
from typing import Any

from flower.options import options
from flower.views.broker import BrokerView
from flower.views.monitor import Metrics
from tornado.web import authenticated

from worker.app import app


def with_reason(task: Any) -> Any:  # noqa: ANN401 -- celery has no types
    """Give a copy of a task the code of its failure, or the reason of its retry, as its result."""
    task.result = getattr(task, "result", None) or getattr(task, "exception", None)
    return task


#: Option of Flower -> our default, which a variable `FLOWER_*` or an argument replaces.
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        # Without a login, everybody who reaches it may look.
        "address": "127.0.0.1",
        "tasks_columns": "name,args,state,result,received,runtime,worker,uuid",
        # Some 45 MB of memory. Saving them takes 0.4 s, in which Flower answers nobody.
        "max_tasks": 10_000,
        # ms; what a killed Flower forgets, if it is persistent.
        "state_save_interval": 30_000,
        # Lanes of a busy host answer late; ms.
        "inspect_timeout": 3000.0,
        "format_task": with_reason,
    }
)

Get = Callable[..., Awaitable[None]]


def run_flower(arguments: Sequence[str]) -> None:
    """Run Flower until SIGTERM; the arguments are Flower's.

    Errors: SystemExit with Flower's exit code.
    """
    for name, value in DEFAULTS.items():
        setattr(options, name, value)
    Metrics.get = authenticated(Metrics.get)
    BrokerView.get = _with_new_queues(BrokerView.get)
    app.start(["flower", *arguments])


def _with_new_queues(get: Get) -> Get:
    """Return the method of a page that first asks workers whose queues Flower does not have yet.

    Flower asks once, when it starts.
    """

    @wraps(get)
    async def with_new_queues(page: BrokerView, *args: Any) -> None:  # noqa: ANN401 -- Tornado's
        if page.get_current_user():
            flower = page.application
            alive = [name for name, one in flower.events.state.workers.items() if one.alive]
            if any("active_queues" not in flower.workers.get(name, {}) for name in alive):
                await flower.update_workers()
        answer = get(page, *args)
        if inspect.isawaitable(answer):
            await answer

    return with_new_queues
