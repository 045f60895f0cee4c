"""Show what an activate event would do on this host, without an Engine and without changes."""

import json
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from cowpoke.events import Event
from cowpoke.log import logger
from worker.container import UUID_LABEL
from worker.create import Facts, ImageCommand, create_body, create_warnings
from worker.engine.api_versions import NEWEST_API, OLDEST_API, version_numbers, version_text
from worker.errors import PayloadError
from worker.host.facts import facts_without_engine
from worker.payload import Instance, KnownInstance, instance_of, known_instance_of
from worker.settings import WorkerSettings

_log = logger(__name__)
#: Stands for what only the Engine knows; used in managed networks only.
_OF_THE_IMAGE = ImageCommand(
    entry_point=("<entry point of the image>",), command=("<command of the image>",)
)
_STARTED = "started, then reported"


def explain_event(text: str, settings: WorkerSettings) -> dict[str, Any]:
    """Return the Engine's create body that an activate event would give on this host.

    For a native container and for an event that changes nothing, return the steps instead: how the
    container is found, and what happens to it in each state. Other containers are written by name,
    because only the Engine knows their ids. Assumptions are logged as warnings.

    Errors: PayloadError when the text is no activate event; EngineError when the API version of the
    settings is invalid.
    """
    data = _activation(text).data
    known = known_instance_of(data)
    if known.process.is_no_op:
        return _steps(known, stopped="reported as it is", missing="reported as gone")
    if not known.is_native:
        return _body(instance_of(data), settings)
    try:
        created = {"createBody": _body(instance_of(data), settings)}
    except PayloadError as error:
        return _steps(known, stopped=_STARTED, missing=f"an error: {error.message}")
    return (
        _steps(known, stopped=_STARTED, missing="created from createBody, then started") | created
    )


def _activation(text: str) -> Event:
    try:
        event = Event.model_validate_json(text)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'event'}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise PayloadError(f"wanted one of cattle's events as JSON: {faults}") from None
    if event.base_name != "compute.instance.activate":
        raise PayloadError(
            f"wanted a compute.instance.activate event, found {event.base_name}: only that one "
            "creates a container"
        )
    return event


def _steps(instance: KnownInstance, *, stopped: str, missing: str) -> dict[str, Any]:
    found_by = {"label": f"{UUID_LABEL}={instance.uuid}", "name": instance.uuid}
    return {
        "foundBy": found_by | ({"id": instance.external_id} if instance.external_id else {}),
        "whenRunning": "reported as it is",
        "whenStopped": stopped,
        "whenMissing": missing,
    }


def _body(instance: Instance, settings: WorkerSettings) -> dict[str, Any]:
    facts = _facts(instance, settings)
    for warning in create_warnings(instance, facts):
        _log.warning("field.not_applied", instance_uuid=instance.uuid, warning=warning)
    for volume in instance.volumes_from_data_volume_mounts:
        if volume.has_rancher_driver:
            _log.warning(
                "explain.driver_not_asked",
                volume=volume.name,
                driver=volume.driver,
                advice="the storage driver may answer with a folder that is mounted instead",
            )
    # Tuples become lists, as in the request to the Engine.
    body: dict[str, Any] = json.loads(json.dumps(create_body(instance, facts)))
    return body


def _facts(instance: Instance, settings: WorkerSettings) -> Facts:
    facts = replace(facts_without_engine(instance, settings), image_command=_OF_THE_IMAGE)
    if settings.docker_api_version is not None:
        return replace(facts, api_version=version_numbers(settings.docker_api_version))
    oldest, newest = (
        create_body(instance, replace(facts, api_version=version))
        for version in (OLDEST_API, NEWEST_API)
    )
    if oldest != newest:
        _log.warning(
            "explain.version_assumed",
            api_version=version_text(facts.api_version),
            advice="the body depends on the API version: set CATTLE_DOCKER_API_VERSION",
        )
    return facts
