"""The one reading of Redis that all viewers of the page and all scrapes share.

Redis is read on demand, at most every `EVERY_S`, and less often if a reading takes long: with
10,000 hosts it costs about a second of this process, and events have priority.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import redis

from cowpoke.history import FinishedEvent
from cowpoke.log import logger
from cowpoke.overview.conditions import Problem, problem
from cowpoke.overview.trouble import trouble_of
from cowpoke.overview.views import Overview

_log = logger(__name__)

EVERY_S = 2.0
#: A reading that takes 1 s of the processor is made every 10 s at most.
_REST = 9.0
#: Longest wait for a reading; after it the last reading is returned, marked as old.
WITHIN_S = 3.0
#: How long callers get the error of a failed reading without waiting for the next one.
FAILED_FOR_S = 10.0
#: A reading that lasts longer than that is no answer of Redis.
STALE_S = 60.0
#: Finished events that are shown.
RECENT = 100


def _silence(sentence: str) -> Problem:
    return problem("redis-down", "redis", sentence)


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
    #: Why there is nothing newer; None when there is.
    trouble: Problem | None = None


class Watched:
    """Reads Redis for many. Used in the event loop only."""

    def __init__(self, read: Read) -> None:
        """Take the function that reads, in a thread; it raises redis.RedisError."""
        self._read = read
        self._seen = Seen(trouble=_silence("Redis was not read yet"))
        self._reading: asyncio.Task[None] | None = None
        #: The reading that a caller has already waited for until the time limit.
        self._late: asyncio.Task[None] | None = None
        #: When the last reading failed; long ago if it did not.
        self._failed_s = float("-inf")
        self._next_s = float("-inf")

    async def latest(self) -> Seen:
        """Return what is known, read now if the last reading is old."""
        if self._reading is None and asyncio.get_running_loop().time() >= self._next_s:
            self._reading = asyncio.create_task(self._look())
        # In an outage one caller waits; the others get the error at once.
        has_failed = asyncio.get_running_loop().time() - self._failed_s < FAILED_FOR_S
        if self._reading is not None and self._reading is not self._late and not has_failed:
            # A waiter that goes away cancels nothing for the others.
            await asyncio.wait([self._reading], timeout=WITHIN_S)
            self._late = self._reading
        if self._reading is None or has_failed or self._is_fresh():
            return self._seen
        return replace(self._seen, trouble=_silence(f"Redis has not answered for {WITHIN_S:g} s"))

    def _is_fresh(self) -> bool:
        return time.time() - self._seen.at_ms / 1000 < STALE_S

    def _fail(self, trouble: Problem) -> None:
        # The page keeps the last hosts: an outage is when people look at it.
        self._seen = replace(self._seen, trouble=trouble)
        self._failed_s = asyncio.get_running_loop().time()

    async def until_due(self) -> None:
        """Wait until `latest` would read again."""
        await asyncio.sleep(max(self._next_s - asyncio.get_running_loop().time(), 0.1))

    def _timed(self) -> tuple[Overview, list[FinishedEvent], float]:
        """Read, and measure what it cost; waiting for Redis costs nothing."""
        began_s = time.thread_time()
        overview, recent = self._read()
        return overview, recent, time.thread_time() - began_s

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        rest_s = 0.0
        try:
            overview, recent, used_s = await asyncio.to_thread(self._timed)
        except redis.RedisError as error:
            trouble = trouble_of(error)
            self._fail(trouble)
            _log.debug("overview.not_read", reason=trouble.message)
        except Exception as error:
            # A defect: what was read before must not look like what is true now.
            self._fail(_silence(f"what Redis answers cannot be read: {type(error).__name__}"))
            raise
        else:
            self._seen = Seen(overview, tuple(recent[:RECENT]), round(time.time() * 1000))
            self._failed_s = float("-inf")
            rest_s = used_s * _REST
        finally:
            self._next_s = max(began_s + EVERY_S, loop.time() + rest_s)
            self._reading = None
