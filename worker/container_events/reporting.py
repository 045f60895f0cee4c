"""Report container events: a fresh inspect, sealed, into the stream of this host.

Several threads do it, each with one container at a time: an Engine that hangs on one container
holds up no other.
"""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import redis

from cowpoke.container_events import STALE_AFTER_S, ContainerEvent, sealed_container_event
from cowpoke.ledger.execution import WorkerLedger
from cowpoke.log import logger
from worker.container_events.coalescing import Coalescer, Noted
from worker.container_events.position import Position
from worker.container_events.writing import ContainerEventWriter
from worker.engine import containers
from worker.engine.client import Engine
from worker.engine.event_stream import NS, EngineEvent
from worker.errors import WorkerError
from worker.inspected import for_cattle

_log = logger(__name__)

THREADS = 4
#: An Engine that hangs on a container may hang for good; cattle can do without an inspect.
INSPECT_TIMEOUT_S = 5.0
#: What cattle reads of a container that is gone. Not null: cattle would ask for its inspect.
#: Source: the Go agent's send_to_rancher_handler.go.
GONE: Mapping[str, Any] = MappingProxyType(
    {"Mounts": None, "Config": None, "NetworkSettings": None}
)
_DESTROY = "destroy"
#: How often a thread without work looks for some; it is woken when there is.
_LOOK_EVERY_S = 60.0
_REDIS_RETRY_S = 0.5


class Reporter:
    """The events that wait for their report, and the threads that report them."""

    def __init__(
        self,
        engine: Engine,
        ledger: WorkerLedger,
        writer: ContainerEventWriter,
        position: Position,
        *,
        host_uuid: str,
    ) -> None:
        self._engine = engine
        self._ledger = ledger
        self._writer = writer
        self._host_uuid = host_uuid
        #: Guards `position` and the coalescer; notified when there may be work.
        self._changed = threading.Condition()
        self._position = position
        self._coalescer = Coalescer(time.monotonic())
        self._is_redis_away = False

    def start(self) -> None:
        """Begin to report."""
        for number in range(THREADS):
            name = f"container-events-{number}"
            threading.Thread(target=self._report_forever, name=name, daemon=True).start()

    def since_ns(self, now_ns: int) -> int:
        """Return from when on the Engine is to give events."""
        with self._changed:
            return self._position.since_ns(now_ns)

    def take(self, event: EngineEvent, age_s: float) -> bool:
        """Let an event be reported, unless it is known or stale; whether it was new."""
        now_s = time.monotonic()
        with self._changed:
            if not self._position.note(event):
                return False
            if age_s > STALE_AFTER_S:
                self._coalescer.drop(1)
            else:
                self._coalescer.add(Noted(event=event, happened_s=now_s - age_s), now_s)
            self._changed.notify()
        return True

    def _report_forever(self) -> None:
        while True:
            taken = self._next()
            try:
                self._report(taken)
            except Exception:  # noqa: BLE001 -- the outermost loop of this thread
                _log.exception("container_events.crashed", container_id=_id_of(taken)[:12])
                self._finish(taken, ())

    def _next(self) -> tuple[Noted, ...]:
        """Wait for the events of one container; keep the file up to date meanwhile."""
        with self._changed:
            while True:
                now_s = time.monotonic()
                save_in_s = self._position.save_due_s(now_s)
                if save_in_s == 0:
                    self._position.save(self._coalescer.pending(), now_s)
                    save_in_s = None
                if taken := self._coalescer.take(now_s):
                    # Another thread may have the next container.
                    self._changed.notify()
                    return taken
                wait_s = min(self._coalescer.wait_s(now_s), _LOOK_EVERY_S)
                self._changed.wait(wait_s if save_in_s is None else min(wait_s, save_in_s))

    def _finish(self, taken: tuple[Noted, ...], left: tuple[Noted, ...]) -> None:
        now_s = time.monotonic()
        with self._changed:
            if left:
                self._coalescer.give_back(_id_of(taken), left, now_s)
            else:
                self._coalescer.done(_id_of(taken), now_s)
            self._position.touch()
            self._changed.notify()

    def _report(self, taken: tuple[Noted, ...]) -> None:
        now_s = time.monotonic()
        fresh = tuple(one for one in taken if now_s - one.happened_s <= STALE_AFTER_S)
        with self._changed:
            self._coalescer.drop(len(taken) - len(fresh))
        inspect = self._inspect(fresh[-1].event) if fresh else None
        for position, noted in enumerate(fresh):
            try:
                self._write(noted, inspect)
            except redis.RedisError as problem:
                self._note_redis(problem)
                self._finish(taken, fresh[position:])
                # This thread alone rests: the coalescer lets the container wait by itself.
                time.sleep(_REDIS_RETRY_S)
                return
            self._note_redis(None)
        self._finish(taken, ())

    def _inspect(self, event: EngineEvent) -> Mapping[str, Any] | None:
        """Return how the container is now, for cattle; None when the Engine does not answer."""
        if event.action == _DESTROY:
            return GONE
        with suppress(WorkerError):
            found = containers.inspect(
                self._engine, event.container_id, timeout_s=INSPECT_TIMEOUT_S
            )
            return for_cattle(found.inspect) if found is not None and found.inspect else GONE
        return None

    def _write(self, noted: Noted, inspect: Mapping[str, Any] | None) -> None:
        """Errors: redis.RedisError."""
        event = noted.event
        now_ms = self._ledger.clock.now_ms()
        with self._changed:
            counts = self._coalescer.take_counts()
        age_ms = round((time.monotonic() - noted.happened_s) * 1000)
        report = ContainerEvent(
            host_uuid=self._host_uuid,
            container_id=event.container_id,
            status=event.action,
            image=event.image,
            time_s=event.time_ns // NS,
            occurred_ms=now_ms - age_ms,
            # Only the last event removes the container.
            inspect=None if inspect is None else dict(inspect),
            coalesced=counts[0],
            dropped=counts[1],
        )
        try:
            # The key gate replaces the sealer while keys are changed.
            self._writer.add(sealed_container_event(self._ledger.sealer, report))
        except redis.RedisError:
            with self._changed:
                self._coalescer.put_back_counts(counts)
            raise
        _log.debug(
            "container_event.reported", container_id=event.container_id[:12], status=event.action
        )

    def _note_redis(self, problem: redis.RedisError | None) -> None:
        """Log the first failure of an outage; the supervisor logs the outage itself."""
        if problem is not None and not self._is_redis_away:
            _log.warning("container_events.delayed", reason=str(problem))
        self._is_redis_away = problem is not None


def _id_of(taken: tuple[Noted, ...]) -> str:
    return taken[0].event.container_id
