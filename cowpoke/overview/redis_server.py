"""The Redis server of an overview: what it says of itself, and what it keeps for all hosts."""

from collections.abc import Mapping
from typing import Any

import redis

from cowpoke import keys
from cowpoke.overview.answers import ask, number
from cowpoke.overview.conditions import Problem, problem
from cowpoke.overview.finding import MEGABYTE
from cowpoke.overview.views import RedisView


def read_redis(client: "redis.Redis", problems: list[Problem]) -> RedisView:
    """Return the server.

    Errors: redis.RedisError.
    """
    streams = keys.OUTCOME_STREAMS
    info, (seconds, microseconds), dead, *rest = ask(
        client,
        [
            ("INFO",),
            ("TIME",),
            ("LLEN", keys.BRIDGE_DEAD_LETTERS),
            *(("XLEN", name) for name in streams),
            *(("XRANGE", name, "-", "+", "COUNT", 1) for name in streams),
        ],
    )
    for name, answer in zip((keys.BRIDGE_DEAD_LETTERS, *streams), (dead, *rest), strict=False):
        if isinstance(answer, Exception):
            problems.append(problem("entry-unreadable", name, str(answer)))
    now_ms = int(seconds) * 1000 + int(microseconds) // 1000
    oldest_ms = [_first_ms(entries) for entries in rest[len(streams) :]]
    waited_ms = [max(now_ms - since_ms, 0) for since_ms in oldest_ms if since_ms is not None]
    return RedisView(
        version=str(info.get("redis_version", "")),
        now_ms=now_ms,
        uptime_s=_int(info, "uptime_in_seconds"),
        role=str(info.get("role", "")),
        clients=_int(info, "connected_clients"),
        used_memory_bytes=_int(info, "used_memory"),
        max_memory_bytes=_int(info, "maxmemory"),
        memory_policy=str(info.get("maxmemory_policy", "")),
        appends=_int(info, "aof_enabled") == 1,
        refuses_writes=why_no_writes(client, info),
        outcomes=dict(zip(streams, map(number, rest), strict=False)),
        oldest_outcome_s=max(waited_ms) / 1000 if waited_ms else None,
        dead_letters=number(dead),
    )


def why_no_writes(client: "redis.Redis", info: Mapping[str, Any]) -> str:
    """Return why the server takes no writes, by what `INFO` says; empty when it does.

    Errors: redis.RedisError when it does not answer any more.
    """
    if info.get("role") in {"slave", "replica"}:
        return "it is a read-only replica"
    if _int(info, "loading") or _int(info, "async_loading"):
        return "it is loading its data"
    if _int(info, "aof_enabled") and info.get("aof_last_write_status", "ok") != "ok":
        return "it could not write its append-only file; is the disk full?"
    most = _int(info, "maxmemory")
    # As the server counts: buffers for replicas and for the file are not data.
    used = _int(info, "used_memory") - _int(info, "mem_not_counted_for_evict")
    if most and used > most and info.get("maxmemory_policy", "") in {"noeviction", ""}:
        return f"its memory is full: {used // MEGABYTE} MB of {most // MEGABYTE} MB"
    return _why_not_safe(client, info)


def _why_not_safe(client: "redis.Redis", info: Mapping[str, Any]) -> str:
    """Return why the server refuses writes until they are safe again; empty when it does not."""
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        stops = _configured(client, "stop-writes-on-bgsave-error", "yes") == "yes"
        if stops and _configured(client, "save", "by default"):
            return "it could not save a snapshot (`save`) to its file; is the disk full?"
    # `INFO` has this number only where `min-replicas-to-write` is set.
    if "min_slaves_good_slaves" in info:
        good, least = _int(info, "min_slaves_good_slaves"), "min-replicas-to-write"
        wanted = int(_configured(client, least, "1"))
        if good < wanted:
            return f"{good} of its replicas have the last writes, and `{least}` is {wanted}"
    return ""


def _configured(client: "redis.Redis", name: str, usual: str) -> str:
    """Return a setting of the server; the usual one for users who may not ask."""
    try:
        return str(client.config_get(name).get(name, usual))
    except redis.ResponseError:
        return usual


def _first_ms(entries: Any) -> int | None:  # noqa: ANN401 -- any answer
    """Return when the first entry of a stream was added, by its id."""
    try:
        return int(str(entries[0][0]).partition("-")[0])
    except (IndexError, TypeError, ValueError):
        return None


def _int(info: Mapping[str, Any], name: str) -> int:
    try:
        return int(info.get(name, 0))
    except (TypeError, ValueError):
        return 0
