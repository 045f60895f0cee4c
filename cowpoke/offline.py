"""What happens to an event whose host has no worker until shortly before its deadline.

An error reply is final for cattle: it gives up a start after it. A call that times out is replayed
by cattle under a new id until it succeeds, so that an outage of a host costs only time. No answer
is therefore the better answer, except where cattle gives up silently after a timeout.

| event | without a worker | what cattle does after the timeout |
|---|---|---|
| `compute.instance.activate`, first start | error | removes the instance without a message when its agent is reconnecting |
| `compute.instance.activate`, later start | expires | replays the start |
| `compute.instance.deactivate`, `.remove` | expires | replays the stop or the removal |
| `compute.instance.inspect` | expires | replays the processing of the container event |
| `compute.instance.pull` | expires | replays the pull task; an error would end the task for this host |
| `compute.instance.force.stop` | expires | waits for no reply; sends it again while the container runs |
| `storage.*` | expires | replays the start or the removal that needs it; an error would end a start |
| `volume.remove` | expires | replays the removal |
| `ping` | expires | counts a missed ping, which is how it notices the outage |
| `config.update` | expires | sends it again, until the version in its own database is current |
| `delegate.request` | as the event inside | replays what needed the event inside |
"""  # noqa: E501 -- a table row is one line

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from cowpoke.events import Event
from cowpoke.routes import DELEGATE, base_name

_ACTIVATE = "compute.instance.activate"


class Offline(StrEnum):
    """The end of an event whose host has no worker."""

    #: An error reply shortly before the deadline.
    ERROR = "error"
    #: No reply; cattle sends a new event.
    EXPIRE = "expire"


def offline_end(event: Event) -> Offline:
    """Return how an event ends when its host has no worker until the deadline."""
    name, data = event.base_name, event.data
    if name == DELEGATE:
        # One level only: an event inside the inner event is no event of cattle's.
        inner = _mapping(data.get("event"))
        name, data = base_name(str(inner.get("name"))), _mapping(inner.get("data"))
    return Offline.ERROR if name == _ACTIVATE and _is_first_start(data) else Offline.EXPIRE


def _is_first_start(data: Mapping[str, Any]) -> bool:
    """Return whether cattle counts no start of the instance yet.

    Only a count of 0 says so. Without a count the start may be a later one, where an error is
    final; expiring costs at most an instance that has never run.
    """
    instance = _mapping(_mapping(data.get("instanceHostMap")).get("instance"))
    count = instance.get("startCount")
    return isinstance(count, int) and not isinstance(count, bool) and count == 0


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
