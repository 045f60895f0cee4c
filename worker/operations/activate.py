"""`compute.instance.activate`: run the container of an instance.

Only the current state of the container decides: a running one is reported, a stopped one is
started, a missing one is created and started. A try that was killed at any point is completed by
the next try, which finds the container by its label (A.3, C 13, C 14).

Row numbers (A, C) refer to docs/parity.md.
"""

from collections.abc import Mapping
from dataclasses import replace
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
from worker.create.labels import CNI_NETWORK, PULL_IMAGE
from worker.create.managed_network import WAIT_PROGRAM
from worker.engine import containers, removal
from worker.errors import (
    ContainerMissingError,
    ContainerStrandedError,
    EngineBusyError,
    EngineError,
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
from worker.network.wait_volume import keep_filled
from worker.network.waiting import connected
from worker.operations.context import Host
from worker.operations.facts import gather
from worker.operations.images import ensure_image
from worker.operations.managed_volume import keep_volume
from worker.operations.volume import provide_volumes, remount_volumes
from worker.payload import Instance, KnownInstance, instance_of, known_instance_of
from worker.report import container_reply, wrapped

_log = logger(__name__)


def activate(event: Event, host: Host) -> dict[str, Any]:
    """Run the container; return the reply's `data` with the container report.

    Errors: PayloadError, ImageNeededError (in a lane that must not pull), EngineError,
    NetworkFailedError; NotYetError while a managed network has not connected the container.
    """
    instance = known_instance_of(event.data)
    with host.locks.hold(f"instance:{instance.uuid}"):
        found = containers.find(host.engine, uuid=instance.uuid, external_id=instance.external_id)
        files = StateFiles(host.settings.state_dir)
        if not instance.process.is_no_op and not _is_started(found, event, files):
            found = _start(event, instance, found, host)
            if found is not None and CNI_NETWORK in found.labels:
                files.note_start(found.id, event.id)
        if found is not None:
            files.write(found.id, event.data)
        now = connected(found, instance, host.engine, host.settings)
        reply = container_reply(
            now.container,
            instance,
            host_ip=host.identity.host_ip,
            managed_address=now.address,
        )
        return wrapped(event, reply)


def _is_started(found: Container | None, event: Event, files: StateFiles) -> bool:
    """Return whether the container runs, or ended while this event waited for its address."""
    return found is not None and (found.is_running or files.was_started_by(found.id, event.id))


def _start(
    event: Event, instance: KnownInstance, found: Container | None, host: Host
) -> Container | None:
    """Start the container; create it first if it is missing."""
    uuid = instance.uuid
    if found is None:
        container_id, found = _create(instance_of(event.data), host)
    else:
        container_id = found.id
        remount_volumes(instance.volumes_from_data_volume_mounts, host)
    try:
        _start_once(container_id, uuid, found, host)
    except RemovalUnderWayError as error:
        now = containers.inspect(host.engine, container_id)
        if now is not None and not now.is_being_removed:
            # The message is about another container; this one may contain user data.
            raise
        _log.info("container.removal_awaited", instance_uuid=uuid, reason=error.message)
        removal.remove(host.engine, container_id)
        container_id, found = _create(instance_of(event.data), host)
        _start_once(container_id, uuid, found, host)
    _log.info("container.started", instance_uuid=uuid, container_id=container_id[:12])
    # None if the container removed itself already: a short-lived container is a success (A 3.3).
    return containers.inspect(host.engine, container_id)


def _start_once(container_id: str, uuid: str, found: Container | None, host: Host) -> None:
    """Start a container; if that fails, remove it only if this event created it (A 3.9)."""
    try:
        _start_waiting(container_id, host)
    except (EngineUnavailableError, LockHeldError, RemovalUnderWayError):
        # The container may have started. The next try finds it by its label.
        raise
    except ContainerMissingError as error:
        raise EngineBusyError(
            f"container {container_id[:12]} of {uuid} was removed while it was being started"
        ) from error
    except WorkerError as error:
        if found is None:
            _take_back(container_id, host)
        elif isinstance(error, ContainerStrandedError) and _is_remnant(found, uuid):
            _take_back(container_id, host)
            raise EngineBusyError(
                f"{error.message}; the container of the killed start is created again"
            ) from error
        raise


def _start_waiting(container_id: str, host: Host) -> None:
    """Start a container; if its wait program is missing, restore that and start again (B.2)."""
    try:
        containers.start(host.engine, container_id)
    except EngineError as error:
        if WAIT_PROGRAM not in error.message:
            raise
        keep_filled(host.engine, host.locks, host.settings, is_broken=True)
        containers.start(host.engine, container_id)


def _is_remnant(found: Container, uuid: str) -> bool:
    """Return whether an earlier try created it and it never ran, so that it has no user data."""
    return found.has_never_run and found.labels.get(UUID_LABEL) == uuid


def _take_back(container_id: str, host: Host) -> None:
    """Remove a container that could not be started; log errors, so that the start's is raised."""
    try:
        found = containers.inspect_or_list(host.engine, container_id)
        if found is not None:
            removal.discard(host.engine, found)
    except WorkerError as error:
        _log.warning("container.not_discarded", code=error.code, reason=error.message)


def _create(instance: Instance, host: Host) -> tuple[str, Container | None]:
    """Create the container; return its id, and the container if it existed under its name."""
    image = instance.image_reference
    if image is None:
        raise PayloadError("Can not start container with no image")
    # Refuse an instance that cannot be mapped before an image is pulled or a volume created.
    create_body(instance, Facts())
    if instance.label(PULL_IMAGE) == "always":
        ensure_image(image, instance.image, host, even_if_present=True)
    mount_points = provide_volumes(instance.volumes_from_data_volume_mounts, host)
    for name in named_volumes(instance):
        keep_volume(name, host)
    body = _create_body(instance, mount_points, host)
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


def _create_body(instance: Instance, mount_points: Mapping[str, str], host: Host) -> dict[str, Any]:
    """Return the Engine's body; provide the wait program if the container needs it (B.2)."""
    facts = replace(gather(instance, host), mount_points=mount_points)
    body = create_body(instance, facts)
    if WAIT_PROGRAM in body.get("Entrypoint", ()):
        keep_filled(host.engine, host.locks, host.settings)
    if ignored := ignored_fields(instance):
        _log.debug("fields.ignored", instance_uuid=instance.uuid, fields=ignored)
    for warning in create_warnings(instance, facts):
        _log.warning("field.not_applied", instance_uuid=instance.uuid, warning=warning)
        host.warn(warning)
    return body


def _create_with_image(
    instance: Instance, image: ImageReference, body: Mapping[str, Any], name: str, host: Host
) -> str:
    """Create the container; if the image is missing, pull it and create again (A 3.6)."""
    try:
        return containers.create_from_body(host.engine, body, name=name, warn=host.warn)
    except ImageMissingError:
        ensure_image(image, instance.image, host)
    return containers.create_from_body(host.engine, body, name=name, warn=host.warn)


def _owned(name: str, instance: Instance, host: Host) -> Container | None:
    """Return the container with the wanted name if it belongs to this instance (C 14), else None.

    Errors: EngineBusyError when no such container exists yet: an earlier create is in progress, and
    creating under another name would make a second container.
    """
    owner = containers.inspect(host.engine, name)
    if owner is None:
        raise EngineBusyError(f"a container with the name {name} is still being created")
    if owner.uuid != instance.uuid:
        return None
    _log.info("container.adopted", instance_uuid=instance.uuid, container_id=owner.short_id)
    return owner
