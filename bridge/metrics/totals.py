"""Totals of what the lanes of all workers count since they started.

A lane begins with 0 when it starts, and its counts vanish with it. A sum over the lanes that live
would fall then, and Prometheus would take that for a restart and count everything again. So each
look adds only what came since the last one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from bridge.metrics.labels import cumulative
from cowpoke.figures import BUCKETS_S, CALL_GROUPS, Durations, LaneFigures
from cowpoke.overview.views import Overview

#: Longer than a worker is away over an outage of Redis.
GONE_AFTER_S = 900.0

_Lane = tuple[str, str, str, int]


@dataclass(slots=True)
class _Calls:
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    seconds: float = 0.0
    errors: int = 0

    def add(self, now: Durations, before: Durations) -> None:
        """Add the calls between two looks; a count that went back adds nothing."""
        for at, (new, old) in enumerate(zip(now.buckets, before.buckets, strict=True)):
            self.buckets[at] += max(new - old, 0)
        self.seconds += max(now.seconds - before.seconds, 0.0)
        self.errors += max(now.errors - before.errors, 0)


class WorkerTotals:
    """Calls to the Engines and pulls of all workers, since this bridge first looked."""

    def __init__(self) -> None:
        #: What was read last of each lane, and when.
        self._last: dict[_Lane, tuple[LaneFigures, float]] = {}
        self._has_looked = False
        self._calls = {group: _Calls() for group in CALL_GROUPS}
        self._pulls = 0
        self._pull_errors = 0
        self._pull_bytes = 0

    def look(self, overview: Overview) -> None:
        """Add what the lanes did since the last look. Looks must not run side by side."""
        now_s = monotonic()
        for lane, figures in _lanes(overview):
            before, _ = self._last.get(lane, (LaneFigures(lane=figures.lane), 0.0))
            # What was counted before the first look is nobody's increase.
            if self._has_looked:
                self._add(figures, before)
            self._last[lane] = (figures, now_s)
        self._has_looked = True
        # A lane that is missing for a moment must not count from its start when it comes again.
        gone = [lane for lane, (_, at_s) in self._last.items() if now_s - at_s > GONE_AFTER_S]
        for lane in gone:
            del self._last[lane]

    def _add(self, now: LaneFigures, before: LaneFigures) -> None:
        for group, durations in now.calls.items():
            self._calls[group].add(durations, before.calls.get(group) or Durations())
        self._pulls += max(now.pulls.count - before.pulls.count, 0)
        self._pull_errors += max(now.pulls.errors - before.pulls.errors, 0)
        self._pull_bytes += max(now.pulls.bytes - before.pulls.bytes, 0)

    def collect(self) -> Iterator[Metric]:
        """Return the families."""
        calls = HistogramMetricFamily(
            "cowpoke_engine_call_duration_seconds",
            "Calls of all workers to their Engines, by kind; the same at each bridge",
            labels=["call"],
        )
        errors = CounterMetricFamily(
            "cowpoke_engine_call_errors", "Those of them that failed", labels=["call"]
        )
        for group, found in self._calls.items():
            calls.add_metric([group], cumulative(found.buckets, BUCKETS_S), found.seconds)
            errors.add_metric([group], found.errors)
        yield from (calls, errors)
        pulls = CounterMetricFamily(
            "cowpoke_pulls", "Pulls of images by all workers", labels=["result"]
        )
        pulls.add_metric(["error"], self._pull_errors)
        pulls.add_metric(["success"], max(self._pulls - self._pull_errors, 0))
        yield pulls
        size = CounterMetricFamily(
            "cowpoke_pull_bytes", "Bytes of layers that pulls downloaded", labels=[]
        )
        size.add_metric([], self._pull_bytes)
        yield size


def _lanes(overview: Overview) -> Iterator[tuple[_Lane, LaneFigures]]:
    for host in overview.hosts:
        for worker in host.workers:
            for name, figures in worker.figures.items():
                lane = (host.host_uuid, worker.worker_id, name, figures.started_ms)
                yield lane, figures
