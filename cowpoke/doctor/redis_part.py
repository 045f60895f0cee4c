"""The part of the doctor about Redis: the server, the clock, and the keys of all programs.

It works with the Redis user of a bridge, of a host or of an administrator. What the user may not
ask is skipped.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import redis

from cowpoke import scrubbing
from cowpoke.broker import connect
from cowpoke.doctor.finding import CORRECT_IT, Finding, Part
from cowpoke.environment import BadEnvironmentError, read
from cowpoke.overview import Overview, read_overview
from cowpoke.overview.finding import LEAST_REDIS, MEGABYTE, MEMORY_SHARE
from cowpoke.overview.redis_server import why_no_writes
from cowpoke.overview.trouble import trouble_of
from cowpoke.seal import ClusterKeyring
from cowpoke.settings import BrokerSettings

_PART = Part("redis")
_KEYS = Part("keys")

#: A host and a bridge wait for each round trip; more makes each event slow.
SLOW_ROUND_TRIP_MS = 50.0
#: Tokens and certificates are checked by the clock of the machine.
CLOCK_DIFFERS_S = 2.0
_PINGS = 5


def examine_redis(*, asked: bool) -> Iterator[Finding]:
    """Yield what there is to say about Redis."""
    del asked  # it always applies
    try:
        settings = read(BrokerSettings)
    except BadEnvironmentError as error:
        for line in str(error).splitlines():
            yield _PART.problem("settings", line, advice=CORRECT_IT)
        return
    scrubbing.keep_secret(settings)
    with connect(settings, retries=0) as client:
        try:
            began_s, answered_s = _pinged(client)
            info: Mapping[str, Any] = client.info()
        except redis.RedisError as error:
            refused = isinstance(error, redis.exceptions.AuthenticationError)
            found = trouble_of(error)
            yield _PART.problem(
                "login" if refused else "connection",
                found.message,
                code=found.code,
                advice=found.advice,
            )
            return
        yield _round_trip(answered_s - began_s)
        yield from _server(client, info)
        yield from _configuration(client)
        yield _clock(client)
        yield from _keys(client, settings)


def _pinged(client: "redis.Redis") -> tuple[float, float]:
    """Return begin and end of the quickest of some pings; the first one also connects."""
    client.ping()
    quickest = (0.0, float("inf"))
    for _ in range(_PINGS):
        began_s = time.monotonic()
        client.ping()
        quickest = min(quickest, (began_s, time.monotonic()), key=lambda one: one[1] - one[0])
    return quickest


def _round_trip(took_s: float) -> Finding:
    said = f"Redis answers in {took_s * 1000:.1f} ms"
    if took_s * 1000 <= SLOW_ROUND_TRIP_MS:
        return _PART.good("connection", said)
    advice = "run Redis near the hosts: each event needs several round trips"
    return _PART.note("connection", said, advice=advice)


def _server(client: "redis.Redis", info: Mapping[str, Any]) -> Iterator[Finding]:
    version = str(info.get("redis_version", "?"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers and numbers < LEAST_REDIS:
        yield _PART.problem("version", f"Redis {version} is too old", code="redis-version")
    else:
        yield _PART.good("version", f"Redis {version}")
    if info.get("cluster_enabled"):
        said = "this Redis is part of a cluster: scripts of cowpoke use keys of several slots"
        yield _PART.problem("mode", said, advice="use a single Redis, or one with Sentinels")
    if reason := why_no_writes(client, info):
        yield _PART.problem("writes", reason, code="redis-refuses-writes")
    if not info.get("aof_enabled"):
        said = "it keeps no append-only file"
        yield _PART.note("persistence", said, code="redis-not-persistent")
    else:
        yield _PART.good("persistence", "it keeps an append-only file")
    yield from _memory(info)


def _memory(info: Mapping[str, Any]) -> Iterator[Finding]:
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    policy = str(info.get("maxmemory_policy", ""))
    said = f"{used // MEGABYTE} MB of {f'{most // MEGABYTE} MB' if most else 'no limit'}"
    if most and used > MEMORY_SHARE * most:
        yield _PART.problem("memory", said, code="redis-memory")
    else:
        yield _PART.good("memory", said)
    if policy in {"noeviction", ""}:
        yield _PART.good("eviction", "it never deletes keys for want of memory")
    elif most:
        yield _PART.problem("eviction", f"maxmemory-policy is {policy}", code="redis-eviction")
    else:
        # It has no effect before somebody sets a limit.
        yield _PART.note("eviction", f"maxmemory-policy is {policy}", code="redis-eviction")


def _configuration(client: "redis.Redis") -> Iterator[Finding]:
    """Yield what only the configuration says, for users who may read it."""
    try:
        # One pattern: Redis before 7.0 takes no second one.
        found = client.config_get("append*")
    except redis.ResponseError:
        said = "the Redis user may not read the configuration (`appendfsync` should be `always`)"
        yield _PART.skipped("appendfsync", said)
        return
    if found.get("appendonly") != "yes":
        return
    policy = str(found.get("appendfsync", ""))
    if policy == "always":
        yield _PART.good("appendfsync", "an acknowledged write is on disk")
    else:
        said = f"appendfsync is {policy}: a power failure loses the writes of the last second"
        advice = "set `appendfsync always` in the configuration of Redis"
        yield _PART.note("appendfsync", said, advice=advice)


def _clock(client: "redis.Redis") -> Finding:
    began_s = time.time()
    seconds, microseconds = client.time()
    ended_s = time.time()
    offset_s = (began_s + ended_s) / 2 - (int(seconds) + int(microseconds) / 1_000_000)
    said = f"this machine is {abs(offset_s):.3f} s {'ahead of' if offset_s > 0 else 'behind'} Redis"
    if abs(offset_s) > CLOCK_DIFFERS_S + (ended_s - began_s) / 2:
        return _PART.note("clock", said, code="clock-differs")
    return _PART.good("clock", said)


def _keys(client: "redis.Redis", settings: BrokerSettings) -> Iterator[Finding]:
    keyring = settings.cluster_keyring()
    if settings.queue_key is None:
        # A worker with a HOST_KEY: its part compares that.
        yield _KEYS.skipped("QUEUE_KEY", "it is not set here; bridges need it")
        return
    yield _KEYS.good("QUEUE_KEY", f"its fingerprint is {' '.join(keyring.fingerprints)}")
    try:
        overview = read_overview(client, keyring)
    except redis.exceptions.NoPermissionError:
        yield _KEYS.skipped("programs", "the Redis user may not look at the programs of others")
        return
    yield _programs(overview, keyring)


def _programs(overview: Overview, keyring: ClusterKeyring) -> Finding:
    """Compare the keys of all live programs with ours."""
    lines, wrong = [], []
    for bridge in overview.bridges:
        if bridge.alive:
            line = f"bridge {bridge.bridge_id} {bridge.hostname}".strip()
            fingerprints = bridge.fingerprints if bridge.readable else None
            lines.append(_line(line, fingerprints))
            wrong += [line] if fingerprints != keyring.fingerprints else []
    for host in overview.hosts:
        wanted = keyring.host(host.host_uuid).fingerprints
        for worker in host.workers:
            line = f"worker {worker.worker_id} of host {host.host_uuid} {host.hostname}".strip()
            fingerprints = worker.lease.fingerprints if worker.lease is not None else None
            lines.append(_line(line, fingerprints))
            wrong += [line] if fingerprints != wanted else []
    if wrong:
        said = f"{len(wrong)} of {len(lines)} programs have other keys: {', '.join(wrong[:5])}"
        return _KEYS.problem("programs", said, code="keys-differ", details=lines)
    if not lines:
        return _KEYS.good("programs", "no program runs")
    return _KEYS.good("programs", f"all {len(lines)} programs have keys of ours", details=lines)


def _line(program: str, fingerprints: tuple[str, ...] | None) -> str:
    shown = ("its lease cannot be opened",) if fingerprints is None else fingerprints
    return f"{program}: {' '.join(shown)}"
