"""The calls to the Engine about containers.

A container that vanishes between two calls is gone, which is no error (C 19): finding and
inspecting return None then. Row numbers (A, B, C, W) refer to docs/parity.md.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from cowpoke.log import logger
from worker.container import NO_UUID, UUID_LABEL, Container
from worker.engine.client import Call, Engine, segment
from worker.engine.refusals import (
    create_refusal,
    inspect_refusal,
    kill_refusal,
    start_refusal,
    stop_refusal,
)
from worker.errors import ContainerMissingError, ContainerUnreadableError, EngineBusyError

_log = logger(__name__)


def find(engine: Engine, *, uuid: str, external_id: str | None = None) -> Container | None:
    """Return the container of a cattle instance with its inspect, or None; see `find_any`.

    Errors: ContainerUnreadableError when the Engine cannot inspect it.
    """
    found = find_any(engine, uuid=uuid, external_id=external_id)
    if found is not None and found.problem is not None:
        raise found.problem
    return found


def find_any(engine: Engine, *, uuid: str, external_id: str | None = None) -> Container | None:
    """Find the container of an instance: by uuid label, by name, by Docker id (A 2.5 to 2.12).

    Of several containers with the same label, the running one is preferred, then the one whose id
    cattle knows, then the newest, so that the choice is stable (A 2.11, C 13).
    """
    if uuid:
        for listed in _by_label(engine, uuid, external_id):
            if (found := inspect_or_list(engine, listed.id, listed)) is not None:
                return found
        # A label with another instance's uuid wins over an equal name (A 2.6, 2.10). A container
        # without any name is known as `no-uuid-<id>` (A 2.7).
        found = inspect_or_list(engine, uuid.removeprefix(NO_UUID))
        if found is not None and found.uuid == uuid:
            return found
    if external_id:
        found = inspect_or_list(engine, external_id)
        # The Engine also accepts a prefix or a name; cattle means exactly this id (A 2.8).
        if found is not None and found.id == external_id:
            return found
    return None


def find_by_label(engine: Engine, name: str, value: str) -> Container | None:
    """Return a container with this label, preferably a running one, or None."""
    for listed in _labelled(engine, f"{name}={value}", f"find a container of {name} {value}"):
        if (found := inspect(engine, listed.id)) is not None:
            return found
    return None


def inspect(engine: Engine, reference: str, *, timeout_s: float | None = None) -> Container | None:
    """Inspect the container with this id or name; return None when there is none.

    Errors: ContainerUnreadableError when the Engine cannot inspect it.
    """
    call = Call(
        "GET",
        f"/containers/{segment(reference)}/json",
        kind="container.inspect",
        wanted=f"inspect container {reference}",
        timeout_s=timeout_s,
        refusal=inspect_refusal,
    )
    found = engine.run_unless_missing(call, ContainerMissingError)
    return None if found is None else Container(inspect=found)


def inspect_or_list(
    engine: Engine, reference: str, listed: Container | None = None
) -> Container | None:
    """Inspect a container; if the Engine cannot, return its list entry with the problem.

    `listed` is the container as a list showed it, if the caller has it.
    Errors: ContainerUnreadableError when the container is not in the list either.
    """
    try:
        return inspect(engine, reference)
    except ContainerUnreadableError as problem:
        entry = listed or _listed(engine, reference)
        if entry is None:
            raise
        return Container(listing=entry.listing, problem=problem)


def list_all(engine: Engine, *, timeout_s: float) -> list[Container]:
    """List the containers of the host in every state, by one call that begins now."""
    return _list(engine, "list the containers of this host", timeout_s=timeout_s)


def _listed(engine: Engine, reference: str) -> Container | None:
    for one in list_all(engine, timeout_s=engine.read_timeout_s):
        if reference == one.id or reference in one.names:
            return one
    return None


def _by_label(engine: Engine, uuid: str, external_id: str | None) -> list[Container]:
    listed = _labelled(engine, f"{UUID_LABEL}={uuid}", f"find the container of instance {uuid}")
    if len(listed) > 1:
        ids = [one.short_id for one in listed]
        _log.warning("container.duplicated", instance_uuid=uuid, container_ids=ids)

    def preference(one: Container) -> tuple[bool, bool, int]:
        return one.is_running, one.id == external_id, one.created_s or 0

    return sorted(listed, key=preference, reverse=True)


def _labelled(engine: Engine, label: str, wanted: str) -> list[Container]:
    listed = _list(engine, wanted, {"filters": json.dumps({"label": [label]})})
    return sorted(listed, key=lambda one: one.is_running, reverse=True)


def _list(
    engine: Engine,
    wanted: str,
    params: Mapping[str, str] | None = None,
    *,
    timeout_s: float | None = None,
) -> list[Container]:
    listed: list[dict[str, Any]] = engine.run(
        Call(
            "GET",
            "/containers/json",
            kind="container.list",
            wanted=wanted,
            params={"all": "1", **(params or {})},
            timeout_s=timeout_s,
        )
    )
    return [Container(listing=one) for one in listed]


def create_from_body(
    engine: Engine, body: Mapping[str, Any], *, name: str, warn: Callable[[str], None]
) -> str:
    """Create a container from the Engine's own JSON, zeros included; return its id.

    Each warning of the Engine is passed to `warn`.
    Errors: NameConflictError, ImageMissingError, EngineError with the Engine's message.
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
            refusal=create_refusal(name),
            takes_slot=True,
        )
    )
    for warning in created.get("Warnings") or ():
        _log.warning("container.created_with_warning", container=name, warning=warning)
        warn(str(warning))
    return str(created["Id"])


def start(engine: Engine, container_id: str) -> None:
    """Start a container; a running one is no error."""
    engine.run(
        Call(
            "POST",
            f"/containers/{segment(container_id)}/start",
            kind="container.start",
            wanted=f"start container {container_id[:12]}",
            timeout_s=engine.work_timeout_s,
            refusal=start_refusal(container_id),
            takes_slot=True,
        )
    )


def stop(engine: Engine, container_id: str, *, timeout_s: int) -> None:
    """Stop a container; the Engine kills it after `timeout_s`, our timeout is longer (A 11.4)."""
    engine.run(
        Call(
            "POST",
            f"/containers/{segment(container_id)}/stop",
            kind="container.stop",
            wanted=f"stop container {container_id[:12]}",
            params={"t": str(timeout_s)},
            timeout_s=timeout_s + engine.work_timeout_s,
            refusal=stop_refusal,
            takes_slot=True,
        )
    )


def kill(engine: Engine, container_id: str) -> None:
    """Kill a container; one that does not run is no error."""
    try:
        engine.run(
            Call(
                "POST",
                f"/containers/{segment(container_id)}/kill",
                kind="container.kill",
                wanted=f"kill container {container_id[:12]}",
                timeout_s=engine.work_timeout_s,
                refusal=kill_refusal,
            )
        )
    except EngineBusyError as error:
        _log.info("container.kill_skipped", container_id=container_id[:12], reason=error.message)


def set_restart_policy(engine: Engine, container_id: str, name: str) -> None:
    """Set when the Engine starts a container by itself: `no`, `always`, `unless-stopped`."""
    engine.run(
        Call(
            "POST",
            f"/containers/{segment(container_id)}/update",
            kind="container.update",
            wanted=f"set the restart policy of container {container_id[:12]}",
            body={"RestartPolicy": {"Name": name}},
            timeout_s=engine.work_timeout_s,
        )
    )
