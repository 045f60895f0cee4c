"""The calls to the Engine about containers.

An inspect is the Engine's own JSON. A container that vanishes between two calls is gone, which is
no error (C 19): finding and inspecting answer None then.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cowpoke.log import logger
from worker.engine.client import Call, Engine, segment
from worker.engine.refusals import (
    create_refusal,
    inspect_refusal,
    kill_refusal,
    start_refusal,
    stop_refusal,
)
from worker.errors import ContainerMissingError, ContainerUnreadableError, EngineBusyError

#: The label by which a container is known to cattle; it is never overwritten by a user's.
UUID_LABEL = "io.rancher.container.uuid"

Inspect = dict[str, Any]

_log = logger(__name__)
_RUNNING_STATES = frozenset({"running", "paused", "restarting"})
_NO_UUID = "no-uuid-"
_NEVER_RAN = "created"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A container as the Engine shows it: its inspect, or only its list entry.

    The Engine cannot inspect a container whose layer is damaged, and can still stop and remove it.
    `problem` is the Engine's refusal of the inspect then.
    """

    inspect: Inspect | None = None
    listing: Mapping[str, Any] | None = None
    problem: ContainerUnreadableError | None = None

    @property
    def id(self) -> str:
        """Return the whole Docker id."""
        return str((self.inspect or self.listing or {})["Id"])

    @property
    def labels(self) -> Mapping[str, str]:
        """Return the labels; empty when there are none."""
        source = (self.inspect.get("Config") or {}) if self.inspect else self.listing or {}
        return source.get("Labels") or {}

    @property
    def uuid(self) -> str:
        """Return how cattle knows the container, see `uuid_of`."""
        return uuid_of(self.inspect) if self.inspect else uuid_of_listed(self.listing or {})

    @property
    def is_running(self) -> bool:
        """Return whether it runs; a paused container does (A 2.15)."""
        return is_running(self.inspect) if self.inspect else is_listed_running(self.listing or {})

    @property
    def has_never_run(self) -> bool:
        """Return whether no process of it was ever started."""
        if self.inspect is not None:
            return (self.inspect.get("State") or {}).get("Status") == _NEVER_RAN
        return (self.listing or {}).get("State") == _NEVER_RAN


def find(engine: Engine, *, uuid: str, external_id: str | None = None) -> Inspect | None:
    """Return the inspect of a cattle instance's container, found as by `find_any`; None without.

    Errors: ContainerUnreadableError when the Engine cannot inspect it.
    """
    found = find_any(engine, uuid=uuid, external_id=external_id)
    if found is not None and found.problem is not None:
        raise found.problem
    return found.inspect if found is not None else None


def find_any(engine: Engine, *, uuid: str, external_id: str | None = None) -> Found | None:
    """Find an instance's container: by uuid label, by name, by Docker id (A 2.5 to 2.12).

    Of several with the same label the running one is taken, then the one cattle knows by its id,
    then the newest, so that the choice does not flap (A 2.11, C 13).
    """
    if uuid:
        for listed in _by_label(engine, uuid, external_id):
            if (found := look(engine, listed["Id"], listed)) is not None:
                return found
        # A label that names another instance wins over a name that looks like ours (A 2.6, 2.10);
        # a container without any name is known as `no-uuid-<id>` (A 2.7).
        found = look(engine, uuid.removeprefix(_NO_UUID))
        if found is not None and found.uuid == uuid:
            return found
    if external_id:
        found = look(engine, external_id)
        # The Engine also accepts a prefix or a name; cattle means exactly this id (A 2.8).
        if found is not None and found.id == external_id:
            return found
    return None


def look(engine: Engine, reference: str, listed: Mapping[str, Any] | None = None) -> Found | None:
    """Return the container with this id, or exactly this name; None when there is none.

    `listed` is its entry of a list, where the caller has one.
    """
    try:
        found = inspect(engine, reference)
    except ContainerUnreadableError as problem:
        entry = listed or _listed(engine, reference)
        if entry is None:
            raise
        return Found(listing=entry, problem=problem)
    return Found(inspect=found) if found is not None else None


def _listed(engine: Engine, reference: str) -> Mapping[str, Any] | None:
    for one in list_all(engine, timeout_s=engine.read_timeout_s):
        if reference == one["Id"] or f"/{reference}" in (one.get("Names") or ()):
            return one
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
                refusal=inspect_refusal,
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
            refusal=create_refusal(name),
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
            refusal=start_refusal(container_id),
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
            refusal=stop_refusal,
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
                refusal=kill_refusal,
            )
        )
    except EngineBusyError as error:
        _log.info("container.not-running", container_id=container_id[:12], reason=error.message)


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


def is_going(container: Inspect) -> bool:
    """Return whether the Engine is removing it, or has failed to."""
    state = container.get("State") or {}
    return state.get("Status") in {"removing", "dead"} or bool(state.get("Dead"))


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
