"""Moves outcomes from the outboxes of the hosts to the streams that all bridges read."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import redis

from bridge.doorbell import Announcements
from cowpoke.broker import concerns_one_key
from cowpoke.ledger.outbox import Outboxes
from cowpoke.log import logger

_log = logger(__name__)

#: Every outbox is looked at this often, in case an announcement was lost.
LOOK_EVERY_S = 10.0
_RETRY_S = 0.5


async def collect_forever(outboxes: Outboxes, announced: Announcements) -> None:
    """Collect until cancelled.

    A host with many outcomes has one turn, and then every other host that waits has one.
    """
    # A thread of its own: an outcome must not wait behind other calls in the shared pool.
    thread = ThreadPoolExecutor(1, thread_name_prefix="outboxes")
    loop = asyncio.get_running_loop()
    looked_s = float("-inf")
    waiting: set[str] = set()
    while True:
        is_due = loop.time() - looked_s >= LOOK_EVERY_S
        within_s = 0.0 if waiting or is_due else LOOK_EVERY_S
        hosts, missed = await announced.take(within_s)
        waiting |= hosts
        try:
            if missed or is_due:
                waiting |= set(await loop.run_in_executor(thread, outboxes.filled))
                looked_s = loop.time()
            waiting = await loop.run_in_executor(thread, _collect, outboxes, sorted(waiting))
        except redis.RedisError as problem:
            announced.mark_missed()
            _log.debug("outboxes.blocked", reason=str(problem))
            await asyncio.sleep(_RETRY_S)


def _collect(outboxes: Outboxes, hosts: list[str]) -> set[str]:
    """The hosts that have more."""
    more = set()
    for host_uuid in hosts:
        try:
            if outboxes.collect(host_uuid):
                more.add(host_uuid)
        except redis.ResponseError as problem:
            if not concerns_one_key(problem):
                raise
            # Something of this host cannot be read: the other hosts go on.
            _log.error("host.unreadable", host=host_uuid, reason=str(problem))
    return more
