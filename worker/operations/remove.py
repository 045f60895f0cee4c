"""`compute.instance.remove`: the instance has no container any more."""

from typing import Any

from worker.contract.events import Event
from worker.engine import containers
from worker.log import logger
from worker.operations.context import Host
from worker.operations.protection import refuse_own
from worker.operations.state_files import StateFiles
from worker.payload import known_instance_of

_log = logger(__name__)


def remove(event: Event, host: Host) -> dict[str, Any]:
    """`{}`, once it is gone; the no-op flag does not count here (A 2.14, 10.7, 11.5 to 11.7)."""
    instance = known_instance_of(event.data)
    remove_container_of(instance.uuid, instance.external_id, host)
    return {}


def remove_container_of(uuid: str, external_id: str | None, host: Host) -> None:
    """Remove an instance's container by force; its volumes stay, a missing one is fine."""
    files = StateFiles(host.settings.state_dir)
    with host.locks.hold(f"instance:{uuid}"):
        found = containers.find(host.engine, uuid=uuid, external_id=external_id)
        if found is None:
            files.forget(external_id or "")
            return
        refuse_own(found, "removed")
        containers.remove(host.engine, found["Id"])
        files.forget(found["Id"])
        _log.info("container.removed", instance_uuid=uuid, container_id=found["Id"][:12])
