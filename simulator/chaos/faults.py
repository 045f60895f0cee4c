"""The faults of a chaos run, one at a time, and the recovery times.

Each fault breaks a part, keeps it broken for a moment where that makes sense, repairs it, and
names the parts that events needed meanwhile.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from simulator import sample
from simulator.chaos.stage import LANES, BridgeParts, HostParts, Stage, wait_ready
from simulator.chaos.stream import probe_instance, send
from simulator.client import Call, Cattle
from simulator.rig.processes import Program, ProgramEndedError

PROBE_WAIT_S = 60.0
PROBE_AFTER_S = 0.1
#: Longer than a lease, shorter than an event's deadline.
HELD_S = (0.5, 6.0)

REDIS, CATTLE, PUBLISHING, ENGINE = "redis", "cattle", "publishing", "engine"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outage:
    """The time in which a part was unavailable, in ms since the epoch."""

    part: str
    from_ms: float
    until_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """One fault, and the time from its end until the probe was answered."""

    name: str
    recovery_s: float | None
    outages: tuple[Outage, ...]


class FaultMaker:
    """Injects and repairs faults; the seed decides which."""

    def __init__(self, stage: Stage, *, seed: int) -> None:
        self._stage = stage
        self._random = random.Random(seed)  # noqa: S311 -- repeatable, guards nothing
        self._probes = {host.uuid: probe_instance(stage.image) for host in stage.hosts}
        #: Ids of the events sent to measure recovery, and their instances.
        self.probe_instances = self._probes

    def break_something(self) -> Broken:
        """Run one fault, from injection to recovery."""
        stage = self._stage
        host = self._random.choice(stage.hosts)
        bridge = self._random.choice(stage.bridges)
        worker = self._random.choice(host.workers)
        faults: list[tuple[int, str, Callable[[], list[str]]]] = [
            (5, "kill -9 of a lane", lambda: self._lane(host, worker)),
            (4, "kill -9 of a worker", lambda: self._worker(host, worker)),
            (2, "worker restarted (TERM)", lambda: self._worker_drained(host, worker)),
            (4, "kill -9 of a bridge", lambda: self._bridge(bridge)),
            (2, "bridge restarted (TERM)", lambda: self._bridge_drained(bridge)),
            (3, "kill -9 of Redis", self._redis),
            (2, "websockets cut by cattle", self._sockets),
            (1, "cattle answers 500", self._server_errors),
            (2, "a host's way to Redis", lambda: self._host_redis_way(host)),
            (2, "a bridge's way to Redis", lambda: self._bridge_redis_way(bridge)),
            (2, "a bridge's way to cattle", lambda: self._bridge_cattle_way(bridge)),
            (2, "a host's way to its Engine", lambda: self._engine_way(host)),
        ]
        if stage.engine.private:
            faults.append((2, "kill -9 of dockerd", self._dockerd))
        weights = [weight for weight, _, _ in faults]
        _, name, do = self._random.choices(faults, weights=weights)[0]
        return self._measured(name, host, do)

    def _measured(self, name: str, host: HostParts, do: Callable[[], list[str]]) -> Broken:
        probe = _Probe(self._stage.cattle_url, self._probes[host.uuid], host.access_key)
        # Websockets that are cut take what is sent into the cut with them, as at cattle.
        probe.send_after(0 if do == self._sockets else PROBE_AFTER_S)
        from_ms = time.time() * 1000
        parts = do()
        back_ms = time.time() * 1000
        self._stage.wait_subscribed()
        until_ms = time.time() * 1000
        call = self._stage.cattle.wait(probe.event_id(), PROBE_WAIT_S)
        outages = tuple(
            Outage(part=part, from_ms=from_ms, until_ms=until_ms if part == CATTLE else back_ms)
            for part in parts
        )
        return Broken(name=name, recovery_s=_after_s(call, back_ms), outages=outages)

    # -- each breaks and mends, and tells which parts were away ----------------------------------

    def _lane(self, host: HostParts, worker: Program) -> list[str]:
        lane = self._random.choice(LANES)
        printed = len(worker.output())
        pid = _lane_pid(worker, lane)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            wait_ready(worker, lanes=(lane,), after_chars=printed)
        return _worker_part(host)

    def _worker(self, host: HostParts, worker: Program) -> list[str]:
        worker.kill()
        self._pause()
        self._start(worker)
        return _worker_part(host)

    def _worker_drained(self, host: HostParts, worker: Program) -> list[str]:
        worker.terminate(60)
        self._start(worker)
        return _worker_part(host)

    def _start(self, worker: Program) -> None:
        printed = len(worker.output())
        worker.start()
        wait_ready(worker, after_chars=printed)

    def _bridge(self, bridge: BridgeParts) -> list[str]:
        bridge.program.kill()
        self._pause()
        bridge.program.start()
        return []

    def _bridge_drained(self, bridge: BridgeParts) -> list[str]:
        bridge.program.terminate(60)
        bridge.program.start()
        return []

    def _redis(self) -> list[str]:
        self._stage.redis.kill()
        self._pause()
        self._stage.redis.restart()
        return [REDIS]

    def _sockets(self) -> list[str]:
        self._stage.cattle.faults(drop_sockets=True)
        return [CATTLE]

    def _server_errors(self) -> list[str]:
        self._stage.cattle.faults(publish_status=500)
        self._pause()
        self._stage.cattle.faults_off()
        return [PUBLISHING]

    def _dockerd(self) -> list[str]:
        self._stage.engine.kill()
        self._pause()
        self._stage.engine.restart()
        return [ENGINE]

    def _host_redis_way(self, host: HostParts) -> list[str]:
        with self._broken_way(host.redis_way):
            self._pause()
        return [worker_part(host.access_key)]

    def _engine_way(self, host: HostParts) -> list[str]:
        with self._broken_way(host.engine_way):
            self._pause()
        return [worker_part(host.access_key)]

    def _bridge_redis_way(self, bridge: BridgeParts) -> list[str]:
        with self._broken_way(bridge.redis_way):
            self._pause()
        return []

    def _bridge_cattle_way(self, bridge: BridgeParts) -> list[str]:
        with self._broken_way(bridge.cattle_way):
            self._pause()
        return []

    @contextmanager
    def _broken_way(self, way: Any) -> Iterator[None]:  # noqa: ANN401 -- a Proxy
        self._random.choice([way.cut, way.refuse, way.black_hole])()
        try:
            yield
        finally:
            way.heal()

    def _pause(self) -> None:
        time.sleep(self._random.uniform(*HELD_S))


class _Probe:
    """The event that is sent during a fault to measure recovery."""

    def __init__(self, cattle_url: str, instance: sample.Instance, access_key: str) -> None:
        self._cattle = Cattle(cattle_url)
        self._event = sample.instance_activate(instance)
        self._access_key = access_key
        self._sent: list[str] = []
        self._timer = threading.Timer(0, self._send)

    def send_after(self, delay_s: float) -> None:
        """Send the probe now, or a moment after the fault began."""
        self._timer.interval = delay_s
        self._timer.start()
        if not delay_s:
            self._timer.join()

    def event_id(self) -> str:
        """Return the id of the probe."""
        self._timer.join()
        return self._sent[0]

    def _send(self) -> None:
        self._sent.append(send(self._cattle, self._event, self._access_key))
        self._cattle.close()


def worker_part(access_key: str) -> str:
    """Return the part name of the workers of an agent's host."""
    return f"workers of {access_key}"


def _worker_part(host: HostParts) -> list[str]:
    """Return the part that a killed worker makes unavailable; none if there are several workers."""
    return [worker_part(host.access_key)] if len(host.workers) == 1 else []


def _lane_pid(worker: Program, lane: str) -> int | None:
    """Return the pid of a lane from its ready line; None while it is being replaced."""
    try:
        wait_ready(worker, lanes=(lane,))
    except ProgramEndedError:
        return None
    lines = [
        line
        for line in worker.output().splitlines()
        if '"lane.ready"' in line and f'"lane": "{lane}"' in line
    ]
    pid = int(lines[-1].partition('"pid": ')[2].split(",")[0].rstrip("}"))
    return pid if psutil.pid_exists(pid) else None


def _after_s(call: Call, back_ms: float) -> float | None:
    finals = [one["received_ms"] for one in call.record["replies"] if one["kind"] == "final"]
    return max(0.0, (finals[0] - back_ms) / 1000) if finals else None
