"""A clock that counts only the time in which this process ran.

A frozen process or machine finds expired timers and unread sockets when it resumes. Judged by the
machine's clock, every peer has been silent for too long, although its frames have arrived. So
silence, absence and timeouts are judged by this clock: a pause does not count, and after a long
one every timeout begins anew.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self

from cowpoke.log import logger

_log = logger(__name__)

TICK_S = 0.2
#: A longer time between two ticks counts as one tick.
PAUSE_S = 1.0
#: After a longer pause all timeouts begin anew: TCP repeats what a frozen machine did not
#: acknowledge only after a while. Shorter ones also happen on a busy machine.
LONG_PAUSE_S = 5.0


class AwakeClock:
    """The clock of one event loop, which ticks while its `async with` block runs."""

    def __init__(self) -> None:
        self._now_s = 0.0
        #: Timeouts in force: when each expires, and its whole duration.
        self._limits: dict[asyncio.Timeout, tuple[float, float]] = {}
        self._ticking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._ticking = asyncio.create_task(self._tick_forever())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticking

    def now_s(self) -> float:
        """Return the seconds in which the process ran since the clock was made."""
        return self._now_s

    def advance(self, elapsed_s: float) -> None:
        """Count the time since the last tick, and expire the timeouts that are over."""
        self._now_s += elapsed_s if elapsed_s <= PAUSE_S else TICK_S
        if elapsed_s > LONG_PAUSE_S:
            _log.warning("bridge.paused", paused_s=round(elapsed_s, 1))
            for limit, (_, within_s) in self._limits.items():
                self._limits[limit] = (self._now_s + within_s, within_s)
        for limit, (expires_s, _) in tuple(self._limits.items()):
            if expires_s <= self._now_s:
                del self._limits[limit]
                limit.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def timeout(self, within_s: float) -> AsyncIterator[None]:
        """Cancel the block after this many seconds of the clock, as `asyncio.timeout` does.

        Errors: TimeoutError.
        """
        async with asyncio.timeout(None) as limit:
            self._limits[limit] = (self._now_s + within_s, within_s)
            try:
                yield
            finally:
                self._limits.pop(limit, None)

    async def _tick_forever(self) -> None:
        loop = asyncio.get_running_loop()
        last_s = loop.time()
        while True:
            await asyncio.sleep(TICK_S)
            now_s = loop.time()
            self.advance(now_s - last_s)
            last_s = now_s
