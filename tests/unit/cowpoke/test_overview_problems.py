"""The truth of each problem code: when it is found, and that a healthy installation has none."""

import re
from dataclasses import replace

import pytest

from cowpoke.bridge_lease import WebsocketReport, WebsocketState
from cowpoke.figures import EngineState
from cowpoke.lease import LaneProcess, Lease
from cowpoke.overview.conditions import CONDITIONS, problem
from cowpoke.overview.finding import find_problems
from cowpoke.overview.views import (
    AgentView,
    BridgeView,
    EventView,
    HostView,
    QueueView,
    RedisView,
    WorkerView,
)
from cowpoke.routes import Lane

NOW_MS = 10_000_000
LONG_AGO_MS = NOW_MS - 300_000
#: Codes that are found elsewhere: by reading, by a failure to read, or by `cowpoke doctor`.
FOUND_ELSEWHERE = {"redis-down", "clock-differs", "state-folder", "entry-unreadable"}
#: By the alert rules, from the metrics of each bridge.
FOUND_ELSEWHERE |= {"many-errors"}

SERVER = RedisView(
    version="7.0.15",
    now_ms=NOW_MS,
    uptime_s=1,
    role="master",
    clients=1,
    used_memory_bytes=1,
    max_memory_bytes=0,
    memory_policy="noeviction",
    appends=True,
)
WEBSOCKET = WebsocketReport(
    bridge_id="b-1",
    agent="a",
    host_uuid="h-1",
    state=WebsocketState.OPEN,
    since_ms=LONG_AGO_MS,
    last_ping_ms=NOW_MS - 3_000,
)
BRIDGE = BridgeView(
    bridge_id="b-1",
    alive=True,
    fingerprints=("k",),
    version="1.0",
    server="http://cattle/v1",
    websockets=(WEBSOCKET,),
)
LEASE = Lease(
    worker_id="w-1",
    host_uuid="h-1",
    lanes=tuple(LaneProcess(lane=lane, boot_id=f"w-1.{lane}.1") for lane in Lane),
    version="1.0",
)
WORKER = WorkerView(worker_id="w-1", lease_ms=4_000, lease=LEASE)
HOST = HostView(
    host_uuid="h-1",
    workers=(WORKER,),
    engine=EngineState(reachable=True),
    queues={str(lane): QueueView() for lane in Lane},
    websockets=(WEBSOCKET,),
)
EVENT = EventView(
    event_id="e-1", name="ping", state="queued", lane="control", age_s=1.0, left_s=10.0
)
JOINED = AgentView(joined=True, access_key="a", served=True)


def websocket(state, **changes):
    """The websocket of the agent in another state."""
    return replace(WEBSOCKET, state=WebsocketState(state), last_ping_ms=None, **changes)


def lease(**changes):
    """A worker with another lease."""
    return replace(WORKER, lease=replace(LEASE, **changes))


def with_websocket(report):
    """The bridge and the host with another websocket; a second agent's one is open."""
    other = replace(WEBSOCKET, host_uuid="h-2")
    return {
        "bridges": [replace(BRIDGE, websockets=(report, other))],
        "hosts": [replace(HOST, websockets=(report,))],
    }


def host(**changes):
    """The host with other facts."""
    return {"hosts": [replace(HOST, **changes)]}


def server(**changes):
    """The server with other facts."""
    return {"server": replace(SERVER, **changes)}


NO_LANE = LEASE.lanes[1:]
SILENT_LANE = (replace(LEASE.lanes[0], consumes=False), *LEASE.lanes[1:])
CUT = websocket("connecting", since_ms=LONG_AGO_MS, reason="no route")
AWAY = websocket("waiting")
LOST = websocket("waiting", host_uuid="", wait="several-hosts", reason="several hosts")
HOSTLESS = replace(LOST, wait="no-worker")

