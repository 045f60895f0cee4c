"""Forgets hosts that are gone for good: their queues and what else is kept of them in Redis."""

import asyncio
import time

import redis

from bridge.hosts.presence import Presence
from cowpoke import keys
from cowpoke.forgetting import own_keys
from cowpoke.joined import JOINED
from cowpoke.log import logger

_log = logger(__name__)

#: A host may be away over a holiday.
GONE_AFTER_S = 30 * 24 * 3600.0
LOOK_EVERY_S = 3600.0


async def forget_forever(client: redis.Redis, presence: Presence) -> None:
    """Forget hosts now and then until cancelled."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            await asyncio.to_thread(forget_gone, client, presence)
        except redis.RedisError as problem:
            _log.warning("hosts.cleanup_failed", reason=str(problem))


def forget_gone(
    client: redis.Redis, presence: Presence, *, gone_after_s: float = GONE_AFTER_S
) -> list[str]:
    """Forget the hosts without a worker for so long; which ones.

    A host that is alive now is seen now. One with open events stays until they are answered.
    Errors: redis.RedisError.
    """
    now_s = round(time.time())
    alive = presence.alive()
    if alive:
        client.zadd(keys.SEEN, dict.fromkeys(alive, now_s))
    gone = client.zrangebyscore(keys.SEEN, "-inf", now_s - gone_after_s)
    forgotten = []
    for host_uuid in map(str, gone):
        if client.exists(keys.open_events(host_uuid), keys.outbox(host_uuid)):
            continue
        # A host that comes back after all hands the keys of its agent over again.
        client.delete(*own_keys(host_uuid))
        client.publish(keys.doorbell(host_uuid), JOINED)
        client.srem(keys.HOSTS, host_uuid)
        client.zrem(keys.SEEN, host_uuid)
        _log.info("host.forgotten", host=host_uuid)
        forgotten.append(host_uuid)
    return forgotten
