"""Tell workers which queue keys the bridges have, so that none takes events it cannot open.

Each bridge announces marks (short hashes) of its keys beside its lease. A worker compares them with
its own marks. The marks of the last bridges stay after their end: the events that they sealed may
still be queued.
"""

import json
from collections.abc import Sequence
from typing import Any

import redis

from cowpoke import keys
from cowpoke.liveness import Leases


def announce(client: "redis.Redis", bridge_id: str, marks: Sequence[str]) -> None:
    """Store the marks of a bridge's keys; the first is of the key that seals."""
    with client.pipeline(transaction=False) as pipe:
        pipe.hset(keys.BRIDGE_KEYS, bridge_id, json.dumps(list(marks)))
        pipe.pexpire(keys.BRIDGE_KEYS, keys.OPEN_TTL_MS)
        pipe.execute()


def forget_dead(client: "redis.Redis") -> None:
    """Remove the marks of bridges without a lease; a live bridge calls it at start."""
    ids = [str(bridge_id) for bridge_id in client.hkeys(keys.BRIDGE_KEYS)]
    dead = set(ids) - Leases(client).live_bridges(ids)
    if dead:
        client.hdel(keys.BRIDGE_KEYS, *dead)


def mismatch(client: "redis.Redis", marks: Sequence[str]) -> str | None:
    """Return why a worker with these marks must not take events, or None when it may.

    Live bridges decide; without any, those that ran last. Errors: redis.RedisError.
    """
    found: Any = client.hgetall(keys.BRIDGE_KEYS)
    announced = {str(bridge_id): _read(text) for bridge_id, text in found.items()}
    announced = {bridge_id: theirs for bridge_id, theirs in announced.items() if theirs}
    live = Leases(client).live_bridges(sorted(announced))
    for bridge_id in sorted(live or announced):
        theirs = announced[bridge_id]
        if theirs[0] not in marks:
            return f"bridge {bridge_id} seals events with a key that this worker does not have"
        if marks[0] not in theirs:
            return f"bridge {bridge_id} does not have the key with which this worker seals results"
    return None


def _read(text: object) -> list[str]:
    try:
        marks = json.loads(str(text))
    except ValueError:
        return []
    return [str(mark) for mark in marks] if isinstance(marks, list) else []
