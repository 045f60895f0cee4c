"""Writes the figures of a lane to Redis, seldom: see `cowpoke.figures`.

A new state of the Engine is written at once, errors and pulls within `WRITE_EVERY_S`, plain counts
within `RENEW_EVERY_S`. A lane at rest only renews the key, by one command each `RENEW_EVERY_S`.
"""

import threading
import time
from collections.abc import Callable

import redis

from cowpoke import keys
from cowpoke.broker import answers
from cowpoke.figures import EngineState, LaneFigures, sealed_figures
from cowpoke.log import logger
from worker.process.runtime import Runtime

_log = logger(__name__)

WRITE_EVERY_S = 10.0
#: A third of what the key lives.
RENEW_EVERY_S = 30.0


class FiguresWriter(threading.Thread):
    """The figures of one process of a lane, and the thread that writes them."""

    def __init__(self, runtime: Runtime, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name="figures", daemon=True)
        self._runtime = runtime
        self._clock = clock
        self._sealer = runtime.keyring.host(runtime.identity.host_uuid)
        self._key = keys.figures(runtime.identity.host_uuid, runtime.worker_id)
        self._started_ms = time.time_ns() // 1_000_000
        self._engine: EngineState | None = None
        #: Set when what is wrong with the Engine changed, and at the end.
        self._wake = threading.Event()
        self._over = False
        self._written: LaneFigures | None = None
        self._written_s = float("-inf")

    def set_engine(self, state: EngineState) -> None:
        """Take what the lane that watches the Engine found; another state is written at once."""
        before, self._engine = self._engine, state
        if before is None or before.reachable != state.reachable or before.reason != state.reason:
            self._wake.set()

    def stop(self) -> None:
        """End the thread soon."""
        self._over = True
        self._wake.set()

    def run(self) -> None:
        """Write until stopped."""
        while not self._over:
            is_urgent = self._wake.is_set()
            self._wake.clear()
            try:
                self.write(is_urgent=is_urgent)
            except redis.RedisError as problem:
                # The supervisor logs an outage, once for all lanes.
                self._written = None
                _log.debug("figures.blocked", reason=str(problem))
            self._wake.wait(WRITE_EVERY_S)

    def figures(self) -> LaneFigures:
        """Return what the lane counts now."""
        counted = self._runtime.engine.figures
        return LaneFigures(
            lane=self._runtime.lane,
            started_ms=self._started_ms,
            engine=self._engine,
            calls=counted.calls,
            pulls=counted.pulls,
        )

    def write(self, *, is_urgent: bool = False) -> None:
        """Write what changed, or renew the key, if either is due.

        Errors: redis.RedisError.
        """
        figures, now_s = self.figures(), self._clock()
        is_due = now_s - self._written_s >= RENEW_EVERY_S
        is_new = self._written is None or _matters(self._written, figures)
        if not (is_due or is_new or is_urgent):
            return
        if figures == self._written and self._renew():
            self._written_s = now_s
            return
        self._write(figures)
        self._written, self._written_s = figures, now_s

    def _renew(self) -> bool:
        return bool(self._runtime.redis.pexpire(self._key, keys.FIGURES_TTL_MS))

    def _write(self, figures: LaneFigures) -> None:
        runtime = self._runtime
        text = sealed_figures(
            self._sealer,
            figures,
            host_uuid=runtime.identity.host_uuid,
            worker_id=runtime.worker_id,
        )
        for _ in range(2):
            with runtime.redis.pipeline(transaction=False) as pipe:
                pipe.hset(self._key, runtime.lane, text)
                pipe.pexpire(self._key, keys.FIGURES_TTL_MS)
                if not any(isinstance(answer, Exception) for answer in answers(pipe)):
                    return
            # Something else is in its place.
            runtime.redis.delete(self._key)


def _matters(before: LaneFigures, now: LaneFigures) -> bool:
    """Whether more changed than the number of calls without an error, as pings make them."""
    errors = {group: one.errors for group, one in before.calls.items() if one.errors}
    return (
        before.engine != now.engine
        or before.pulls != now.pulls
        or errors != {group: one.errors for group, one in now.calls.items() if one.errors}
    )
