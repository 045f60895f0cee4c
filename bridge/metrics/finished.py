"""Counts the events that are over, by name, end and stage; an observer of `bridge.finished`."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from bridge.metrics.labels import Bounded, cumulative
from cowpoke.history import Ending, FinishedEvent
from cowpoke.routes import LANES

#: Upper limits in seconds. cattle gives a ping 5 s, most events 15 min.
BUCKETS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
#: A host makes up its codes, so that only so many have a series of their own.
MOST_CODES = 60
#: Steps that mean that an event began anew; each is the label that counts it.
_AGAIN = frozenset({"retry", "requeue", "reject", "resend", "died"})


class _Histogram:
    """Durations of one event name and stage."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.sum_s += seconds


class FinishedCounts:
    """What became of events, counted. Used in the event loop; read by the threads of scrapes."""

    def __init__(self) -> None:
        #: From 0 on: of a series that begins with 1, Prometheus never sees the increase.
        self._ends = Counter({(name, end): 0 for name in LANES for end in map(str, Ending)})
        self._errors: Counter[tuple[str, str]] = Counter()
        self._again: Counter[tuple[str, str]] = Counter()
        self._durations: dict[tuple[str, str], _Histogram] = {}
        self._names = Bounded(len(LANES), known=LANES)
        self._codes = Bounded(MOST_CODES)

    def observe(self, event: FinishedEvent) -> None:
        """Count one event that is over."""
        name = self._names.label(event.name)
        self._ends[name, str(event.outcome)] += 1
        if event.code:
            self._errors[name, self._codes.label(event.code)] += 1
        for step in event.unusual:
            if step.step in _AGAIN:
                self._again[name, step.step] += 1
        spans = (
            ("queue", event.queue_ms, bool(event.received_ms)),
            ("run", event.run_ms, bool(event.first_claimed_ms)),
            ("publish", event.publish_ms, bool(event.published_ms)),
        )
        for stage, span_ms, is_known in spans:
            if is_known:
                self._durations.setdefault((name, stage), _Histogram()).add(span_ms / 1000)

    def collect(self) -> Iterator[Metric]:
        """Return the families."""
        ends = CounterMetricFamily(
            "cowpoke_finished_events",
            "Events that are over by their end; refused: cattle did not take the reply",
            labels=["event", "outcome"],
        )
        for pair, number in sorted(dict(self._ends).items()):
            ends.add_metric(pair, number)
        yield ends
        errors = CounterMetricFamily(
            "cowpoke_event_errors",
            "Those of them that did not end well, by the code of the error",
            labels=["event", "code"],
        )
        for pair, number in sorted(dict(self._errors).items()):
            errors.add_metric(pair, number)
        yield errors
        again = CounterMetricFamily(
            "cowpoke_event_restarts",
            "Times that an event began anew: retry after a temporary error, requeue by a process "
            "that stopped, reject, resend after a loss, died with its process",
            labels=["event", "reason"],
        )
        for pair, number in sorted(dict(self._again).items()):
            again.add_metric(pair, number)
        yield again
        durations = HistogramMetricFamily(
            "cowpoke_event_duration_seconds",
            "Time of events that are over: queue until the first claim, run until the outcome, "
            "publish until cattle took it",
            labels=["event", "stage"],
        )
        for pair, found in sorted(dict(self._durations).items()):
            durations.add_metric(pair, cumulative(found.counts, BUCKETS_S), found.sum_s)
        yield durations
