"""The Redis server's clock, the one all programs share, without asking it every time."""

import time

import redis

#: Clocks drift by far less in between.
ASK_EVERY_S = 60.0


class Clock:
    """The clock of one Redis, as an offset to this process's own."""

    def __init__(self, client: "redis.Redis") -> None:
        self._redis = client
        self._offset_ms = 0.0
        self._asked_s = float("-inf")

    def now_ms(self) -> int:
        """The time there, in ms since 1970.

        Errors: redis.RedisError, once a minute at most.
        """
        if time.monotonic() - self._asked_s > ASK_EVERY_S:
            seconds, microseconds = self._redis.time()
            self._offset_ms = (
                int(seconds) * 1000 + int(microseconds) / 1000 - time.monotonic() * 1000
            )
            self._asked_s = time.monotonic()
        return round(time.monotonic() * 1000 + self._offset_ms)
