"""The Engine's event stream: what happens to containers, as it happens.

An event is read by `Type`, `Action` and `Actor`. The older keys beside them are not read: Engines
leave them out from API 1.52 on.
"""

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from worker.container import mapping, member
from worker.engine.client import Call, Engine

NS = 1_000_000_000
#: A stream that is silent for so long is opened again: its connection may be dead. The Engine gives
#: what happened meanwhile.
SILENCE_S = 20.0
#: The labels of a container are in each of its events.
MOST_LINE_BYTES = 1024 * 1024
#: A smaller difference is the resolution of the Engine's `Date`, or a slow answer.
_SAME_CLOCK_S = 3.0
_IMAGE_CHARS = 1_000
_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineEvent:
    """One event about a container."""

    #: As the Engine wrote it. It may have a suffix (`health_status: healthy`).
    action: str
    container_id: str
    #: The name of the image; empty when the event has none.
    image: str
    #: By the Engine's clock, in ns since 1970.
    time_ns: int

    @property
    def key(self) -> str:
        """Return what tells this event from all others."""
        return f"{self.time_ns} {self.container_id[:12]} {self.action}"


class EventStream:
    """The events of an open stream, in the Engine's order."""

    def __init__(self, response: requests.Response, actions: frozenset[str]) -> None:
        self._response = response
        self._actions = actions
        #: What to add to this machine's clock to have the Engine's; 0 on the same machine.
        self.engine_offset_s = _offset_s(response.headers.get("Date"))

    def __iter__(self) -> Iterator[EngineEvent]:
        """Yield the events with one of the wanted actions; other lines are skipped."""
        for line in _lines(self._response):
            event = _event(line)
            if event is not None and event.action in self._actions:
                yield event


@contextmanager
def container_events(
    engine: Engine, actions: Sequence[str], *, since_ns: int
) -> Iterator[EventStream]:
    """Follow the events about containers from `since_ns` on, by the Engine's clock.

    The Engine keeps its last 256 events, of whatever kind.
    Errors: EngineUnavailableError, also when the stream ends badly or is silent for `SILENCE_S`;
    EngineError when the Engine refuses.
    """
    call = Call(
        "GET",
        "/events",
        kind="events",
        wanted="follow the events of the Engine",
        params={
            "since": f"{since_ns // NS}.{since_ns % NS:09d}",
            "filters": json.dumps({"type": ["container"], "event": list(actions)}),
        },
        timeout_s=SILENCE_S,
    )
    with engine.stream(call) as response:
        yield EventStream(response, frozenset(actions))


def _lines(response: requests.Response) -> Iterator[bytes]:
    """Yield the lines of an answer as they arrive; one that is too long is skipped."""
    rest, is_skipping = b"", False
    for chunk in response.iter_content(chunk_size=None):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if not is_skipping:
                yield line
            is_skipping = False
        if len(rest) > MOST_LINE_BYTES:
            rest, is_skipping = b"", True
    if not is_skipping:
        yield rest


def _event(line: bytes) -> EngineEvent | None:
    """Return the event of a line; None when it is about no container, or is no event at all."""
    try:
        said: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    said = mapping(said)
    actor = member(said, "Actor")
    container_id, action, time_ns = actor.get("ID"), said.get("Action"), _time_ns(said)
    if said.get("Type") != "container" or not isinstance(action, str) or time_ns is None:
        return None
    if not isinstance(container_id, str) or not _CONTAINER_ID.fullmatch(container_id):
        return None
    image = member(actor, "Attributes").get("image")
    return EngineEvent(
        action=action,
        container_id=container_id,
        image=image[:_IMAGE_CHARS] if isinstance(image, str) else "",
        time_ns=time_ns,
    )


def _time_ns(said: Any) -> int | None:  # noqa: ANN401 - the Engine's JSON
    for name, unit_ns in (("timeNano", 1), ("time", NS)):
        found = said.get(name)
        if isinstance(found, int) and not isinstance(found, bool) and 0 < found * unit_ns < 2**63:
            return found * unit_ns
    return None


def _offset_s(date: str | None) -> float:
    """Return how far the Engine's clock is ahead of this machine's."""
    try:
        ahead_s = parsedate_to_datetime(date or "").timestamp() - time.time()
    except (ValueError, OverflowError, TypeError):
        return 0.0
    return 0.0 if abs(ahead_s) < _SAME_CLOCK_S else ahead_s
