"""One process of the host follows the Engine's events, for the reports and for whoever listens.

The holder of the host's lock does it. When its process is killed, the kernel frees the lock and
another worker of the host takes over, from the position in the file on.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence

from cowpoke.container_events import STATUSES
from cowpoke.log import logger
from worker.container_events.position import Position
from worker.container_events.reporting import Reporter
from worker.container_events.writing import ContainerEventWriter
from worker.engine.client import Engine
from worker.engine.event_stream import NS, EngineEvent, container_events
from worker.errors import EngineError, EngineUnavailableError, WorkerError
from worker.process.runtime import Runtime

_log = logger(__name__)

#: How often a process without the lock tries to get it.
TAKE_OVER_EVERY_S = 0.5
RETRY_FIRST_S = 0.1
RETRY_MOST_S = 5.0
#: A stream that lasted this long was a good one.
STEADY_AFTER_S = 1.0

#: Gets each new event and its age in s, in the Engine's order. It must return at once.
Listener = Callable[[EngineEvent, float], None]


class ContainerEvents(threading.Thread):
    """Follows the Engine's events in one process of the host; runs in one lane of each worker."""

    def __init__(self, runtime: Runtime, listeners: Sequence[Listener] = ()) -> None:
        super().__init__(name="container-events", daemon=True)
        self._runtime = runtime
        self._listeners = tuple(listeners)
        # Of its own: a stream occupies a connection as long as it lasts.
        self._engine = Engine(runtime.settings)
        self._retry_s = RETRY_FIRST_S
        #: The reason for which the events cannot be followed, as it was logged.
        self._refusal: str | None = None
        self._engine_offset_s = 0.0

    def run(self) -> None:
        """Wait for the lock of the host, then follow until the process ends."""
        name = f"container-events:{self._runtime.identity.host_uuid}"
        while True:
            try:
                with self._runtime.locks.try_hold(name) as is_held:
                    if is_held:
                        self._follow_forever()
            except OSError as error:
                # No free file handle, or a lock folder that is not there for a moment.
                _log.warning("container_events.not_followed", reason=str(error))
            time.sleep(TAKE_OVER_EVERY_S)

    def _follow_forever(self) -> None:
        runtime = self._runtime
        host_uuid = runtime.identity.host_uuid
        reporter = Reporter(
            self._engine,
            runtime.ledger,
            ContainerEventWriter(runtime.redis, host_uuid),
            Position(runtime.settings.state_dir, now_ns=time.time_ns()),
            host_uuid=host_uuid,
        )
        reporter.start()
        _log.info("container_events.holder_changed", boot=runtime.boot_id)
        while True:
            opened_s = time.monotonic()
            try:
                self._follow(reporter)
            except EngineUnavailableError as error:
                # `EngineWatch` logs an outage; a silent stream is opened again without a word.
                _log.debug("container_events.stream_ended", reason=error.message)
            except EngineError as error:
                self._note_refusal(error)
            except Exception:  # noqa: BLE001 -- the reporter goes on, with another stream
                _log.exception("container_events.crashed")
            self._pause(time.monotonic() - opened_s)

    def _follow(self, reporter: Reporter) -> None:
        """Hand on the events of one stream.

        Errors: EngineError when it cannot be opened, or ends badly.
        """
        since_ns = reporter.since_ns(self._now_ns())
        with container_events(self._engine, sorted(STATUSES), since_ns=since_ns) as stream:
            self._engine_offset_s = stream.engine_offset_s
            self._note_refusal(None)
            for event in stream:
                age_s = max((self._now_ns() - event.time_ns) / NS, 0)
                if reporter.take(event, age_s):
                    for listener in self._listeners:
                        listener(event, age_s)

    def _now_ns(self) -> int:
        """Return the Engine's time, in ns."""
        return time.time_ns() + int(self._engine_offset_s * NS)

    def _pause(self, lasted_s: float) -> None:
        """Wait before the next stream, longer after each one that did not last."""
        if lasted_s >= STEADY_AFTER_S:
            self._retry_s = RETRY_FIRST_S
            return
        time.sleep(self._retry_s * random.uniform(0.8, 1.2))  # noqa: S311 -- spreads load
        self._retry_s = min(self._retry_s * 2, RETRY_MOST_S)

    def _note_refusal(self, error: WorkerError | None) -> None:
        reason = None if error is None else error.message
        if reason == self._refusal:
            return
        self._refusal = reason
        if reason is None:
            _log.info("container_events.followed")
        else:
            _log.warning(
                "container_events.refused",
                reason=reason,
                advice="allow GET /events at the Engine's address, or set "
                "WORKER_CONTAINER_EVENTS=false; pings still report all containers, but later",
            )
