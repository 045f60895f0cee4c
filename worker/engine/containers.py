"""What we ask of the Engine about containers.

An inspect is the Engine's own JSON. Something that vanishes between two calls is gone, not an
error (C 19): finding and inspecting answer None then.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from worker.engine.client import Call, Engine, segment
from worker.errors import (
    ContainerMissingError,
    ContainerStrandedError,
    EngineBusyError,
    EngineError,
    NameConflictError,
)
from worker.log import logger

#: The label by which a container is known to cattle; it is never overwritten by a user's.
UUID_LABEL = "io.rancher.container.uuid"

Inspect = dict[str, Any]

_log = logger(__name__)
_RUNNING_STATES = frozenset({"running", "paused", "restarting"})
_NO_UUID = "no-uuid-"
_GONE_POLL_S = 0.2
#: What a dockerd says of a container whose start a kill cut off: containerd still has the task, the
#: container, or the shim's folder that were begun.
_STRANDED = re.compile(r"task .*already exists|id already in use|shim.*file exists")


def find(engine: Engine, *, uuid: str, external_id: str | None = None) -> Inspect | None:
    """The container of a cattle instance: by uuid label, by name, by Docker id (A 2.5 to 2.12).

    Of several with the same label the running one is taken, then the one cattle knows by its id,
    then the newest, so that the choice does not flap (A 2.11, C 13).
    """
    if uuid:
        for listed in _by_label(engine, uuid, external_id):
            if (found := inspect(engine, listed["Id"])) is not None:
                return found
        # A label that names another instance wins over a name that looks like ours (A 2.6, 2.10);
        # a container without any name is known as `no-uuid-<id>` (A 2.7).
        found = inspect(engine, uuid.removeprefix(_NO_UUID))
        if found is not None and uuid_of(found) == uuid:
            return found
    if external_id:
        found = inspect(engine, external_id)
        # The Engine also accepts a prefix or a name; cattle means exactly this id (A 2.8).
        if found is not None and found["Id"] == external_id:
            return found
    return None


def _by_label(engine: Engine, uuid: str, external_id: str | None) -> list[dict[str, Any]]:
    listed = _labelled(engine, f"{UUID_LABEL}={uuid}", f"find the container of instance {uuid}")
    if len(listed) > 1:
        ids = [one["Id"][:12] for one in listed]
        _log.warning("container.duplicate", instance_uuid=uuid, container_ids=ids)

    def preference(one: Mapping[str, Any]) -> tuple[bool, bool, int]:
        return is_listed_running(one), one["Id"] == external_id, one.get("Created") or 0

    return sorted(listed, key=preference, reverse=True)


def find_by_label(engine: Engine, name: str, value: str) -> Inspect | None:
    """A container with this label, a running one before others."""
    for listed in _labelled(engine, f"{name}={value}", f"find a container of {name} {value}"):
        if (found := inspect(engine, listed["Id"])) is not None:
            return found
    return None


def inspect(engine: Engine, reference: str) -> Inspect | None:
    """The container with this id, or exactly this name; None when there is none."""
    try:
        found: Inspect = engine.run(
            Call(
                "GET",
                f"/containers/{segment(reference)}/json",
                kind="container.inspect",
                wanted=f"inspect container {reference}",
                refusal=_missing,
            )
        )
    except ContainerMissingError:
        return None
    return found


def create_from_body(
    engine: Engine, body: Mapping[str, Any], *, name: str, warn: Callable[[str], None]
) -> str:
    """Create a container from the Engine's own JSON, zeros kept; its id.

    Each warning of the Engine's is handed to `warn`.

    Errors: NameConflictError, ImageMissingError, EngineError with the Engine's words.
    """
    created = engine.run(
        Call(
            "POST",
            "/containers/create",
            kind="container.create",
            wanted=f"create container {name}",
            params={"name": name},
            body=body,
            timeout_s=engine.work_timeout_s,
            refusal=_create_refusal,
            takes_slot=True,
        )
    )
    for warning in created.get("Warnings") or ():
        _log.warning("container.create-warning", container=name, warning=warning)
        warn(str(warning))
    return str(created["Id"])


def start(engine: Engine, container_id: str) -> None:
    """Start it; one that runs already is fine."""
    engine.run(
        Call(
            "POST",
            f"/containers/{segment(container_id)}/start",
            kind="container.start",
            wanted=f"start container {container_id[:12]}",
            timeout_s=engine.work_timeout_s,
            refusal=_start_refusal,
            takes_slot=True,
        )
    )


def stop(engine: Engine, container_id: str, *, timeout_s: int) -> None:
    """Stop it, killed by the Engine after `timeout_s`; our own patience is longer (A 11.4)."""
    engine.run(
        Call(
            "POST",
            f"/containers/{segment(container_id)}/stop",
            kind="container.stop",
            wanted=f"stop container {container_id[:12]}",
            params={"t": str(timeout_s)},
            timeout_s=timeout_s + engine.work_timeout_s,
            refusal=_stop_refusal,
            takes_slot=True,
        )
    )


def kill(engine: Engine, container_id: str) -> None:
    """Kill it; one that is not running is fine."""
    try:
        engine.run(
            Call(
                "POST",
                f"/containers/{segment(container_id)}/kill",
                kind="container.kill",
                wanted=f"kill container {container_id[:12]}",
                timeout_s=engine.work_timeout_s,
                refusal=_kill_refusal,
            )
        )
    except EngineBusyError as error:
        _log.info("container.not-running", container_id=container_id[:12], reason=error.message)


def remove(engine: Engine, container_id: str) -> None:
    """Remove it by force, its volumes kept; gone already is fine (A 11.5).

    Errors: EngineBusyError when a removal by somebody else does not end in time (A 11.7).
    """
    try:
        engine.run(
            Call(
                "DELETE",
                f"/containers/{segment(container_id)}",
                kind="container.remove",
                wanted=f"remove container {container_id[:12]}",
                params={"force": "1", "v": "0"},
                timeout_s=engine.work_timeout_s,
                refusal=_remove_refusal,
                takes_slot=True,
            )
        )
    except ContainerMissingError:
        return
    except EngineBusyError:
        _wait_until_gone(engine, container_id)


def list_all(engine: Engine, *, timeout_s: float) -> list[dict[str, Any]]:
    """All containers of the host in every state, by one call that begins now."""
    listed: list[dict[str, Any]] = engine.run(
        Call(
            "GET",
            "/containers/json",
            kind="container.list",
            wanted="list the containers of this host",
            params={"all": "1"},
            timeout_s=timeout_s,
        )
    )
    return listed


def is_running(container: Inspect) -> bool:
    """Whether it runs; a paused one does (A 2.15)."""
    return bool((container.get("State") or {}).get("Running"))


def uuid_of(container: Inspect) -> str:
    """How cattle knows a container: its label, else its name, else its id (A 2.6, 2.7, 2.10)."""
    labels = (container.get("Config") or {}).get("Labels") or {}
    name = str(container.get("Name") or "").removeprefix("/")
    return str(labels.get(UUID_LABEL) or name or f"{_NO_UUID}{container['Id']}")


def is_listed_running(listed: Mapping[str, Any]) -> bool:
    """Whether a list's entry runs; paused and restarting ones do (A 14.16)."""
    return listed.get("State") in _RUNNING_STATES


