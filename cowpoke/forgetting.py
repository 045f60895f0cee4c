"""Everything that Redis keeps of one host, and its removal."""

import inspect
from collections.abc import Callable

import redis

from cowpoke import keys
from cowpoke.acl import BRIDGE_KEYS, HOST_KEYS, READABLE_KEYS
from cowpoke.joined import JOINED

_AT_ONCE = 1_000


def own_keys(host_uuid: str) -> list[str]:
    """Return the keys of a host whose names contain nothing but its uuid; queues are among them."""
    return [*(key(host_uuid) for key in _keys_of_hosts(1)), *keys.queues(host_uuid)]


def forget_host(client: "redis.Redis", host_uuid: str) -> int:
    """Remove all that Redis keeps of a host; return how many keys that were.

    Errors: redis.RedisError; what was removed until then stays removed.
    """
    names = set(own_keys(host_uuid))
    # In one pass: each of these kinds has the uuid between colons.
    patterns = tuple(key(host_uuid, "") for key in _keys_of_hosts(2))
    for found in client.scan_iter(match=f"{keys.PREFIX}*:{host_uuid}:*", count=_AT_ONCE):
        name = str(found)
        if name.startswith(patterns):
            names.add(name)
    due = [
        str(member)
        for members in (
            client.zscan_iter(keys.DUE, match=f"{keys.member(host_uuid, '')}*", count=_AT_ONCE),
            client.zscan_iter(keys.ALIVE, match=f"{keys.member(host_uuid, '')}*", count=_AT_ONCE),
        )
        for member, _ in members
    ]
    removed = 0
    listed = sorted(names)
    for start in range(0, len(listed), _AT_ONCE):
        removed += int(client.unlink(*listed[start : start + _AT_ONCE]))
    with client.pipeline(transaction=False) as pipe:
        for start in range(0, len(due), _AT_ONCE):
            pipe.zrem(keys.DUE, *due[start : start + _AT_ONCE])
            pipe.zrem(keys.ALIVE, *due[start : start + _AT_ONCE])
        pipe.srem(keys.HOSTS, host_uuid)
        pipe.zrem(keys.SEEN, host_uuid)
        # The bridges end the subscription of a host that joined.
        pipe.publish(keys.doorbell(host_uuid), JOINED)
        pipe.execute()
    return removed


def _keys_of_hosts(parameters: int) -> list[Callable[..., str]]:
    """Return the kinds of keys that name a host first, by how many names they contain."""
    kinds = [key for key in (*HOST_KEYS, *READABLE_KEYS, *BRIDGE_KEYS) if callable(key)]
    return [
        key
        for key in kinds
        if len(names := list(inspect.signature(key).parameters)) == parameters
        and names[0] == "host_uuid"
    ]
