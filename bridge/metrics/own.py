"""What a bridge counts and knows by itself: it is shown while Redis is away, too."""

import platform
from collections import Counter
from collections.abc import Iterator, Mapping
from time import monotonic, time

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from bridge.agents.registry import Agents
from bridge.hosts.presence import Presence
from bridge.inbound.standing import Standing, Wait
from bridge.websockets import state_of
from cowpoke.bridge_lease import SILENT_AFTER_S, WebsocketState
from cowpoke.routes import Lane
from cowpoke.seal import ClusterKeyring
from cowpoke.version import CONTRACT_VERSION, VERSION

_HOST_UNKNOWN = frozenset({Wait.SEVERAL_HOSTS, Wait.OTHER_AGENTS_HOST})


class OwnMetrics:
    """The figures of one bridge."""

    def __init__(  # noqa: PLR0913 -- wired in one place
        self,
        counts: Mapping[str, Mapping[str, int]],
        *,
        agents: Agents,
        unused: Mapping[str, str],
        standing: Standing,
        presence: Presence,
        keyring: ClusterKeyring,
    ) -> None:
        """Take the parts of the bridge.

        Args:
            counts: What they count, by the names of `_COUNTS`.
            agents: Those of the settings and of joined hosts.
            unused: Hosts that joined and are not served, with the reason.
            standing: The websocket of each agent.
            presence: The live workers.
            keyring: The keys of this bridge.
        """
        self._counts = counts
        self._agents_known = agents
        self._unused = unused
        self._standing = standing
        self._presence = presence
        self._keyring = keyring
        self._started_s = time()

    def collect(self, *, per_host: bool) -> Iterator[Metric]:
        """Return the families; those with a series per host or agent only if wanted."""
        build = GaugeMetricFamily(
            "cowpoke_build_info", "Always 1", labels=["version", "contract", "python"]
        )
        build.add_metric([VERSION, str(CONTRACT_VERSION), platform.python_version()], 1)
        yield build
        started = GaugeMetricFamily(
            "cowpoke_start_time_seconds", "When this bridge started, as Unix time"
        )
        started.add_metric([], self._started_s)
        yield started
        for name, text, label in _COUNTS:
            counter = CounterMetricFamily(f"cowpoke_{name}", text, labels=[label])
            for value, number in dict(self._counts[name]).items():
                counter.add_metric([str(value)], number)
            yield counter
        yield from self._websockets()
        yield from self._lanes()
        yield self._keys(per_host=per_host)
        if per_host:
            yield from self._agents()
            yield from self._workers()

    def _websockets(self) -> Iterator[Metric]:
        """Sums over all agents, which alerts use."""
        agents = GaugeMetricFamily(
            "cowpoke_agents", "Agents by where they come from", labels=["source"]
        )
        agents.add_metric(["settings"], len(self._agents_known.configured))
        agents.add_metric(["joined"], self._agents_known.joined_count)
        yield agents
        states = Counter(dict.fromkeys(WebsocketState, 0))
        now_s, silent, longest_s, hostless = monotonic(), 0, 0.0, 0
        for agent in self._standing.open_websockets():
            wait = self._standing.wait_of(agent)
            states[state_of(wait)] += 1
            hostless += wait in _HOST_UNKNOWN
            silent_s = self._standing.silent_s(agent, now_s)
            if silent_s is not None:
                longest_s = max(longest_s, silent_s)
                silent += silent_s > SILENT_AFTER_S
        websockets = GaugeMetricFamily(
            "cowpoke_websockets",
            "Agents of this bridge by the state of the websocket",
            labels=["state"],
        )
        for name, number in states.items():
            websockets.add_metric([name], number)
        yield websockets
        yield _gauge(
            "cowpoke_agents_without_host",
            "Agents that cannot have a host: several could be theirs, or all are other agents'",
            hostless,
        )
        yield _gauge(
            "cowpoke_silent_websockets",
            f"Open websockets on which cattle has sent no ping for {SILENT_AFTER_S:g} s",
            silent,
        )
        yield _gauge(
            "cowpoke_last_ping_age_seconds_max",
            "The longest time without a ping from cattle on an open websocket",
            longest_s,
        )

    def _agents(self) -> Iterator[Metric]:
        websockets = GaugeMetricFamily(
            "cowpoke_websockets_open", "Whether an agent's websocket is open", labels=["agent"]
        )
        waiting = GaugeMetricFamily(
            "cowpoke_agent_waiting",
            "1 for what an agent without a websocket waits for",
            labels=["agent", "reason"],
        )
        pinged = GaugeMetricFamily(
            "cowpoke_last_ping_age_seconds",
            "Seconds since cattle last asked an agent something on its open websocket",
            labels=["agent"],
        )
        unused = GaugeMetricFamily(
            "cowpoke_joined_hosts_unused",
            "1 for a host that joined and whose keys this bridge does not use",
            labels=["host", "reason"],
        )
        for host_uuid, reason in sorted(dict(self._unused).items()):
            unused.add_metric([host_uuid, reason], 1)
        # Two hosts may say that they have keys of one name: a sample must not come twice.
        now_s = monotonic()
        opened: dict[str, bool] = {}
        silent: dict[str, float] = {}
        waits: set[tuple[str, Wait]] = set()
        for one, is_open in self._standing.open_websockets().items():
            opened[one.label] = is_open
            if (silent_s := self._standing.silent_s(one, now_s)) is not None:
                silent[one.label] = silent_s
            if (wait := self._standing.wait_of(one)) is not None:
                waits.add((one.label, wait))
        for label, is_open in opened.items():
            websockets.add_metric([label], is_open)
        for label, silent_s in silent.items():
            pinged.add_metric([label], silent_s)
        for label, wait in sorted(waits):
            waiting.add_metric([label, wait], 1)
        yield from (websockets, waiting, pinged, unused)

    def _lanes(self) -> Iterator[Metric]:
        lanes = GaugeMetricFamily(
            "cowpoke_lane_processes", "Live worker processes of all hosts", labels=["lane"]
        )
        counts: Counter[str] = Counter(dict.fromkeys(map(str, Lane), 0))
        for _, found in self._presence.by_host():
            for lease in found.leases.values():
                counts.update(str(process.lane) for process in lease.lanes)
        for lane, number in sorted(counts.items()):
            lanes.add_metric([lane], number)
        yield lanes

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

    def _keys(self, *, per_host: bool) -> Metric:
        """The keys that this bridge has, and the ones that workers say they have."""
        held = GaugeMetricFamily(
            "cowpoke_keys",
            "Programs that have a key, by its fingerprint; position 1 seals, the others only open",
            labels=["holder", "host", "position", "fingerprint"],
        )
        for position, name in enumerate(self._keyring.fingerprints, start=1):
            held.add_metric(["bridge", "", str(position), name], 1)
        for host_uuid, found in self._presence.by_host() if per_host else ():
            # Beside those of its workers, to be compared with them.
            for position, name in enumerate(self._keyring.host(host_uuid).fingerprints, start=1):
                held.add_metric(["bridge", host_uuid, str(position), name], 1)
            counts = Counter(
                (position, name)
                for lease in found.leases.values()
                for position, name in enumerate(lease.fingerprints, start=1)
            )
            for (position, name), number in sorted(counts.items()):
                held.add_metric(["worker", host_uuid, str(position), name], number)
        return held


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text)
    family.add_metric([], value)
    return family


_COUNTS = (
    ("events", "Events and frames by what became of them here", "result"),
    ("replies", "Replies to cattle by what became of them", "result"),
    ("swept", "Lost events by recovery step; resend is a redelivery", "step"),
    (
        "container_events",
        "Reports of containers by what became of them; coalesced: left out by the worker",
        "result",
    ),
    (
        "container_events_refused",
        "Answers of cattle that refused such a report, or put it off, by HTTP status",
        "status",
    ),
)
