"""Overviews as `read_overview` returns them, made up for tests of the page and of metrics."""

import time

from cowpoke.bridge_lease import BridgeError, WebsocketReport, WebsocketState
from cowpoke.figures import Durations, EngineState, LaneFigures, PullFigures
from cowpoke.history import Ending, FinishedEvent
from cowpoke.lease import LaneProcess, Lease
from cowpoke.overview.views import (
    BridgeView,
    EventView,
    HostView,
    Overview,
    QueueView,
    RedisView,
    WorkerView,
)
from cowpoke.routes import LANES, Lane

NOW_MS = round(time.time() * 1000)


def websocket(host_uuid="host-1", **given):
    """An open websocket that was pinged 2 s ago."""
    fields = {
        "bridge_id": "b1",
        "agent": f"key-of-{host_uuid}",
        "host_uuid": host_uuid,
        "state": WebsocketState.OPEN,
        "since_ms": NOW_MS - 60_000,
        "last_ping_ms": NOW_MS - 2_000,
    }
    return WebsocketReport(**{**fields, **given})


def figures(lane="compute", *, started_ms=1, calls=0, pulls=0, engine=None):
    """What a lane counted: so many creates of 0.2 s, one of them failed, and pulls of 10 bytes."""
    durations = Durations()
    for number in range(calls):
        durations = durations.plus(0.2, is_error=number == 0)
    return LaneFigures(
        lane=lane,
        started_ms=started_ms,
        engine=engine,
        calls={"create": durations} if calls else {},
        pulls=PullFigures(count=pulls, errors=min(pulls, 1), bytes=10 * pulls),
    )


def worker(host_uuid="host-1", *, worker_id="w1", lanes=tuple(Lane), figures=()):
    """A worker whose lanes take events."""
    lease = Lease(
        worker_id=worker_id,
        host_uuid=host_uuid,
        lanes=tuple(
            LaneProcess(lane=lane, boot_id=f"{worker_id}.{lane}.1", node=f"{lane}@h")
            for lane in lanes
        ),
        events=tuple(LANES),
        fingerprints=("f1",),
        hostname=f"name-of-{host_uuid}",
        lock_domain="d",
        version="1",
    )
    return WorkerView(
        worker_id=worker_id,
        lease_ms=4_000,
        lease=lease,
        figures={one.lane: one for one in figures},
    )


def host(host_uuid="host-1", **given):
    """A host at work with one event in flight."""
    fields = {
        "hostname": f"name-of-{host_uuid}",
        "workers": (worker(host_uuid),),
        "engine": EngineState(reachable=True, version="27.1", api_version="1.46"),
        "queues": {
            Lane.COMPUTE: QueueView(length=3, oldest_s=12.5),
            Lane.CONTROL: QueueView(),
            Lane.IMAGES: QueueView(),
        },
        "open_events": 1,
        "open_states": {"claimed": 1},
        "oldest_event": EventView(
            event_id="e-1",
            name="compute.instance.activate",
            state="claimed",
            lane=Lane.COMPUTE,
            age_s=3.0,
            left_s=800.0,
        ),
        "websockets": (websocket(host_uuid),),
    }
    return HostView(host_uuid=host_uuid, **{**fields, **given})


def redis_view(**given):
    """A Redis with memory to spare."""
    fields = {
        "version": "7.0.15",
        "now_ms": NOW_MS,
        "uptime_s": 3600,
        "role": "master",
        "clients": 12,
        "used_memory_bytes": 5 * 1024 * 1024,
        "max_memory_bytes": 0,
        "memory_policy": "noeviction",
        "appends": True,
        "outcomes": {"cowpoke:outcomes": 2, "cowpoke:outcomes.control": 0},
        "oldest_outcome_s": 0.4,
    }
    return RedisView(**{**fields, **given})


def bridge(**given):
    """A live bridge with one warning."""
    fields = {
        "bridge_id": "b1",
        "alive": True,
        "version": "0.2.0",
        "hostname": "hub",
        "server": "https://cattle/v1",
        "started_ms": NOW_MS - 90_000,
        "errors": (BridgeError(at_ms=NOW_MS, code="stream.closed", message="lost", count=3),),
        "websockets": (websocket(),),
    }
    return BridgeView(**{**fields, **given})


def overview(*hosts, problems=(), **given):
    """One bridge and these hosts."""
    fields = {"redis": redis_view(), "bridges": (bridge(),), **given}
    return Overview(hosts=tuple(hosts), problems=tuple(problems), **fields)


def finished(event_id="e-9", **given):
    """A create that took 2.5 s: 0.5 s in the queue, 1.9 s to run, 0.1 s to reply."""
    fields = {
        "name": "compute.instance.activate",
        "resource": "instanceHostMap:1ihm7",
        "summary": "web-1 (1i37) nginx:1.25",
        "host_uuid": "host-1",
        "lane": "compute",
        "outcome": Ending.SUCCESS,
        "result": "running 4f1c 10.42.3.7",
        "attempts": 1,
        "received_ms": NOW_MS - 2_500,
        "first_claimed_ms": NOW_MS - 2_000,
        "claimed_ms": NOW_MS - 2_000,
        "ended_ms": NOW_MS - 100,
        "published_ms": NOW_MS,
    }
    return FinishedEvent(event_id=event_id, **{**fields, **given})
