"""`compute.instance.activate`: the instance's container runs.

Decided by what Docker has, never by what was asked before: running is reported, stopped is
started, missing is created and started. A try that died anywhere is finished by the next one,
because each finds the container by its label (A.3, C 13, C 14).
"""

from collections.abc import Mapping
from typing import Any

from cowpoke.events import Event
from cowpoke.log import logger
from worker.container import UUID_LABEL, Container
from worker.create import (
    Facts,
    container_names,
    create_body,
    create_warnings,
    ignored_fields,
    named_volumes,
)
from worker.create.labels import PULL_IMAGE
from worker.engine import containers, removal
from worker.errors import (
    ContainerMissingError,
    ContainerStrandedError,
    EngineBusyError,
    EngineUnavailableError,
    ImageMissingError,
    LockHeldError,
    NameConflictError,
    PayloadError,
    RemovalUnderWayError,
    WorkerError,
)
from worker.host.state_files import StateFiles
from worker.image_reference import ImageReference
from worker.operations.context import Host
from worker.operations.facts import gather
from worker.operations.images import ensure_image
from worker.operations.volume import ensure_volume, keep_volume
from worker.payload import Instance, instance_of, known_instance_of
from worker.report import container_reply, wrapped

_log = logger(__name__)


def activate(event: Event, host: Host) -> dict[str, Any]:
    """The reply's `data`, with the running container in it.

    Errors: PayloadError, ImageNeededError (in a lane that must not pull), EngineError.
    """
    instance = known_instance_of(event.data)
    with host.locks.hold(f"instance:{instance.uuid}"):
        found = containers.find(host.engine, uuid=instance.uuid, external_id=instance.external_id)
        if not instance.process.is_no_op and not (found and found.is_running):
            found = _start(event, instance.uuid, found, host)
        if found is not None:
            StateFiles(host.settings.state_dir).write(found.id, event.data)
        reply = container_reply(found, instance, host_ip=host.identity.host_ip)
        return wrapped(event, reply)


def _start(event: Event, uuid: str, found: Container | None, host: Host) -> Container | None:
    """Start the container; create it first if it is missing."""
    container_id, found = (
        _create(instance_of(event.data), host) if found is None else (found.id, found)
    )
    try:
        _start_once(container_id, uuid, found, host)
    except RemovalUnderWayError as error:
        now = containers.inspect(host.engine, container_id)
        if now is not None and not now.is_being_removed:
            # The words are about another container; this one may hold a user's data.
            raise
        _log.info("container.removal_awaited", instance_uuid=uuid, reason=error.message)
        removal.remove(host.engine, container_id)
        container_id, found = _create(instance_of(event.data), host)
        _start_once(container_id, uuid, found, host)
    _log.info("container.started", instance_uuid=uuid, container_id=container_id[:12])
    # None when it removed itself already: short-lived containers are a success too (A 3.3).
    return containers.inspect(host.engine, container_id)


def _start_once(container_id: str, uuid: str, found: Container | None, host: Host) -> None:
    """Start it; a refused start takes back only what this call created (A 3.9)."""
    try:
        containers.start(host.engine, container_id)
    except (EngineUnavailableError, LockHeldError, RemovalUnderWayError):
        # No answer is no refusal: it may run. The next try finds it by its label.
        raise
    except ContainerMissingError as error:
        raise EngineBusyError(
            f"container {container_id[:12]} of {uuid} vanished while it was being started"
        ) from error
    except WorkerError as error:
        if found is None:
            _take_back(container_id, host)
        elif isinstance(error, ContainerStrandedError) and _is_remnant(found, uuid):
            _take_back(container_id, host)
            raise EngineBusyError(
                f"{error.message}; an earlier try left it, it is made anew"
            ) from error
        raise


def _is_remnant(found: Container, uuid: str) -> bool:
    """Return whether an earlier try made it and it never ran: nobody's data is in it."""
    return found.has_never_run and found.labels.get(UUID_LABEL) == uuid


def _take_back(container_id: str, host: Host) -> None:
    """Remove what could not be started; the start's error is the one that counts."""
    try:
        found = containers.inspect_or_list(host.engine, container_id)
        if found is not None:
            removal.discard(host.engine, found)
    except WorkerError as error:
        _log.warning("container.not_discarded", code=error.code, reason=error.message)


def _create(instance: Instance, host: Host) -> tuple[str, Container | None]:
    """The container's id; and what was found, when its name shows that it is there."""
    image = instance.image_reference
    if image is None:
        raise PayloadError("Can not start container with no image")
    # An instance that cannot be mapped is refused before it leaves an image or a volume behind.
    create_body(instance, Facts())
    if instance.label(PULL_IMAGE) == "always":
        ensure_image(image, instance.image, host, even_if_present=True)
    for volume in instance.volumes_from_data_volume_mounts:
        ensure_volume(volume, host)
    for name in named_volumes(instance):
        keep_volume(name, host)
    facts = gather(instance, host)
    body = create_body(instance, facts)
    if ignored := ignored_fields(instance):
        _log.debug("fields.ignored", instance_uuid=instance.uuid, fields=ignored)
    for warning in create_warnings(instance, facts):
        _log.warning("field.not_applied", instance_uuid=instance.uuid, warning=warning)
        host.warn(warning)
    conflict: NameConflictError | None = None
    for name in container_names(instance):
        try:
            return _create_with_image(instance, image, body, name, host), None
        except NameConflictError as error:
            conflict = error
            if (adopted := _owned(name, instance, host)) is not None:
                return adopted.id, adopted
    assert conflict is not None
    raise conflict


def _create_with_image(
    instance: Instance, image: ImageReference, body: Mapping[str, Any], name: str, host: Host
) -> str:
    """Create; on a missing image pull it and create once more (A 3.6)."""
    try:
        return containers.create_from_body(host.engine, body, name=name, warn=host.warn)
    except ImageMissingError:
        ensure_image(image, instance.image, host)
    return containers.create_from_body(host.engine, body, name=name, warn=host.warn)


def _owned(name: str, instance: Instance, host: Host) -> Container | None:
    """The container that has our name, if it is this instance's (C 14).

    Errors: EngineBusyError when nobody seems to have it: an earlier create is still under way, and
    another name would make a second container.
    """
    owner = containers.inspect(host.engine, name)
    if owner is None:
        raise EngineBusyError(f"the name {name} is taken by a container that is not there yet")
    if owner.uuid != instance.uuid:
        return None
    _log.info("container.adopted", instance_uuid=instance.uuid, container_id=owner.short_id)
    return owner
