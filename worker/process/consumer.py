"""Celery's consumer, with two changes that a host needs.

It comes back quickly when Redis does: stock Celery waits 2, 4, 6 ... 30 s between its tries, so a
host could stand idle half a minute after an outage. And it is watched: a consumer that sits beside
a filled queue with free slots and takes nothing has lost its connection without noticing.
"""

import time
from typing import Any

import redis
from celery.worker import state
from celery.worker.consumer import Consumer

from cowpoke.log import logger
from worker.process.transport import takes_messages

_log = logger(__name__)

RECONNECT_FIRST_S = 0.2
RECONNECT_MOST_S = 1.0
#: Longer than any hiccup of the loop, shorter than cattle's patience.
STUCK_AFTER_S = 15.0


class QuickConsumer(Consumer):  # type: ignore[misc]  # celery has no types
    """A consumer that is back within a second of Redis."""

    def ensure_connected(self, conn: Any) -> Any:  # noqa: ANN401 -- kombu has no types
        """Connect, trying for ever at short intervals."""

        def waiting(problem: Exception, interval_s: float) -> None:
            _log.warning("broker.unavailable", reason=str(problem), retry_in_s=interval_s)

        return conn.ensure_connection(
            waiting,
            self.app.conf.broker_connection_max_retries,
            interval_start=RECONNECT_FIRST_S,
            interval_step=RECONNECT_FIRST_S,
            interval_max=RECONNECT_MOST_S,
        )


class Watch:
    """Tells whether this process leaves its queue lying."""

    def __init__(
        self, client: redis.Redis, queue: str, slots: int, *, stuck_after_s: float = STUCK_AFTER_S
    ) -> None:
        self._redis = client
        self._stuck_after_s = stuck_after_s
        self._queue = queue
        self._slots = slots
        self._oldest: Any = None
        self._since_s = time.monotonic()

    def start_anew(self) -> None:
        """Forget what was seen: nothing could be taken meanwhile."""
        self._oldest = None

    @property
    def is_waiting(self) -> bool:
        """Whether a message was in the queue at the last look."""
        return self._oldest is not None

    def is_stuck(self) -> bool:
        """Whether the oldest message has not moved for long although slots are free."""
        if takes_messages():
            # Redis need not be asked, as by every idle lane.
            self._oldest = None
            return False
        oldest = self._redis.lindex(self._queue, -1)
        now_s = time.monotonic()
        # A stopping process leaves its queue to others.
        busy = state.should_stop is not None or len(state.reserved_requests) >= self._slots
        if oldest is None or oldest != self._oldest or busy:
            self._oldest, self._since_s = oldest, now_s
        return now_s - self._since_s > self._stuck_after_s
