"""`compute.instance.deactivate`: stop the container of an instance.

Row numbers (A) refer to docs/parity.md.
"""

from functools import partial
from typing import Any

from cowpoke.events import Event
from cowpoke.log import logger
from worker.container import Container
from worker.engine import containers
from worker.errors import (
    ContainerMissingError,
    EngineError,
    EngineUnavailableError,
    OperationError,
)
from worker.host.recent_stops import RecentStops
from worker.operations.bounded import reporting
from worker.operations.context import Host
from worker.operations.protection import refuse_own, spares_old_agent
from worker.payload import KnownInstance, known_instance_of
from worker.report import container_reply, wrapped

#: Stop timeout of a container if cattle does not set one.
DEFAULT_STOP_TIMEOUT_S = 10

_log = logger(__name__)


def deactivate(event: Event, host: Host) -> dict[str, Any]:
    """Stop the container; return the reply's `data` with its report. None is no error (A 11.3).

    A container that cannot be inspected is stopped as well, and reported by its list entry.
    Errors: OperationError when it still runs after a kill (A 11.2).
    """
    instance = known_instance_of(event.data)
    with host.locks.hold(f"instance:{instance.uuid}"):
        found = containers.find_any(
            host.engine, uuid=instance.uuid, external_id=instance.external_id
        )
        if found and found.is_running and not instance.process.is_no_op:
            refuse_own(found, "stopped", host.engine)
            if not spares_old_agent(found, "stopped"):
                with RecentStops(host.settings.state_dir).recorded(found.id):
                    found = _stop(instance, found.id, host)
        reply = container_reply(found, instance, host_ip=host.identity.host_ip)
        return wrapped(event, reply)


def _stop(instance: KnownInstance, container_id: str, host: Host) -> Container | None:
    asked_s = instance.process.timeout_s
    timeout_s = DEFAULT_STOP_TIMEOUT_S if asked_s is None else asked_s  # 0 is valid (A 11.1)
    try:
        reporting(
            partial(containers.stop, host.engine, container_id, timeout_s=timeout_s),
            host.report_progress,
            f"stopping container {container_id[:12]}, may take {timeout_s} s",
            bound_s=timeout_s,
        )
    except EngineUnavailableError:
        raise
    except ContainerMissingError:
        return None
    except EngineError as error:
        _log.warning("container.stop_refused", code=error.code, reason=error.message)
    now = containers.inspect_or_list(host.engine, container_id)
    if now is not None and now.is_running:
        try:
            containers.kill(host.engine, container_id)
        except ContainerMissingError:
            return None
        now = containers.inspect_or_list(host.engine, container_id)
    if now is not None and now.is_running:
        raise OperationError(f"Failed to stop container {instance.uuid}")
    _log.info("container.stopped", instance_uuid=instance.uuid, container_id=container_id[:12])
    return now
