"""What is measured on a Redis with many hosts; each function leaves the ledger as it was."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial

import redis

from cowpoke import keys
from cowpoke.clock import Clock
from cowpoke.ledger.due import BridgeSweeper
from cowpoke.ledger.execution import WorkerLedger
from cowpoke.ledger.outbox import Outboxes
from cowpoke.ledger.recovery import RecoveryLedger
from cowpoke.outcomes import error, success
from cowpoke.seal import ClusterKeyring
from simulator.rig.processes import wait_until
from simulator.scale.figures import Failing, Share, Sweep, cpu_s, median
from simulator.scale.fleet import Fleet
from simulator.scale.open_events import accept, event_id, lose_messages, make_due

NOTICE_TIMEOUT_S = 60.0
_POLL_S = 0.02
#: 200 containers, as cattle asks for them.
PING_BYTES = 161 * 1024


def shares(situation: str, pids: Mapping[str, int], *, interval_s: float, intervals: int) -> Share:
    """Measure the CPU time of bridge and Redis while nothing happens."""
    found: dict[str, list[float]] = {name: [] for name in pids}
    for _ in range(intervals):
        before = {name: cpu_s(pid) for name, pid in pids.items()}
        began_s = time.monotonic()
        time.sleep(interval_s)
        passed_s = time.monotonic() - began_s
        for name, pid in pids.items():
            found[name].append((cpu_s(pid) - before[name]) / passed_s * 100)
    return Share(
        situation=situation,
        bridge_percent=median(found.get("bridge", [0.0])),
        redis_percent=median(found["redis"]),
    )


def notice_dead(client: redis.Redis, fleet: Fleet, hosts: Sequence[str]) -> list[float]:
    """Kill the worker of each host, and measure until its claimed event is sent again (s)."""
    found = []
    for host_uuid in hosts:
        key = keys.event(host_uuid, event_id(host_uuid, 2))
        fleet.kill(host_uuid)
        began_s = time.monotonic()
        wait_until(
            partial(_is_queued, client, key),
            NOTICE_TIMEOUT_S,
            f"the event of {host_uuid} to be sent again",
            interval_s=_POLL_S,
        )
        found.append(time.monotonic() - began_s)
    return found


def _is_queued(client: redis.Redis, key: str) -> bool:
    return bool(client.hget(key, "state") == "queued")


def sweep(  # noqa: PLR0913 -- called once
    client: redis.Redis,
    keyring: ClusterKeyring,
    redis_pid: int,
    hosts: Sequence[str],
    *,
    lost: bool,
    times: int,
) -> Sweep:
    """Measure one look at what is due, with one due event for each of some hosts.

    No bridge may run beside it.
    """
    sweeper = BridgeSweeper(client, keyring, Clock(client))
    bridge_ms, redis_ms = [], []
    for _ in range(times):
        # All others are due later.
        client.eval(_POSTPONE, 1, keys.DUE)
        (lose_messages if lost else make_due)(client, hosts)
        sweeper.clock.measure()
        before_redis_s, before_s = cpu_s(redis_pid), time.thread_time()
        more = True
        while more:
            _, more = sweeper.sweep_due()
        bridge_ms.append((time.thread_time() - before_s) * 1000)
        redis_ms.append((cpu_s(redis_pid) - before_redis_s) * 1000)
    return Sweep(due=len(hosts), lost=lost, bridge_ms=median(bridge_ms), redis_ms=median(redis_ms))


_POSTPONE = """
local time = redis.call('TIME')
local later_ms = time[1] * 1000 + 25000
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', later_ms)) do
  redis.call('ZADD', KEYS[1], later_ms, member)
end
"""


def fail_queued(  # noqa: PLR0913 -- called once
    client: redis.Redis,
    keyring: ClusterKeyring,
    redis_pid: int,
    events: int,
    *,
    falling: bool,
    times: int,
) -> Failing:
    """Measure the time to answer all events of one queue with errors, as a sweeper does.

    `falling`: the event that was queued last has the earliest deadline, and is answered first. The
    least of several times says what the work costs; other load on the machine only adds to it.
    """
    costs = [
        _fail_queued(client, keyring, redis_pid, events, falling=falling) for _ in range(times)
    ]
    bridge_ms, redis_ms = min(costs, key=sum)
    order = "last queued first" if falling else "first queued first"
    return Failing(events=events, order=order, bridge_ms=bridge_ms, redis_ms=redis_ms)


def _fail_queued(
    client: redis.Redis, keyring: ClusterKeyring, redis_pid: int, events: int, *, falling: bool
) -> tuple[float, float]:
    """Return the CPU time of the bridge and of Redis (ms)."""
    host_uuid = "scale-failing"
    accept(client, keyring, host_uuid, events, timeouts_fall=falling)
    ledger = RecoveryLedger(client, keyring)
    refusal = error("host-offline", "no worker of this host is running")
    before_redis_s, before_s = cpu_s(redis_pid), time.thread_time()
    failed = sum(ledger.fail(host_uuid, entry, refusal) for entry in ledger.open_entries(host_uuid))
    bridge_ms = (time.thread_time() - before_s) * 1000
    redis_ms = (cpu_s(redis_pid) - before_redis_s) * 1000
    if failed != events:
        raise AssertionError(f"wanted {events} events to be answered, found {failed}")
    client.delete(keys.outbox(host_uuid), *keys.queues(host_uuid))
    # The same ids come again.
    client.delete(*client.scan_iter(match=keys.event(host_uuid, "*"), count=10_000))
    return bridge_ms, redis_ms


def kept_of_ping(client: redis.Redis, keyring: ClusterKeyring) -> int:
    """Return the bytes that Redis keeps of a ping after its answer is on its way to cattle."""
    host_uuid = "scale-pinged"
    (ping,) = accept(client, keyring, host_uuid, 1, name="ping", timeout_ms=15_000)
    worker = WorkerLedger(
        client, keyring.host(host_uuid), Clock(client), host_uuid=host_uuid, boot_id="w.control.1"
    )
    worker.claim(ping)
    worker.complete(ping, success({"resources": "x" * PING_BYTES}))
    Outboxes(client).collect(host_uuid)
    return int(client.memory_usage(keys.event(host_uuid, ping)) or 0)
