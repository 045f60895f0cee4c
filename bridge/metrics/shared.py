"""What Redis tells of all hosts: the same at each bridge, so sums over bridges make no sense."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from prometheus_client.core import GaugeMetricFamily, Metric

from cowpoke.overview.conditions import CONDITIONS, Problem
from cowpoke.overview.views import HostView, Overview, RedisView
from cowpoke.routes import Lane


def shared_metrics(overview: Overview, *, per_host: bool) -> Iterator[Metric]:
    """Return the families of an overview; those with a series per host only if wanted."""
    yield from _redis(overview.redis)
    yield from _sums(overview)
    yield from _queues(overview.hosts)
    every = dict.fromkeys(
        ((code, urgent) for code in CONDITIONS for urgent in ("false", "true")), 0
    )
    yield problem_counts(overview.problems, every)
    if per_host:
        yield from _hosts(overview)


def _gauge(name: str, text: str, value: float | None) -> GaugeMetricFamily:
    """Return one figure; without a sample when it is not known."""
    family = GaugeMetricFamily(f"cowpoke_{name}", text)
    if value is not None:
        family.add_metric([], value)
    return family


def _by(name: str, text: str, label: str, values: dict[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"cowpoke_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _redis(redis: RedisView) -> Iterator[Metric]:
    info = GaugeMetricFamily("cowpoke_redis_info", "Always 1", labels=["version", "role"])
    info.add_metric([redis.version, redis.role], 1)
    yield info
    yield _gauge("redis_memory_bytes", "Memory that Redis uses", redis.used_memory_bytes)
    yield _gauge(
        "redis_memory_limit_bytes", "Its limit `maxmemory`; 0 for none", redis.max_memory_bytes
    )
    yield _gauge("redis_uptime_seconds", "Since Redis started", redis.uptime_s)
    yield _gauge("redis_clients", "Connections to Redis", redis.clients)
    yield _gauge("redis_append_only", "Whether Redis keeps an append-only file", redis.appends)
    waiting = sum(length or 0 for length in redis.outcomes.values())
    yield _gauge("outcomes_waiting", "Outcomes that cattle has not accepted yet", waiting)
    yield _gauge(
        "oldest_outcome_seconds",
        "How long the oldest of them has waited; 0 without one",
        redis.oldest_outcome_s or 0.0,
    )
    yield _gauge(
        "dead_letters",
        "Outcomes that no bridge could read, kept for people",
        redis.dead_letters,
    )


def _sums(overview: Overview) -> Iterator[Metric]:
    hosts = overview.hosts
    alive = sum(host.is_alive for host in hosts)
    states = {"with-worker": float(alive), "without-worker": float(len(hosts) - alive)}
    yield _by("hosts", "Known hosts by whether a worker lives", "state", states)
    live = sum(bridge.alive for bridge in overview.bridges)
    yield _gauge("bridges", "Live bridges of this Redis", live)
    engines = Counter({"reachable": 0, "unreachable": 0, "unknown": 0})
    engines.update(map(_engine, hosts))
    text = "Docker Engines by whether they answer; unknown: no worker tells"
    yield _by("engines", text, "state", dict(engines))
    letters = sum(host.dead_letters or 0 for host in hosts)
    yield _gauge("hosts_dead_letters", "Messages of the queues of all hosts, put aside", letters)
    opened = sum(host.open_events or 0 for host in hosts)
    yield _gauge("events_in_flight", "Events of all hosts without an answer", opened)
    ages = [host.oldest_event.age_s for host in hosts if host.oldest_event is not None]
    yield _gauge(
        "oldest_event_seconds", "Age of the oldest of them; 0 without one", max(ages, default=0.0)
    )
    outboxes = sum(host.outbox or 0 for host in hosts)
    yield _gauge("outboxes", "Outcomes that no bridge has collected", outboxes)


def _engine(host: HostView) -> str:
    if host.engine is None:
        return "unknown"
    return "reachable" if host.engine.reachable else "unreachable"


def _queues(hosts: Sequence[HostView]) -> Iterator[Metric]:
    lengths: dict[str, float] = dict.fromkeys(Lane, 0)
    oldest: dict[str, float] = dict.fromkeys(Lane, 0.0)
    for host in hosts:
        for lane, queue in host.queues.items():
            lengths[lane] = lengths.get(lane, 0) + (queue.length or 0)
            oldest[lane] = max(oldest.get(lane, 0.0), queue.oldest_s or 0.0)
    yield _by("queue_messages", "Messages in the queues of all hosts", "lane", lengths)
    text = "How long the oldest message of any host has waited; 0 without one"
    yield _by("queue_oldest_seconds", text, "lane", oldest)


def problem_counts(
    problems: Sequence[Problem], known: Mapping[tuple[str, str], int] = MappingProxyType({})
) -> Metric:
    """Return the number of problems by code; `known` are those that are 0 if they are not there.

    While Redis is away, nobody knows the others.
    """
    counts = Counter(known)
    for one in problems:
        counts[one.code, str(one.needs_person).lower()] += 1
    family = GaugeMetricFamily(
        "cowpoke_problems",
        "What `cowpoke status` finds, by the code of the section in docs/runbook.md",
        labels=["code", "needs_person"],
    )
    for labels, number in counts.items():
        family.add_metric(labels, number)
    return family


def _hosts(overview: Overview) -> Iterator[Metric]:
    hosts = overview.hosts
    for name, text, value in _PER_HOST:
        family = GaugeMetricFamily(f"cowpoke_{name}", text, labels=["host"])
        for host in hosts:
            found = value(host)
            if found is not None:
                family.add_metric([host.host_uuid], found)
        yield family
    lengths = GaugeMetricFamily(
        "cowpoke_host_queue_messages", "Messages in a queue of a host", labels=["host", "lane"]
    )
    oldest = GaugeMetricFamily(
        "cowpoke_host_queue_oldest_seconds",
        "How long the oldest of them has waited; 0 without one",
        labels=["host", "lane"],
    )
    for host in hosts:
        for lane, queue in host.queues.items():
            if queue.length is not None:
                lengths.add_metric([host.host_uuid, lane], queue.length)
                oldest.add_metric([host.host_uuid, lane], queue.oldest_s or 0.0)
    yield from (lengths, oldest)
    names = GaugeMetricFamily(
        "cowpoke_host_info", "Always 1; the name of a host", labels=["host", "hostname"]
    )
    problems = GaugeMetricFamily(
        "cowpoke_host_problem", "1 for each problem of a host", labels=["host", "code"]
    )
    known = {host.host_uuid for host in hosts}
    for host in hosts:
        names.add_metric([host.host_uuid, host.hostname], 1)
    for host_uuid, code in sorted({(one.subject, one.code) for one in overview.problems}):
        if host_uuid in known:
            problems.add_metric([host_uuid, code], 1)
    yield from (names, problems)


def _reachable(host: HostView) -> float | None:
    return None if host.engine is None else float(host.engine.reachable)


def _oldest_event(host: HostView) -> float:
    return 0.0 if host.oldest_event is None else host.oldest_event.age_s


_PER_HOST: tuple[tuple[str, str, Callable[[HostView], float | None]], ...] = (
    ("open_events", "Events of a host without an answer", lambda host: host.open_events),
    (
        "host_oldest_event_seconds",
        "Age of the oldest event of a host without an answer; 0 without one",
        _oldest_event,
    ),
    ("host_dead_letters", "Messages of a host's queues, put aside", lambda one: one.dead_letters),
    ("host_workers", "Live workers of a host", lambda host: len(host.workers)),
    ("engine_reachable", "Whether the Docker Engine of a host answers its worker", _reachable),
)
