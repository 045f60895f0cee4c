"""The operations: what each event does on this host, without Celery and Redis.

An operation gets the event and the host and returns the `data` of the reply. Operations are
idempotent: they inspect the current state and change only what differs. They hold a lock per
resource.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from cowpoke.events import Event
from cowpoke.scrubbing import Scrubber, scrubbing
from worker.errors import HandleShortageError, OperationError, WorkerError
from worker.operations.activate import activate
from worker.operations.config_update import update_config
from worker.operations.context import Host
from worker.operations.deactivate import deactivate
from worker.operations.delegate import delegate
from worker.operations.force_stop import force_stop
from worker.operations.image import activate_image
from worker.operations.inspect import inspect
from worker.operations.ping import ping
from worker.operations.pull import pull
from worker.operations.remove import remove
from worker.operations.volume import activate_volume, deactivate_volume, remove_volume
from worker.process.handles import is_shortage
from worker.settings import WorkerSettings

Operation = Callable[[Event, Host], dict[str, Any]]

#: The name of an event -> its operation.
OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "ping": ping,
        "compute.instance.activate": activate,
        "compute.instance.deactivate": deactivate,
        "compute.instance.remove": remove,
        "compute.instance.force.stop": force_stop,
        "compute.instance.inspect": inspect,
        "compute.instance.pull": pull,
        "storage.image.activate": activate_image,
        "storage.volume.activate": activate_volume,
        "storage.volume.deactivate": deactivate_volume,
        "storage.volume.remove": remove_volume,
        "volume.remove": remove_volume,
        "config.update": update_config,
        "delegate.request": delegate,
    }
)

#: Events that do not need the Engine.
_WITHOUT_DOCKER = frozenset({"ping", "config.update"})


def operation_of(name: str, settings: WorkerSettings) -> Operation | None:
    """Return the operation of an event name, or None.

    The operation scrubs the secrets of its event from errors, progress and log lines. It refuses
    events that need Docker if `CATTLE_DOCKER_ENABLED` is false.
    """
    operation = OPERATIONS.get(name)
    if operation is None:
        return None
    if not settings.docker_enabled and name not in _WITHOUT_DOCKER:
        operation = _refuse
    return partial(_run_scrubbed, operation)


def _run_scrubbed(operation: Operation, event: Event, host: Host) -> dict[str, Any]:
    """Run an operation; scrub all its texts with the scrubber of its event."""
    scrubber = Scrubber.of(event.data)

    def report_progress(text: str, percent: int | None) -> None:
        host.report_progress(scrubber(text), percent)

    def warn(text: str) -> None:
        host.warn(scrubber(text))

    with scrubbing(scrubber):
        try:
            return operation(event, replace(host, report_progress=report_progress, warn=warn))
        except WorkerError as error:
            # The causes are dropped below, so a shortage of file handles is detected here.
            text = scrubber(error.message)
            scrubbed = HandleShortageError(text) if is_shortage(error) else error.with_message(text)
        # Raised outside of the handler, because the causes may quote secrets.
        raise scrubbed


def _refuse(event: Event, _: Host) -> dict[str, Any]:
    raise OperationError(
        f"{event.base_name} needs Docker, and CATTLE_DOCKER_ENABLED is false on this host"
    )
