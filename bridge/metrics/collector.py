"""All metrics of a bridge, made at each scrape from its counters and from one reading of Redis."""

import asyncio
import threading
import time
from collections.abc import Iterator

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bridge.metrics.finished import FinishedCounts
from bridge.metrics.own import OwnMetrics
from bridge.metrics.shared import problem_counts, shared_metrics
from bridge.metrics.totals import WorkerTotals
from bridge.web.readiness import Health, Readiness
from bridge.web.watched import Seen, Watched
from cowpoke.log import logger

_log = logger(__name__)


class Metrics:
    """Answers scrapes."""

    def __init__(
        self,
        own: OwnMetrics,
        finished: FinishedCounts,
        *,
        watched: Watched,
        readiness: Readiness,
        most_hosts: int,
    ) -> None:
        """Take the parts; with more than `most_hosts` hosts none has series of its own."""
        self._own = own
        self._finished = finished
        self._watched = watched
        self._readiness = readiness
        self._most_hosts = most_hosts
        self._totals = WorkerTotals()
        #: Two scrapes at once must not both add the same increase.
        self._looking = threading.Lock()

    def routes(self) -> list[web.RouteDef]:
        """`/metrics`."""
        return [web.get("/metrics", self._scrape)]

    async def _scrape(self, _: web.Request) -> web.Response:
        seen, health = await asyncio.gather(self._watched.latest(), self._readiness.health())
        # In a thread: with many hosts it takes a while.
        body = await asyncio.to_thread(self.text, seen, health)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    def text(self, seen: Seen, health: Health) -> bytes:
        """Return the answer to a scrape."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Found(list(self.families(seen, health))))
        return generate_latest(registry)

    def families(self, seen: Seen, health: Health) -> Iterator[Metric]:
        """Return everything; of Redis only what was read just now."""
        trouble = health.redis_trouble or seen.trouble
        overview = None if trouble else seen.overview
        hosts = len(seen.overview.hosts) if seen.overview is not None else 0
        per_host = self._most_hosts > 0 and hosts <= self._most_hosts
        yield from _health(health)
        yield from self._own.collect(per_host=per_host)
        yield from self._finished.collect()
        up = GaugeMetricFamily("cowpoke_redis_up", "Whether Redis answered this scrape")
        up.add_metric([], health.redis_trouble is None)
        yield up
        with self._looking:
            if overview is not None:
                self._totals.look(overview)
            yield from self._totals.collect()
        if overview is None:
            if trouble is not None:
                _log.warning("metrics.incomplete", reason=trouble.message)
                yield problem_counts([trouble])
            return
        age = GaugeMetricFamily(
            "cowpoke_overview_age_seconds",
            "How old the figures from Redis are; with many hosts it is read less often",
        )
        age.add_metric([], max(time.time() - seen.at_ms / 1000, 0.0))
        yield age
        yield from shared_metrics(overview, per_host=per_host)


def _health(health: Health) -> Iterator[Metric]:
    ready = GaugeMetricFamily("cowpoke_ready", "Whether this bridge is ready, as at `/readyz`")
    ready.add_metric([], health.ready)
    unready = GaugeMetricFamily(
        "cowpoke_unready_reason", "1 for each reason why it is not", labels=["reason"]
    )
    for code in sorted({one.code for one in health.reasons}):
        unready.add_metric([code], 1)
    yield from (ready, unready)


class _Found(Collector):
    """Families that were made already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)
