"""`compute.instance.remove`: remove the container of an instance.

Row numbers (A) refer to docs/parity.md.
"""

from typing import Any

from cowpoke.events import Event
from cowpoke.log import logger
from worker.container import UUID_LABEL
from worker.engine import containers, removal
from worker.host.state_files import StateFiles
from worker.operations.context import Host
from worker.operations.protection import refuse_own, spares_old_agent
from worker.payload import known_instance_of

_log = logger(__name__)


def remove(event: Event, host: Host) -> dict[str, Any]:
    """Remove the container, even with the no-op flag; return `{}` (A 2.14, 10.7, 11.5 to 11.7)."""
    instance = known_instance_of(event.data)
    remove_container_of(instance.uuid, instance.external_id, host)
    return {}


def remove_container_of(uuid: str, external_id: str | None, host: Host) -> None:
    """Remove the container of an instance by force; a missing one is no error.

    Its volumes stay. Only anonymous volumes of a container that never ran are removed.
    """
    files = StateFiles(host.settings.state_dir)
    with host.locks.hold(f"instance:{uuid}"):
        found = containers.find_any(host.engine, uuid=uuid, external_id=external_id)
        if found is None:
            files.discard(external_id or "")
            return
        refuse_own(found, "removed", host.engine)
        if spares_old_agent(found, "removed"):
            return
        if UUID_LABEL in found.labels:
            removal.discard(host.engine, found)
        else:  # a user created it and may have written to its volumes
            removal.remove(host.engine, found.id)
        files.discard(found.id)
        _log.info("container.removed", instance_uuid=uuid, container_id=found.short_id)
