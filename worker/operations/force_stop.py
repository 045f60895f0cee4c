"""`compute.instance.force.stop`: stop a running container whose instance cattle has removed.

The event has only a Docker id, no instance, and needs no reply (A 11.8).

Row numbers (A) refer to docs/parity.md.
"""

from typing import Any

from cowpoke.events import Event
from cowpoke.log import logger
from worker.engine import containers
from worker.errors import ContainerMissingError
from worker.host.recent_stops import RecentStops
from worker.operations.context import Host
from worker.operations.deactivate import DEFAULT_STOP_TIMEOUT_S
from worker.operations.protection import refuse_own
from worker.payload import force_stop_of

_log = logger(__name__)


def force_stop(event: Event, host: Host) -> dict[str, Any]:
    """Stop the container and return `{}`; a missing or stopped one is no error."""
    request = force_stop_of(event.data)
    found = containers.inspect_or_list(host.engine, request.id)
    if found is None:
        return {}
    refuse_own(found, "stopped", host.engine)
    stops = RecentStops(host.settings.state_dir)
    with host.locks.hold(f"instance:{found.uuid}"), stops.recorded(found.id):
        try:
            containers.stop(host.engine, found.id, timeout_s=DEFAULT_STOP_TIMEOUT_S)
        except ContainerMissingError:
            return {}
    _log.info("container.force_stopped", container_id=found.short_id)
    return {}
