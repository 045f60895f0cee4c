"""The figures of one run: plain values, ready for a table and for JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CALLS_MOST = 5
RATIO_MOST = 1.15
PING_MOST_MS = 10.0


@dataclass(frozen=True, slots=True)
class Spread:
    """The distribution of a duration."""

    times: int
    p50_ms: float
    p95_ms: float

    @classmethod
    def of(cls, values_ms: Sequence[float]) -> Spread:
        """Return the distribution of durations."""
        return cls(len(values_ms), percentile(values_ms, 0.5), percentile(values_ms, 0.95))


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """The system compared with the floor."""

    others: int
    #: How many were asked for at once.
    at_once: int
    floor: Spread
    system: Spread
    #: The middle one of the ratios system / floor of neighbours in time.
    ratio: float
    #: Of a whole burst, its middle; 0 where they went one by one.
    floor_all_ms: float = 0.0
    system_all_ms: float = 0.0
    #: Where the system's time went, by stage; means.
    stages_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pings:
    """Round trips of plain pings, from cattle's send to cattle's receipt."""

    round_trip: Spread
    stages_ms: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Footprint:
    """One process at rest, after the work."""

    process: str
    rss_bytes: int
    pss_bytes: int
    cpu_percent: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """All figures of one run."""

    machine: Mapping[str, Any]
    activates: Sequence[Compared]
    pings: Pings
    #: Calls at the Engine's socket: others on the host -> operation -> kind of call -> times.
    calls: Mapping[int, Mapping[str, Mapping[str, int]]]
    footprints: Sequence[Footprint]
    idle_s: float

    def targets(self) -> list[tuple[str, str, bool]]:
        """Return target, result and whether the target is met."""
        most_calls = max(sum(found["activate"].values()) for found in self.calls.values())
        targets = [
            (
                f"at most {CALLS_MOST} Docker calls per activate",
                f"{most_calls} with up to {max(self.calls)} other containers",
                most_calls <= CALLS_MOST,
            )
        ]
        for is_burst, how in ((False, "one by one"), (True, "at once")):
            ratios = [one.ratio for one in self.activates if (one.at_once > 1) is is_burst]
            worst = max(ratios)
            shown = f"{', '.join(f'{ratio:.2f}' for ratio in ratios)} of the floor"
            targets.append((f"activate within {RATIO_MOST}, {how}", shown, worst <= RATIO_MOST))
        p50_ms = self.pings.round_trip.p50_ms
        shown = f"{p50_ms:.1f} ms"
        targets.append((f"plain ping under {PING_MOST_MS:g} ms", shown, p50_ms < PING_MOST_MS))
        return targets


def percentile(values: Sequence[float], fraction: float) -> float:
    """Return the percentile at `fraction`, with linear interpolation."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * fraction
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median_ratio(system_ms: Sequence[float], floor_ms: Sequence[float]) -> float:
    """Return the median ratio of neighboring pairs: other load slows both of a pair."""
    return statistics.median(s / f for s, f in zip(system_ms, floor_ms, strict=True))
