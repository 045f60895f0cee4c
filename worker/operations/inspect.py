"""`compute.instance.inspect`: what Docker knows of one container."""

from typing import Any

from cowpoke.events import Event
from worker.engine import containers
from worker.engine.containers import Inspect
from worker.operations.context import Host
from worker.payload import inspect_of
from worker.report import inspect_reply


def inspect(event: Event, host: Host) -> dict[str, Any]:
    """The inspect under the event's resource type, null when there is none (A 11.9 to 11.11).

    By id first, by name where there is no such id; both are exact, though the Engine would also
    take an id's first letters.
    """
    request = inspect_of(event.data)
    found: Inspect | None = None
    if request.id:
        found = _exactly("Id", request.id, request.id, host)
    if found is None and request.name:
        name = request.name.removeprefix("/")
        found = _exactly("Name", f"/{name}", name, host)
    return inspect_reply(event, found)


def _exactly(key: str, value: str, reference: str, host: Host) -> Inspect | None:
    found = containers.inspect(host.engine, reference)
    return found if found is not None and found[key] == value else None
