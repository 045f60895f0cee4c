"""The meaning of the Engine's refusals: by status and, where needed, by message.

Messages are in lower case. Engine versions send the same message with different statuses.
"""

import re

from worker.engine.errors import Refusal
from worker.errors import (
    ContainerMissingError,
    ContainerStrandedError,
    ContainerUnreadableError,
    EngineBusyError,
    EngineError,
    NameConflictError,
    RemovalUnderWayError,
)

#: Messages about a container during whose start dockerd was killed: containerd still has its task,
#: its container or the folder of its shim.
_STRANDED = re.compile(r"task .*already exists|id already in use|shim.*file exists")
_NAME_TAKEN = re.compile(r'\b(?:container|the) name\b(?: "/?(?P<name>[^"]*)")?.*\bin use\b')
_REMOVAL = re.compile(r"marked for removal|removal .*in progress|being removed|container is dead")
_NO_CONTAINER = "no such container"
_ID = re.compile(r"\b[0-9a-f]{12,64}\b")


def inspect_refusal(status: int, _words: str) -> type[EngineError] | None:
    """Distinguish a missing container from one whose data on disk are damaged."""
    return {404: ContainerMissingError, 500: ContainerUnreadableError}.get(status)


def create_refusal(name: str) -> Refusal:
    """Return the meaning of refused creates of a container with this name."""

    def meaning(status: int, words: str) -> type[EngineError] | None:
        taken = _NAME_TAKEN.search(words)
        is_about_volume = "volume" in words.replace(name.lower(), "")
        if taken is not None and taken["name"] in {None, name.lower()} and not is_about_volume:
            return NameConflictError
        if status == 404 and _NO_CONTAINER in words:  # noqa: PLR2004 - HTTP's own number
            return ContainerMissingError
        # The Engine answers 500 for a bad runtime or a broken driver, which is no outage.
        return EngineError if status == 500 else None  # noqa: PLR2004

    return meaning


def start_refusal(container_id: str) -> Refusal:
    """Return the meaning of refused starts of this container.

    The message may be about another container, whose network or processes this one shares.
    """

    def meaning(status: int, words: str) -> type[EngineError] | None:
        if _REMOVAL.search(words) and _may_be_about(container_id, words):
            return RemovalUnderWayError
        if _NO_CONTAINER in words:
            return ContainerMissingError if container_id[:12] in words else EngineError
        if _STRANDED.search(words):
            return ContainerStrandedError
        # The Engine answers 500 for a used port and a missing program; a retry does not help.
        return EngineError if status == 500 else None  # noqa: PLR2004 - HTTP's own number

    return meaning


def stop_refusal(status: int, _words: str) -> type[EngineError] | None:
    """Distinguish a missing container from a process that did not end and can still be killed."""
    return {404: ContainerMissingError, 500: EngineError}.get(status)


def kill_refusal(status: int, _words: str) -> type[EngineError] | None:
    """Distinguish a missing container from one that does not run."""
    return {404: ContainerMissingError, 409: EngineBusyError}.get(status)


def remove_refusal(status: int, words: str) -> type[EngineError] | None:
    """Distinguish a missing container from one whose removal is in progress."""
    if status == 404:  # noqa: PLR2004 - HTTP's own number
        return ContainerMissingError
    return RemovalUnderWayError if _REMOVAL.search(words) else None


def _may_be_about(container_id: str, words: str) -> bool:
    """Return whether the message names this container, or no container."""
    named = _ID.findall(words)
    return not named or any(container_id.startswith(one) for one in named)
