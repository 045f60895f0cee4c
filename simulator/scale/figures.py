"""The figures of one run: plain values, ready for a table and for JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

BRIDGE_MOST_PERCENT = 5.0
NOTICED_MOST_S = 6.0
COMMANDS_MOST = 2.0
PING_MOST_BYTES = 1024
#: Four times the events cost 4 times as much, or 16 times if the cost were quadratic.
LINEAR_MOST = 8.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """CPU time of the parts at rest, as a share of one core; medians of several intervals."""

    situation: str
    bridge_percent: float
    redis_percent: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """One look at what is due: CPU time of the bridge's thread, and of Redis."""

    due: int
    #: Whether there was something to do about each: a message that was lost.
    lost: bool
    bridge_ms: float
    redis_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Failing:
    """The time to answer queued events with errors, by order of their deadlines."""

    events: int
    order: str
    bridge_ms: float
    redis_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """All figures of one run."""

    machine: Mapping[str, Any]
    hosts: int
    open_events: int
    interval_s: float
    shares: Sequence[Share]
    #: From the last renewal of a lease to the moment its event was sent again.
    noticed_s: Sequence[float]
    sweeps: Sequence[Sweep]
    failing: Sequence[Failing]
    #: What Redis keeps of an answered ping with a large list of containers.
    ping_bytes: int
    #: By command: calls a second of one worker with three lanes.
    commands: Mapping[str, float]
    rest_s: float
    #: Leases that expired because the machine was too busy to renew them.
    lost_leases: int

    def targets(self) -> list[tuple[str, str, bool]]:
        """Return target, result and whether the target is met."""
        bridge_percent = max(share.bridge_percent for share in self.shares)
        noticed_s = max(self.noticed_s)
        commands = sum(self.commands.values())
        growth = max(self._growth(order) for order in {one.order for one in self.failing})
        return [
            (
                f"at most {COMMANDS_MOST:g} Redis commands a second for a worker at rest",
                f"{commands:.2f}",
                commands <= COMMANDS_MOST,
            ),
            (
                f"bridge under {BRIDGE_MOST_PERCENT:g} % of a core at rest",
                f"{bridge_percent:.2f} % with {self.hosts:,} hosts",
                bridge_percent < BRIDGE_MOST_PERCENT,
            ),
            (
                f"dead host noticed within {NOTICED_MOST_S:g} s",
                f"{noticed_s:.1f} s at most",
                noticed_s <= NOTICED_MOST_S,
            ),
            (
                "errors for queued events in linear time",
                f"{growth:.1f} times the CPU time for 4 times the events",
                growth <= LINEAR_MOST,
            ),
            (
                f"at most {PING_MOST_BYTES:,} bytes kept of an answered ping",
                f"{self.ping_bytes:,} bytes",
                self.ping_bytes <= PING_MOST_BYTES,
            ),
        ]

    def _growth(self, order: str) -> float:
        costs = sorted(
            (one.events, one.bridge_ms + one.redis_ms) for one in self.failing if one.order == order
        )
        return costs[-1][1] / costs[0][1]


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process so far, without its children."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def median(values: Sequence[float]) -> float:
    """Return the middle one; other load on the machine makes single values useless."""
    return statistics.median(values)