#: What is different -> the problem, its subject, whether it needs a person.
CASES = [
    (server(version="6.0.1"), "redis-version", "redis", True),
    (server(refuses_writes="it is loading"), "redis-refuses-writes", "redis", True),
    (server(used_memory_bytes=81, max_memory_bytes=100), "redis-memory", "redis", True),
    (
        server(max_memory_bytes=100, memory_policy="allkeys-lru"),
        "redis-eviction",
        "redis",
        True,
    ),
    (server(appends=False), "redis-not-persistent", "redis", False),
    (server(oldest_outcome_s=61.0), "replies-stuck", "redis", True),
    (server(dead_letters=1), "dead-letters", "bridges", True),
    ({"bridges": []}, "no-bridge", "bridges", True),
    ({"bridges": [replace(BRIDGE, alive=False)]}, "no-bridge", "bridges", True),
    ({"bridges": [replace(BRIDGE, readable=False)]}, "keys-differ", "bridge b-1", True),
    (
        {"bridges": [BRIDGE, replace(BRIDGE, bridge_id="b-2", fingerprints=("l",))]},
        "keys-differ",
        "bridges",
        False,
    ),
    (
        {"bridges": [replace(BRIDGE, fingerprints=("no-key",))]},
        "keys-missing",
        "bridges",
        False,
    ),
    ({"bridges": [replace(BRIDGE, version="2.0")]}, "versions-differ", "programs", False),
    (
        {"bridges": [replace(BRIDGE, websockets=(CUT,))], **host(websockets=(CUT,))},
        "cattle-unreachable",
        "http://cattle/v1",
        True,
    ),
    (with_websocket(CUT), "websocket-closed", "h-1", True),
    (
        {"bridges": [BRIDGE, replace(BRIDGE, bridge_id="b-2", websockets=(CUT,))]},
        "bridge-not-ready",
        "bridge b-2",
        False,
    ),
    (
        {"bridges": [BRIDGE, replace(BRIDGE, bridge_id="b-2", websockets=(LOST,))]},
        "host-unknown",
        "agent a",
        True,
    ),
    (
        {"bridges": [BRIDGE, replace(BRIDGE, bridge_id="b-2", websockets=(HOSTLESS,))]},
        "host-without-worker",
        "agent a",
        True,
    ),
    (with_websocket(replace(WEBSOCKET, silent=True)), "cattle-silent", "h-1", True),
    (with_websocket(websocket("refused", reason="401")), "agent-keys-refused", "h-1", True),
    (
        {"bridges": [replace(BRIDGE, websockets=(websocket("refused", host_uuid=""),))]},
        "agent-keys-refused",
        "bridge b-1",
        True,
    ),
    (with_websocket(websocket("removed")), "agent-removed", "h-1", True),
    (host(agent=replace(JOINED, removed_since_ms=1)), "agent-removed", "h-1", True),
    (
        host(agent=replace(JOINED, served=False), websockets=()),
        "host-not-served",
        "h-1",
        True,
    ),
    (with_websocket(AWAY) | host(workers=(), websockets=(AWAY,)), "host-without-worker", "h-1", 1),
    (host(workers=(), websockets=(), agent=JOINED), "host-without-worker", "h-1", True),
    (host(workers=(), websockets=(), open_events=1), "host-without-worker", "h-1", True),
    (host(workers=(), websockets=()), "host-without-worker", "h-1", False),
    (host(workers=(lease(lanes=NO_LANE),)), "lane-missing", "h-1", True),
    (host(workers=(lease(lanes=SILENT_LANE),)), "lane-missing", "h-1", True),
    (
        host(engine=EngineState(reachable=False, reason="no socket")),
        "engine-unreachable",
        "h-1",
        True,
    ),
    (
        host(engine=EngineState(reachable=True, reason="API 1.24")),
        "engine-version",
        "h-1",
        True,
    ),
    (
        host(workers=(lease(lock_domain="a"), lease(lock_domain="b"))),
        "locks-not-shared",
        "h-1",
        True,
    ),
    (host(workers=(lease(orphan_volumes=2),)), "orphan-volumes", "h-1", False),
    (host(oldest_event=replace(EVENT, left_s=-61.0)), "events-stuck", "h-1", True),
    (
        host(queues={**HOST.queues, "control": QueueView(length=1, oldest_s=16.0)}),
        "pings-slow",
        "h-1",
        True,
    ),
    (
        host(queues={**HOST.queues, "images": QueueView(length=1, oldest_s=301.0)}),
        "queue-slow",
        "h-1",
        False,
    ),
    (host(dead_letters=1), "dead-letters", "h-1", True),
]

#: What looks similar and is no problem.
HEALTHY = {
    "nothing is special": {},
    "a websocket was lost a moment ago": with_websocket(
        websocket("connecting", since_ms=NOW_MS - 5_000)
    ),
    "another bridge has an open websocket": {
        "bridges": [BRIDGE, replace(BRIDGE, bridge_id="b-2")],
        "hosts": [replace(HOST, websockets=(WEBSOCKET, replace(WEBSOCKET, silent=True)))],
    },
    "a pull waits for a slot": host(
        queues={**HOST.queues, "images": QueueView(length=1, oldest_s=120.0)}
    ),
    "the deadline was a moment ago": host(oldest_event=replace(EVENT, left_s=-5.0)),
    "no limit of memory, so nothing is evicted": server(memory_policy="allkeys-lru"),
    "replies are on their way": server(oldest_outcome_s=3.0),
}


def found(differences):
    """The problems of an installation that is healthy but for some differences."""
    parts = {"server": SERVER, "bridges": [BRIDGE], "hosts": [HOST], **differences}
    return find_problems(parts["server"], parts["bridges"], parts["hosts"])


@pytest.mark.parametrize(
    ("differences", "code", "subject", "needs_person"),
    CASES,
    ids=[f"{number}-{case[1]}" for number, case in enumerate(CASES)],
)
def test_each_problem_is_found_where_it_is_and_nothing_else(
    differences, code, subject, needs_person
):
    """One cause, one problem."""
    assert [(one.code, one.subject, one.needs_person) for one in found(differences)] == [
        (code, subject, bool(needs_person))
    ]


@pytest.mark.parametrize("differences", HEALTHY.values(), ids=HEALTHY)
def test_similar_states_are_no_problem(differences):
    """A person who is woken for nothing stops looking."""
    assert found(differences) == []


def test_each_code_has_a_case():
    """So that no code exists that nothing finds."""
    assert {case[1] for case in CASES} | FOUND_ELSEWHERE == set(CONDITIONS)


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS)
def test_each_condition_can_be_an_anchor_and_says_what_to_do(condition):
    """Sentences without a full stop, as errors have them."""
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", condition.code)
    for text in (condition.meaning, condition.advice):
        assert text
        assert not text.endswith(".")
    one = problem(condition.code, "x", "y")
    assert (one.advice, one.needs_person) == (condition.advice, condition.needs_person)
    assert one.runbook == f"docs/runbook.md#{condition.code}"
