"""Counters of the simulated server since its start."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

LATENCIES_KEPT = 50_000


@dataclass(slots=True)
class Stats:
    """Counters; `snapshot` is what GET /simulator/stats shows."""

    connects: int = 0
    refused_subscribes: int = 0
    heartbeats_sent: int = 0
    frames_sent: int = 0
    frames_lost_no_socket: int = 0
    frames_lost_limit: int = 0
    frames_lost_hang: int = 0
    publishes: Counter[int] = field(default_factory=Counter)
    publishes_cut: int = 0
    calls: int = 0
    finals: int = 0
    progress: int = 0
    progress_after_final: int = 0
    duplicates_same_id: int = 0
    duplicates_other_id: int = 0
    late: int = 0
    timeouts: int = 0
    unmatched: int = 0
    pings_sent: int = 0
    pings_answered: int = 0
    pings_missed: int = 0
    pings_duplicated: int = 0
    ping_latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))

    def snapshot(self) -> dict[str, Any]:
        """Return all counters as JSON, with duplicates and pings in groups."""
        return {
            "connects": self.connects,
            "refused_subscribes": self.refused_subscribes,
            "heartbeats_sent": self.heartbeats_sent,
            "frames_sent": self.frames_sent,
            "frames_lost_no_socket": self.frames_lost_no_socket,
            "frames_lost_limit": self.frames_lost_limit,
            "frames_lost_hang": self.frames_lost_hang,
            "publishes": {str(status): count for status, count in sorted(self.publishes.items())},
            "publishes_cut": self.publishes_cut,
            "calls": self.calls,
            "finals": self.finals,
            "timeouts": self.timeouts,
            "progress": self.progress,
            "progress_after_final": self.progress_after_final,
            "duplicates": self.duplicates_same_id + self.duplicates_other_id,
            "duplicates_same_id": self.duplicates_same_id,
            "duplicates_other_id": self.duplicates_other_id,
            "late": self.late,
            "unmatched": self.unmatched,
            "pings": self._pings(),
        }

    def _pings(self) -> dict[str, Any]:
        ordered = sorted(self.ping_latencies_ms)
        return {
            "sent": self.pings_sent,
            "answered": self.pings_answered,
            "missed": self.pings_missed,
            "duplicated": self.pings_duplicated,
            "p50_ms": _percentile(ordered, 50),
            "p99_ms": _percentile(ordered, 99),
            "max_ms": ordered[-1] if ordered else None,
        }


def _percentile(ordered: list[float], percent: int) -> float | None:
    """Return a percentile of sorted values."""
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 3)
