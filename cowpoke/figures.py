"""Figures of a worker: whether its Engine answers, and what its lanes count since they started.

Each lane writes one field of the hash `cowpoke:figures:<host uuid>:<worker id>`, sealed with the
key of the host. All counts begin with 0 when the process of the lane starts.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cowpoke.lengths import bounded_int
from cowpoke.seal import SealBrokenError, Sealer
from cowpoke.version import CONTRACT_VERSION

#: Upper limits of the buckets of a duration, in seconds; the last bucket has no limit.
BUCKETS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0, 300.0)
#: The groups of calls to the Engine.
CALL_GROUPS = ("create", "start", "stop", "remove", "inspect", "list", "pull", "other")
_TEXT_CHARS = 200
#: More is nothing of ours.
MOST_CHARS = 16 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Durations:
    """Calls of one group."""

    count: int = 0
    errors: int = 0
    seconds: float = 0.0
    #: Calls by duration; as many as `BUCKETS_S` and one more, not cumulative.
    buckets: tuple[int, ...] = (0,) * (len(BUCKETS_S) + 1)

    def plus(self, seconds: float, *, is_error: bool) -> "Durations":
        """Return the same with one more call."""
        at = bisect_left(BUCKETS_S, seconds)
        return Durations(
            count=self.count + 1,
            errors=self.errors + is_error,
            seconds=self.seconds + seconds,
            buckets=tuple(n + (i == at) for i, n in enumerate(self.buckets)),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PullFigures:
    """Pulls of images that this process did itself."""

    count: int = 0
    errors: int = 0
    #: Bytes of layers that were downloaded, also by pulls that failed.
    bytes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineState:
    """The Docker Engine of a host, as the lane that watches it last saw it."""

    reachable: bool
    #: Since when; by the clock of the host.
    since_ms: int = 0
    version: str = ""
    #: The API version that the worker uses.
    api_version: str = ""
    #: Why it is not reachable, without secrets; empty when it is.
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneFigures:
    """What one lane of a worker counts."""

    lane: str
    started_ms: int = 0
    #: None for lanes that do not watch the Engine.
    engine: EngineState | None = None
    #: By group; groups without a call are left out.
    calls: Mapping[str, Durations] = field(default_factory=dict)
    pulls: PullFigures = field(default_factory=PullFigures)


def sealed_figures(sealer: Sealer, figures: LaneFigures, *, host_uuid: str, worker_id: str) -> str:
    """Return the figures as the field of the hash contains them."""
    engine = figures.engine
    content: dict[str, Any] = {
        "v": CONTRACT_VERSION,
        "host": host_uuid,
        "worker": worker_id,
        "lane": figures.lane,
        "started_ms": figures.started_ms,
        "calls": {
            group: [one.count, one.errors, round(one.seconds, 3), list(one.buckets)]
            for group, one in figures.calls.items()
        },
        "pulls": [figures.pulls.count, figures.pulls.errors, figures.pulls.bytes],
    }
    if engine is not None:
        content["engine"] = {
            "reachable": engine.reachable,
            "since_ms": engine.since_ms,
            "version": engine.version[:_TEXT_CHARS],
            "api": engine.api_version[:_TEXT_CHARS],
            "reason": engine.reason[:_TEXT_CHARS],
        }
    return sealer.seal(content)


def opened_figures(
    sealer: Sealer, text: str, *, host_uuid: str, worker_id: str, lane: str
) -> LaneFigures:
    """Return the figures in a field of the hash; keys of later versions are skipped.

    Errors: SealBrokenError when no program with a key of the host wrote them for this place.
    """
    if len(text) > MOST_CHARS:
        raise SealBrokenError(f"the figures have {len(text)} characters")
    content = sealer.open(text)
    try:
        if (content["host"], content["worker"], content["lane"]) != (host_uuid, worker_id, lane):
            raise SealBrokenError("the figures belong to another worker or lane")
        return LaneFigures(
            lane=lane,
            started_ms=bounded_int(content.get("started_ms")),
            engine=_engine(content.get("engine")),
            calls={
                group: _durations(row)
                for group, row in (content.get("calls") or {}).items()
                # Groups of a later version would be labels that nobody expects.
                if group in CALL_GROUPS
            },
            pulls=_pulls(content.get("pulls") or [0, 0, 0]),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise SealBrokenError("not valid figures of a worker") from None


def _engine(content: Any) -> EngineState | None:  # noqa: ANN401 -- JSON
    if content is None:
        return None
    return EngineState(
        reachable=bool(content["reachable"]),
        since_ms=bounded_int(content.get("since_ms")),
        version=_text(content.get("version")),
        api_version=_text(content.get("api")),
        reason=_text(content.get("reason")),
    )


def _durations(row: Any) -> Durations:  # noqa: ANN401 -- JSON
    count, errors, seconds, buckets = row
    if not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds < 0:
        raise ValueError("wanted a duration in seconds")
    if len(buckets) != len(BUCKETS_S) + 1:
        # Another release has other limits; the sums are still good.
        buckets = [0] * len(BUCKETS_S) + [count]
    return Durations(
        count=_count(count),
        errors=_count(errors),
        seconds=float(seconds),
        buckets=tuple(map(_count, buckets)),
    )


def _pulls(row: Any) -> PullFigures:  # noqa: ANN401 -- JSON
    count, errors, size = row[:3]
    return PullFigures(count=_count(count), errors=_count(errors), bytes=_count(size))


def _count(value: object) -> int:
    found = bounded_int(value)
    if found < 0:
        raise ValueError("a count is not negative")
    return found


def _text(value: object) -> str:
    text = "" if value is None else str(value)
    if len(text) > _TEXT_CHARS:
        raise ValueError("wanted a short text")
    return text
