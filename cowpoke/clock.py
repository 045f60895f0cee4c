"""The Redis server's clock, the one that all programs share, and what it was before it jumped.

The server's clock may jump, or another server may take over. A time that was stored before the jump
cannot be compared with the new clock. So a process remembers for a while by how much each clock
differed from its own monotonic clock, and something is late only when every remembered clock says
so.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import redis

from cowpoke.log import logger

_log = logger(__name__)

MEASURE_EVERY_S = 1.0
#: A larger difference between two measurements is a jump; a smaller one is drift or a slow answer.
JUMP_MS = 2_000
#: A measurement that took longer says little about the clock.
SLOW_S = 1.0
#: Longer than cattle waits for an event.
REMEMBERED_S = 15 * 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Offset:
    """A clock of the server's, as its difference to the monotonic clock of this process."""

    offset_ms: float
    measured_s: float


class Clock:
    """The clock of one Redis. Thread-safe."""

    def __init__(self, client: "redis.Redis") -> None:
        self._redis = client
        self._lock = threading.Lock()
        #: Newest first.
        self._offsets: list[_Offset] = []
        self._tried_s = float("-inf")
        self._jumped_s = float("-inf")

    def now_ms(self) -> int:
        """Return the time there, in ms since 1970, measured within the last second.

        Errors: redis.RedisError.
        """
        return self.readings_ms()[0]

    def readings_ms(self) -> list[int]:
        """Return the time now by the server's clock, then by each clock it had before a jump.

        Errors: redis.RedisError.
        """
        self.measure_if_older(MEASURE_EVERY_S)
        return self.known_ms()

    def measure_if_older(self, seconds: float) -> None:
        """Ask the server if it was not asked for so long.

        Errors: redis.RedisError.
        """
        if time.monotonic() - self._tried_s > seconds or not self._offsets:
            self.measure()

    def known_ms(self) -> list[int]:
        """Return the same without asking the server; empty before the first measurement."""
        with self._lock:
            return [round(time.monotonic() * 1000 + one.offset_ms) for one in self._offsets]

    def jumped_within(self, seconds: float) -> bool:
        """Whether a jump was noticed in the last so many seconds."""
        return time.monotonic() - self._jumped_s < seconds

    def measure(self) -> None:
        """Ask the server now.

        Errors: redis.RedisError.
        """
        before_s = time.monotonic()
        seconds, microseconds = self._redis.time()
        after_s = time.monotonic()
        there_ms = int(seconds) * 1000 + int(microseconds) / 1000
        offset_ms = there_ms - (before_s + after_s) / 2 * 1000
        with self._lock:
            self._tried_s = after_s
            jump_ms = 0.0
            if after_s - before_s <= SLOW_S or not self._offsets:
                jump_ms = self._remember(offset_ms, after_s)
        # Without the lock: who keeps log lines asks this clock for their time.
        if jump_ms:
            _log.warning("redis.clock_jumped", difference_s=round(jump_ms / 1000, 1))

    def _remember(self, offset_ms: float, now_s: float) -> float:
        """Keep a difference to the server's clock; by how many ms that clock jumped, else 0."""
        newest = _Offset(offset_ms=offset_ms, measured_s=now_s)
        older = [one for one in self._offsets if now_s - one.measured_s < REMEMBERED_S]
        # A clock that jumps forth and back is one of those known already.
        self._offsets = [newest, *(one for one in older if not _same(one, newest))]
        if not older or _same(older[0], newest):
            return 0.0
        self._jumped_s = now_s
        return offset_ms - older[0].offset_ms


def _same(one: _Offset, other: _Offset) -> bool:
    return abs(one.offset_ms - other.offset_ms) <= JUMP_MS


def waited_ms(since_ms: int, readings_ms: Sequence[int]) -> int:
    """Return how long ago a stored time was, by the clock that it was most likely taken from.

    That is the clock which shows the least time since then; 0 when all show a time before it.
    """
    return min((now_ms - since_ms for now_ms in readings_ms if now_ms >= since_ms), default=0)
