"""Prometheus metrics of the bridge, from its counters and from Redis.

Celery's own figures (tasks by name and end, run times) are Flower's, at its `/metrics`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

import redis
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bridge.agents.registry import Agents
from bridge.hosts.presence import Presence
from bridge.inbound.standing import Standing
from cowpoke import keys
from cowpoke.log import logger
from cowpoke.seal import ClusterKeyring

_log = logger(__name__)

#: One call for all hosts. A host may have put something else into its key: it has no count then.
_OPEN_EVENTS = """
local found = {}
for _, host in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local count = redis.pcall('ZCARD', KEYS[2] .. host)
  if type(count) == 'number' then
    found[#found + 1] = host
    found[#found + 1] = count
  end
end
return found
"""


class BridgeCollector(Collector):
    """The figures, made at each scrape."""

    def __init__(  # noqa: PLR0913 -- wired in one place
        self,
        client: "redis.Redis",
        *,
        intake: Mapping[str, int],
        outbox: Mapping[str, int],
        swept: Mapping[str, int],
        container_events: Mapping[str, int],
        container_events_refused: Mapping[str, int],
        agents: Agents,
        unused: Mapping[str, str],
        standing: Standing,
        presence: Presence,
        keyring: ClusterKeyring,
    ) -> None:
        self._redis = client
        self._agents_known = agents
        self._unused = unused
        self._standing = standing
        self._presence = presence
        self._keyring = keyring
        self._open_events = client.register_script(_OPEN_EVENTS)
        self._counts = (
            ("events", "Events and frames by what became of them here", "result", intake),
            ("replies", "Replies to cattle by what became of them", "result", outbox),
            ("swept", "Lost events by recovery step", "step", swept),
            (
                "container_events",
                "Reports of containers by what became of them; coalesced: left out by the worker",
                "result",
                container_events,
            ),
            (
                "container_events_refused",
                "Answers of cattle that refused such a report, or put it off, by HTTP status",
                "status",
                container_events_refused,
            ),
        )

    def collect(self) -> Iterator[Metric]:
        """Counters of this bridge, then what Redis knows of all; without Redis only the first."""
        for name, text, label, counts in self._counts:
            counter = CounterMetricFamily(f"cowpoke_{name}", text, labels=[label])
            for value, count in dict(counts).items():
                counter.add_metric([str(value)], count)
            yield counter
        yield from self._agents()
        yield from self._workers()
        yield self._keys()
        up = GaugeMetricFamily("cowpoke_redis_up", "Whether Redis answered this scrape")
        try:
            known = list(self._known())
        except redis.RedisError as problem:
            _log.warning("metrics.incomplete", reason=str(problem))
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from known

    def _agents(self) -> Iterator[Metric]:
        websockets = GaugeMetricFamily(
            "cowpoke_websockets_open", "Whether an agent's websocket is open", labels=["agent"]
        )
        waiting = GaugeMetricFamily(
            "cowpoke_agent_waiting",
            "1 for what an agent without a websocket waits for",
            labels=["agent", "reason"],
        )
        count = GaugeMetricFamily(
            "cowpoke_agents", "Agents by where they come from", labels=["source"]
        )
        count.add_metric(["settings"], len(self._agents_known.configured))
        count.add_metric(["joined"], self._agents_known.joined_count)
        unused = GaugeMetricFamily(
            "cowpoke_joined_hosts_unused",
            "1 for a host that joined and whose keys this bridge does not use",
            labels=["host", "reason"],
        )
        for host_uuid, reason in sorted(dict(self._unused).items()):
            unused.add_metric([host_uuid, reason], 1)
        # Two hosts may say that they have keys of one name: a sample must not come twice.
        opened = {one.label: is_open for one, is_open in self._standing.open_websockets().items()}
        for label, is_open in opened.items():
            websockets.add_metric([label], is_open)
        waits = {(one.label, wait) for one, wait in self._standing.waits().items()}
        for label, wait in sorted(waits):
            waiting.add_metric([label, wait], 1)
        yield from (websockets, waiting, count, unused)

    def _workers(self) -> Iterator[Metric]:
        processes = GaugeMetricFamily(
            "cowpoke_worker_processes", "Live worker processes of a host", labels=["host", "lane"]
        )
        orphans = GaugeMetricFamily(
            "cowpoke_orphan_volumes",
            "Volumes whose removal failed because they were in use",
            labels=["host"],
        )
        unreadable = GaugeMetricFamily(
            "cowpoke_unreadable_workers",
            "Workers of a host whose lease was not sealed with a key of this bridge",
            labels=["host"],
        )
        for host_uuid, found in self._presence.by_host():
            leases = found.leases.values()
            lanes = Counter(process.lane for lease in leases for process in lease.lanes)
            for lane in sorted(lanes):
                processes.add_metric([host_uuid, lane], lanes[lane])
            # All workers of a host share its state folder, so each says the same.
            most = max((lease.orphan_volumes for lease in leases), default=0)
            orphans.add_metric([host_uuid], most)
            unreadable.add_metric([host_uuid], len(found.unreadable))
        yield from (processes, orphans, unreadable)

    def _keys(self) -> Metric:
        """The keys that this bridge has, and the ones that workers say they have."""
        held = GaugeMetricFamily(
            "cowpoke_keys",
            "Programs that have a key, by its fingerprint; position 1 seals, the others only open",
            labels=["holder", "host", "position", "fingerprint"],
        )
        for position, name in enumerate(self._keyring.fingerprints, start=1):
            held.add_metric(["bridge", "", str(position), name], 1)
        for host_uuid, found in self._presence.by_host():
            # Beside those of its workers, to be compared with them.
            for position, name in enumerate(self._keyring.host(host_uuid).fingerprints, start=1):
                held.add_metric(["bridge", host_uuid, str(position), name], 1)
            counts = Counter(
                (position, name)
                for lease in found.leases.values()
                for position, name in enumerate(lease.fingerprints, start=1)
            )
            for (position, name), count in sorted(counts.items()):
                held.add_metric(["worker", host_uuid, str(position), name], count)
        return held

    def _known(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "cowpoke_outcomes_waiting", "Outcomes that cattle has not accepted yet"
        )
        waiting.add_metric([], sum(map(self._redis.xlen, keys.OUTCOME_STREAMS)))
        yield waiting
        open_events = GaugeMetricFamily(
            "cowpoke_open_events", "Events of a host without an answer", labels=["host"]
        )
        found = self._open_events(keys=[keys.HOSTS, keys.open_events("")])
        for host_uuid, count in zip(found[::2], found[1::2], strict=True):
            open_events.add_metric([str(host_uuid)], int(count))
        yield open_events
        dead = GaugeMetricFamily(
            "cowpoke_dead_letters", "Outcomes that no bridge could read, kept for people"
        )
        dead.add_metric([], int(self._redis.llen(keys.BRIDGE_DEAD_LETTERS)))
        yield dead