def uuid_of_listed(listed: Mapping[str, Any]) -> str:
    """As `uuid_of`, for an entry of a list, where a name with a second slash is a link's alias."""
    names = [str(name).removeprefix("/") for name in listed.get("Names") or ()]
    own = next((name for name in names if "/" not in name), "")
    return str((listed.get("Labels") or {}).get(UUID_LABEL) or own or f"{_NO_UUID}{listed['Id']}")


def _wait_until_gone(engine: Engine, container_id: str) -> None:
    deadline_s = time.monotonic() + engine.work_timeout_s
    while inspect(engine, container_id) is not None:
        if time.monotonic() >= deadline_s:
            raise EngineBusyError(
                f"wanted container {container_id[:12]} removed, the removal that is already in "
                f"progress did not end within {engine.work_timeout_s:g} s"
            )
        time.sleep(_GONE_POLL_S)


def _labelled(engine: Engine, label: str, wanted: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = engine.run(
        Call(
            "GET",
            "/containers/json",
            kind="container.list",
            wanted=wanted,
            params={"all": "1", "filters": json.dumps({"label": [label]})},
        )
    )
    return sorted(listed, key=is_listed_running, reverse=True)


def _missing(status: int, _words: str) -> type[EngineError] | None:
    return ContainerMissingError if status == 404 else None  # noqa: PLR2004 - HTTP's own number


def _create_refusal(status: int, words: str) -> type[EngineError] | None:
    match status:
        case 404 if "no such container" in words:
            return ContainerMissingError
        case 409 if "name" in words:
            return NameConflictError
        case 500:
            # The Engine answered and said why: a bad runtime or a broken driver, not an outage.
            return EngineError
    return None


def _start_refusal(status: int, words: str) -> type[EngineError] | None:
    match status:
        case 404 if "no such container" in words:
            return ContainerMissingError
        case 409 | 500 if _STRANDED.search(words):
            return ContainerStrandedError
        case 500:
            # A taken port and a missing program are 500 too: asking again would not help.
            return EngineError
    return None


def _stop_refusal(status: int, _words: str) -> type[EngineError] | None:
    # 500: the process did not end; whoever asked still has the kill.
    return {404: ContainerMissingError, 500: EngineError}.get(status)


def _kill_refusal(status: int, _words: str) -> type[EngineError] | None:
    return {404: ContainerMissingError, 409: EngineBusyError}.get(status)


def _remove_refusal(status: int, words: str) -> type[EngineError] | None:
    match status:
        case 404:
            return ContainerMissingError
        case 409 if "already in progress" in words:
            return EngineBusyError
    return None
