"""Figures of `/metrics` without a Redis: totals, histograms, bounds of labels."""

from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bridge.agents.registry import Agents
from bridge.inbound.standing import Standing
from bridge.metrics.collector import Metrics
from bridge.metrics.finished import MOST_CODES, FinishedCounts
from bridge.metrics.own import OwnMetrics
from bridge.metrics.totals import WorkerTotals
from bridge.settings import AgentKeys
from bridge.web.readiness import Health, Reason
from bridge.web.watched import Seen
from cowpoke.figures import EngineState
from cowpoke.history import Ending, EventStep
from cowpoke.overview.conditions import CONDITIONS, problem
from cowpoke.seal import ClusterKeyring
from tests.page_views import NOW_MS, figures, finished, host, overview, redis_view, worker

READY = Health(ready=True, reasons=(), notes=())
AGENT = AgentKeys(access_key="a", secret_key="secret-of-a", host_uuid="host-1")


class NoPresence:
    """No live worker is known."""

    def by_host(self):
        """Return no host."""
        return []


@pytest.fixture
def counts():
    """What became of events."""
    return FinishedCounts()


@pytest.fixture
def metrics(counts):
    """The metrics of a bridge of one agent."""
    names = ("events", "replies", "swept", "container_events", "container_events_refused")
    own = OwnMetrics(
        {name: Counter() for name in names},
        agents=Agents((AGENT,)),
        unused={},
        standing=Standing((AGENT,)),
        presence=NoPresence(),
        keyring=ClusterKeyring(),
    )
    return Metrics(own, counts, watched=None, readiness=None, most_hosts=100)


def samples(families):
    """Return everything: `name, *label values` -> value."""
    return {
        (one.name, *one.labels.values()): one.value for family in families for one in family.samples
    }


def scraped(metrics, found=None, *, health=READY, trouble=None):
    """Scrape; what Prometheus reads is the same number of samples."""
    seen = Seen(overview=found, at_ms=NOW_MS, trouble=trouble)
    text = metrics.text(seen, health).decode()
    read = samples(text_string_to_metric_families(text))
    made = samples(metrics.families(seen, health))
    assert len(read) == len(made)
    return made


def test_events_are_counted_by_name_end_and_stage(counts, metrics):
    """Replies by kind, histograms by stage, retries with their reason."""
    counts.observe(finished())
    steps = tuple(EventStep(at_ms=1, step=step) for step in ("received", "retry", "retry", "died"))
    counts.observe(finished(outcome=Ending.ERROR, code="engine-busy", unusual=steps))
    counts.observe(finished(outcome=Ending.EXPIRED, first_claimed_ms=0, published_ms=0))
    found = scraped(metrics)
    name = "compute.instance.activate"
    assert found["cowpoke_finished_events_total", name, "success"] == 1
    assert found["cowpoke_finished_events_total", name, "error"] == 1
    assert found["cowpoke_finished_events_total", name, "expired"] == 1
    assert found["cowpoke_finished_events_total", name, "refused"] == 0
    assert found["cowpoke_event_errors_total", name, "engine-busy"] == 1
    assert found["cowpoke_event_restarts_total", name, "retry"] == 2
    assert found["cowpoke_event_restarts_total", name, "died"] == 1
    duration = "cowpoke_event_duration_seconds"
    assert found[f"{duration}_count", name, "queue"] == 3
    assert found[f"{duration}_count", name, "run"] == 2
    assert found[f"{duration}_sum", name, "run"] == pytest.approx(3.8)
    assert found[f"{duration}_bucket", name, "run", "1.0"] == 0
    assert found[f"{duration}_bucket", name, "run", "2.5"] == 2


def test_made_up_names_and_codes_share_one_series(counts, metrics):
    """A host may say what it likes."""
    for number in range(MOST_CODES + 10):
        counts.observe(finished(name=f"n{number}", outcome=Ending.ERROR, code=f"c{number}"))
    counts.observe(finished(outcome=Ending.ERROR, code="two words"))
    found = [key for key in scraped(metrics) if key[0] == "cowpoke_event_errors_total"]
    assert {key[1] for key in found} == {"other", "compute.instance.activate"}
    assert len(found) == MOST_CODES + 2


def of_lanes(*lanes):
    """Return an overview of one host whose lanes counted this."""
    return overview(host(workers=(worker(figures=lanes),)))


def test_totals_never_go_back():
    """A lane that starts anew, one that is gone, one that is missing for a moment."""
    totals = WorkerTotals()
    seen = []
    for found in (
        of_lanes(figures(calls=100, pulls=7)),  # before this bridge looked
        of_lanes(figures(calls=102, pulls=8)),
        overview(host(workers=())),
        of_lanes(figures(calls=103, pulls=8)),
        of_lanes(figures(started_ms=2, calls=4, pulls=2)),
        of_lanes(),
    ):
        totals.look(found)
        now = samples(totals.collect())
        seen.append(
            (
                now["cowpoke_engine_call_duration_seconds_count", "create"],
                now["cowpoke_engine_call_errors_total", "create"],
                now["cowpoke_pulls_total", "success"] + now["cowpoke_pulls_total", "error"],
                now["cowpoke_pull_bytes_total",],
            )
        )
    assert seen == [
        (0, 0, 0, 0),
        (2, 0, 1, 10),
        (2, 0, 1, 10),
        (3, 0, 1, 10),
        (7, 1, 3, 30),
        (7, 1, 3, 30),
    ]


