"""`compute.instance.inspect`: the Engine's inspect of one container.

Row numbers (A) refer to docs/parity.md.
"""

from typing import Any

from cowpoke.events import Event
from worker.container import Container
from worker.engine import containers
from worker.operations.context import Host
from worker.payload import inspect_of
from worker.report import inspect_reply


def inspect(event: Event, host: Host) -> dict[str, Any]:
    """Return the inspect under the event's resource type, null without one (A 11.9 to 11.11).

    The container is found by id, else by name. Both must match exactly, although the Engine also
    accepts the beginning of an id.
    """
    request = inspect_of(event.data)
    found: Container | None = None
    if request.id:
        found = containers.inspect(host.engine, request.id)
        if found is not None and found.id != request.id:
            found = None
    if found is None and request.name:
        name = request.name.removeprefix("/")
        found = containers.inspect(host.engine, name)
        if found is not None and found.name != name:
            found = None
    return inspect_reply(event, None if found is None else found.inspect)
