"""The one reading of Redis that all viewers of the page and all scrapes share.

Redis is read when somebody asks, at most every `EVERY_S`, and less often where a reading takes
long: with 10,000 hosts it costs about a second of this process, and events have the first right.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import redis

from cowpoke.history import FinishedEvent
from cowpoke.log import logger
from cowpoke.overview.views import Overview

_log = logger(__name__)

EVERY_S = 2.0
#: A reading that takes 1 s is made every 10 s at most.
_REST = 9.0
#: How long somebody waits for a reading; then the last one is shown, and that it is old.
WITHIN_S = 5.0
#: A reading that lasts longer than that is no answer of Redis.
STALE_S = 60.0
#: Finished events that are shown.
RECENT = 100

Read = Callable[[], tuple[Overview, list[FinishedEvent]]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read last."""

    #: None before the first reading.
    overview: Overview | None = None
    #: The newest first.
    recent: tuple[FinishedEvent, ...] = ()
    #: When it was read, in ms since 1970 by the clock of this machine.
    at_ms: int = 0
    #: Why there is nothing newer; empty when there is.
    trouble: str = ""


class Watched:
    """Reads Redis for many. Used in the event loop only."""

    def __init__(self, read: Read) -> None:
        """Take the function that reads, in a thread; it raises redis.RedisError."""
        self._read = read
        self._seen = Seen(trouble="Redis was not read yet")
        self._reading: asyncio.Task[None] | None = None
        self._next_s = float("-inf")

    async def latest(self) -> Seen:
        """Return what is known, read now if the last reading is old."""
        if self._reading is None and asyncio.get_running_loop().time() >= self._next_s:
            self._reading = asyncio.create_task(self._look())
        if self._reading is not None:
            # A waiter that goes away cancels nothing for the others.
            await asyncio.wait([self._reading], timeout=WITHIN_S)
        if self._reading is None or self._is_fresh():
            return self._seen
        return replace(self._seen, trouble=f"Redis has not answered for {WITHIN_S:g} s")

    def _is_fresh(self) -> bool:
        return time.time() - self._seen.at_ms / 1000 < STALE_S

    async def until_due(self) -> None:
        """Wait until `latest` would read again."""
        await asyncio.sleep(max(self._next_s - asyncio.get_running_loop().time(), 0.1))

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        rest_s = 0.0
        try:
            overview, recent = await asyncio.to_thread(self._read)
        except redis.RedisError as problem:
            # The page keeps the last hosts: an outage is when people look at it.
            trouble = str(problem) or type(problem).__name__
            self._seen = replace(self._seen, trouble=trouble)
            _log.debug("overview.not_read", reason=trouble)
        else:
            self._seen = Seen(overview, tuple(recent[:RECENT]), round(time.time() * 1000))
            rest_s = (loop.time() - began_s) * _REST
        finally:
            self._next_s = max(began_s + EVERY_S, loop.time() + rest_s)
            self._reading = None