def test_lanes_that_are_long_gone_are_forgotten(monkeypatch):
    """Workers start anew for years."""
    monkeypatch.setattr("bridge.metrics.totals.GONE_AFTER_S", -1.0)
    totals = WorkerTotals()
    totals.look(of_lanes(figures(calls=1)))
    assert totals._last == {}


def test_sums_of_all_hosts_and_each_host(metrics):
    """Queues, ages, Engines, dead letters, memory; the same numbers that `cowpoke status` has."""
    second = host(
        "host-2",
        workers=(),
        engine=EngineState(reachable=False, reason="no socket"),
        dead_letters=2,
    )
    problems = [
        problem("engine-unreachable", "host-2", "no socket"),
        problem("orphan-volumes", "host-1", "1"),
    ]
    server = redis_view(max_memory_bytes=100, dead_letters=None)
    found = scraped(metrics, overview(host(), second, problems=problems, redis=server))
    wanted = {
        ("cowpoke_queue_messages", "compute"): 6,
        ("cowpoke_queue_oldest_seconds", "compute"): 12.5,
        ("cowpoke_queue_oldest_seconds", "control"): 0,
        ("cowpoke_engines", "reachable"): 1,
        ("cowpoke_engines", "unreachable"): 1,
        ("cowpoke_hosts", "without-worker"): 1,
        ("cowpoke_hosts_dead_letters",): 2,
        ("cowpoke_events_in_flight",): 2,
        ("cowpoke_oldest_event_seconds",): 3,
        ("cowpoke_outcomes_waiting",): 2,
        ("cowpoke_oldest_outcome_seconds",): 0.4,
        ("cowpoke_redis_memory_bytes",): 5 * 1024 * 1024,
        ("cowpoke_redis_memory_limit_bytes",): 100,
        ("cowpoke_bridges",): 1,
        ("cowpoke_problems", "engine-unreachable", "true"): 1,
        ("cowpoke_problems", "orphan-volumes", "false"): 1,
        ("cowpoke_problems", "redis-memory", "true"): 0,
        ("cowpoke_host_queue_messages", "host-2", "compute"): 3,
        ("cowpoke_engine_reachable", "host-2"): 0,
        ("cowpoke_open_events", "host-1"): 1,
        ("cowpoke_host_problem", "host-2", "engine-unreachable"): 1,
        ("cowpoke_host_info", "host-1", "name-of-host-1"): 1,
        ("cowpoke_redis_up",): 1,
        ("cowpoke_ready",): 1,
        ("cowpoke_websockets", "connecting"): 1,
    }
    assert {key: found.get(key) for key in wanted} == wanted
    # What could not be read is no 0.
    assert ("cowpoke_dead_letters",) not in found
    assert len([key for key in found if key[0] == "cowpoke_problems"]) == 2 * len(CONDITIONS)


def test_many_hosts_have_no_series_of_their_own(metrics):
    """10,000 hosts would be a million series; a setting bounds them, and alerts need only sums."""
    few = scraped(metrics, overview(*(host(f"h{number}") for number in range(100))))
    many = scraped(metrics, overview(*(host(f"h{number}") for number in range(101))))
    per_host = {key[0] for key in few if any(part.startswith("h1") for part in key[1:])}
    assert "cowpoke_host_queue_messages" in per_host
    assert ("cowpoke_websockets_open", "a") in few
    assert not [key for key in many if any(part.startswith("h1") for part in key[1:])]
    assert ("cowpoke_websockets_open", "a") not in many
    assert many["cowpoke_queue_messages", "compute"] == 303
    assert len(many) < 500


def test_without_redis_the_bridges_own_figures_stay(counts, metrics):
    """An outage is when an operator looks."""
    counts.observe(finished())
    reason = Reason("redis-down", "refused")
    health = Health(ready=False, reasons=(reason,), notes=())
    found = scraped(metrics, overview(host()), health=health, trouble=health.redis_trouble)
    assert found["cowpoke_redis_up",] == 0
    assert found["cowpoke_ready",] == 0
    assert found["cowpoke_unready_reason", "redis-down"] == 1
    assert ("cowpoke_bridges",) not in found
    # Nobody knows the other problems.
    assert [key for key in found if key[0] == "cowpoke_problems"] == [
        ("cowpoke_problems", "redis-down", "true")
    ]
    assert [key for key in found if key[0] == "cowpoke_finished_events_total"]


def test_silence_of_cattle_is_told_per_agent_and_at_most(metrics, monkeypatch):
    """Seconds since the last ping, from the websocket's opening on."""
    standing = metrics._own._standing
    clock = [1000.0]
    for module in ("bridge.inbound.standing", "bridge.metrics.own"):
        monkeypatch.setattr(f"{module}.monotonic", lambda: clock[0])
    assert ("cowpoke_last_ping_age_seconds", "a") not in scraped(metrics)
    standing.opened(AGENT)
    clock[0] += 10
    assert scraped(metrics)["cowpoke_last_ping_age_seconds", "a"] == 10
    standing.asked(AGENT)
    clock[0] += 200
    found = scraped(metrics)
    assert found["cowpoke_last_ping_age_seconds", "a"] == 200
    assert found["cowpoke_last_ping_age_seconds_max",] == 200
    assert found["cowpoke_silent_websockets",] == 1
    assert found["cowpoke_websockets", "open"] == 1
