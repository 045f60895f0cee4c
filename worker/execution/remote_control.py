"""Restrict Celery's remote control to commands that only look.

Whoever reaches the broker, Flower included, could limit, revoke or stop tasks, and cattle would
wait in vain for the answers of their events. Commands are allowed by name, so that a command of a
future Celery is refused too. SIGTERM stops a worker.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from celery.worker import control

from cowpoke.log import logger

_log = logger(__name__)

Command = Callable[..., Any]

#: Celery's `hello` is missing: it adds to the set of revoked tasks. `memdump`, `memsample` and
#: `objgraph` are missing: they grow the process or write files.
ALLOWED = frozenset(
    {
        *("active", "dump_active", "active_queues", "clock", "conf", "dump_conf"),
        *("heartbeat", "ping", "query_task", "registered", "dump_tasks", "report"),
        *("reserved", "dump_reserved", "revoked", "dump_revoked"),
        *("scheduled", "dump_schedule", "stats"),
    }
)


class _Commands(dict[str, Command]):
    """The allowed commands; any other name gives a command that refuses."""

    def __missing__(self, name: object) -> Command:
        def refuse(_state: object, **_arguments: object) -> Mapping[str, str]:
            shown = str(name)[:100]
            _log.warning(
                "remote_control.refused",
                command=shown,
                advice="events are answered whatever an operator clicks; stop workers by SIGTERM",
            )
            return {"error": f"{shown} is not allowed on this worker; stop it with SIGTERM"}

        return refuse


def _enable_events(_state: object, **_arguments: object) -> Mapping[str, str]:
    """Accept what Flower sends every few seconds; the events are always on."""
    return {"ok": "task events already enabled"}


def restrict_remote_control(names: Iterable[str] = ALLOWED) -> None:
    """Let this process obey the named commands only; call it before the worker is made."""
    known = control.Panel.data
    allowed = {name: known[name] for name in names if name in known}
    control.Panel.data = _Commands(allowed, enable_events=_enable_events)
