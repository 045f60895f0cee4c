"""Events on their way from the websockets into the ledger.

Between reading and Redis is a queue in memory, bounded by count and bytes, from which hosts are
served in fair turns. It is emptied in batches; while Redis is away the events wait in it. Pings
have a queue and a thread of their own, so that they wait for no other event. Events that no host
can run are refused here, with a reason.

The queue holds frames as bytes. Decoded JSON can need twenty times the memory of its text, so that
only the batch on its way to Redis is held decoded.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import redis

from bridge.errors import DecodeError
from bridge.inbound.decode import decode
from bridge.inbound.fairness import FairQueue
from bridge.settings import AgentKeys
from cowpoke import tracing
from cowpoke.events import Event
from cowpoke.ledger.intake import Arrival, IntakeLedger
from cowpoke.ledger.states import Accepted
from cowpoke.log import logger
from cowpoke.outcomes import Outcome, error
from cowpoke.routes import LANES, Lane

_log = logger(__name__)

BATCH = 100
#: A batch is decoded, sealed and written at once; beyond this many bytes of frames it ends.
BATCH_BYTES = 1024 * 1024
#: Pings have a few hundred bytes; so many wait for a Redis that is away.
PINGS_LIMIT = 5_000
PINGS_BYTES = 4 * 1024 * 1024
RETRY_FIRST_S = 0.1
RETRY_MOST_S = 2.0

#: Whether a worker of a host can run an event of a name, as far as its workers say.
KnowsEvent = Callable[[str, str], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Waiting:
    #: The frame; empty for a refusal that `refused` has all of.
    frame: bytes
    agent: str
    host_uuid: str
    received_s: float
    refused: Event | None = None
    refusal: Outcome | None = None
    #: From its arrival until it is in the ledger.
    span: tracing.Span = tracing.OFF

    def arrival(self, now_s: float) -> Arrival | None:
        """Return what the ledger needs to know, decoded now."""
        event = self.refused or decode(self.frame)
        if event is None:
            return None
        waited_ms = round((now_s - self.received_s) * 1000)
        return Arrival(
            event=event,
            agent=self.agent,
            host_uuid=self.host_uuid,
            lane=LANES.get(event.base_name, Lane.COMPUTE),
            remaining_ms=event.timeout_ms - waited_ms,
            refusal=self.refusal,
            trace=self.span.context,
        )


class Intake:
    """The queues in memory and the tasks that empty them."""

    def __init__(
        self, ledger: IntakeLedger, *, knows_event: KnowsEvent, limit: int, limit_bytes: int
    ) -> None:
        self._ledger = ledger
        self._knows_event = knows_event
        self._others: FairQueue[_Waiting] = FairQueue(limit=limit, limit_bytes=limit_bytes)
        self._pings: FairQueue[_Waiting] = FairQueue(limit=PINGS_LIMIT, limit_bytes=PINGS_BYTES)
        #: Frames and events by what became of them, for the log and the status.
        self.counts: Counter[str] = Counter()

    @property
    def memory_bytes(self) -> int:
        """Bytes of the frames in memory."""
        return self._others.bytes + self._pings.bytes

    async def take_frame(self, frame: str | bytes, agent: AgentKeys, host_uuid: str) -> bool:
        """Take a frame over; return whether cattle waits for an answer to it.

        Waits while the queue is full and holds events of this host.
        """
        # A socket with many frames in its buffer never waits: let other hosts' sockets have a turn.
        await asyncio.sleep(0)
        try:
            event = decode(frame)
        except DecodeError as problem:
            await self._refuse_unreadable(problem, agent, host_uuid)
            return problem.partial is not None
        if event is None:
            return False
        if event.base_name == "ping" and not event.reply_to:
            # cattle's heartbeat; a liveness ping has a replyTo.
            return False
        why_unknown = self._why_unknown(event, host_uuid)
        if why_unknown is not None:
            self.counts["unknown"] += 1
            if event.reply_to:
                refusal = error("event-unknown", why_unknown)
                await self._put_refusal(event, agent, host_uuid, refusal)
            else:
                _log.warning("event.unknown", event_id=event.id, event_name=event.name)
            return bool(event.reply_to)
        raw = frame.encode(errors="replace") if isinstance(frame, str) else frame
        queue = self._pings if event.base_name == "ping" else self._others
        wants_reply = bool(event.reply_to)
        waiting = _Waiting(
            frame=raw,
            agent=agent.access_key,
            host_uuid=host_uuid,
            received_s=time.monotonic(),
            span=_span(event, host_uuid),
        )
        # Each socket waits here while the queue is full: not with its decoded event in memory.
        del event
        await queue.put(host_uuid, waiting, len(raw))
        return wants_reply

    def _why_unknown(self, event: Event, host_uuid: str) -> str | None:
        """Why nobody can run the event; None when somebody can, or no worker lives now."""
        if event.base_name not in LANES:
            return f"cowpoke has no operation named {event.base_name}"
        if not self._knows_event(host_uuid, event.base_name):
            return f"no worker of this host has an operation named {event.base_name}; update them"
        return None

    async def _refuse_unreadable(
        self, problem: DecodeError, agent: AgentKeys, host_uuid: str
    ) -> None:
        self.counts["undecodable"] += 1
        _log.warning("frame.rejected", reason=problem.message)
        if problem.partial is not None:
            refusal = error("event-undecodable", problem.message)
            await self._put_refusal(problem.partial, agent, host_uuid, refusal)

    async def _put_refusal(
        self, event: Event, agent: AgentKeys, host_uuid: str, refusal: Outcome
    ) -> None:
        waiting = _Waiting(
            frame=b"",
            agent=agent.access_key,
            host_uuid=host_uuid,
            received_s=time.monotonic(),
            refused=event.model_copy(update={"data": {}}),
            refusal=refusal,
        )
        await self._others.put(host_uuid, waiting, len(refusal.message))

    async def run(self) -> None:
        """Empty the queues into the ledger until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._empty(self._pings, "pings"))
            group.create_task(self._empty(self._others, "events"))

    async def _empty(self, queue: FairQueue[_Waiting], name: str) -> None:
        # A thread of its own: in the shared pool it would wait behind calls about replies.
        thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        while True:
            taken = await queue.take(BATCH, BATCH_BYTES)
            batch = [waiting for waiting, _ in taken]
            # A batch that is under way is finished, also when the bridge is told to stop.
            await asyncio.shield(asyncio.create_task(self._record(batch, thread)))
            await queue.done(taken)
            # Nothing of it stays in memory while the queue is empty.
            del taken, batch

    async def flush(self) -> None:
        """Return when everything read so far is in the ledger."""
        await self._pings.join()
        await self._others.join()

    async def _record(self, batch: list[_Waiting], thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        delay_s = RETRY_FIRST_S
        while True:
            try:
                await loop.run_in_executor(thread, partial(self._record_once, batch))
            except redis.RedisError as problem:
                waiting = self._others.count + self._pings.count
                _log.warning("intake.blocked", reason=str(problem), events=waiting)
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, RETRY_MOST_S)
            else:
                return

    def _record_once(self, batch: list[_Waiting]) -> None:
        now_s = time.monotonic()
        arrivals = [one for waiting in batch if (one := waiting.arrival(now_s)) is not None]
        results = self._ledger.accept(arrivals)
        for arrival, result in zip(arrivals, results, strict=True):
            self._note(arrival, result)
        for waiting in batch:
            waiting.span.end()

    def _note(self, arrival: Arrival, result: Accepted | Exception) -> None:
        event, refusal = arrival.event, arrival.refusal
        if isinstance(result, Exception):
            self.counts["not-recorded"] += 1
            _log.error(
                "event.not_recorded",
                event_id=event.id,
                event_name=event.name,
                host=arrival.host_uuid,
                reason=str(result),
                advice="something else lies in a key of this host; cattle sends the event again",
            )
            return
        self.counts[result] += 1
        if refusal is not None:
            _log.info("event.refused", event_id=event.id, event_name=event.name, code=refusal.code)
            return
        level = _log.debug if event.base_name == "ping" else _log.info
        level(
            "event.accepted",
            event_id=event.id,
            event_name=event.name,
            resource=event.resource,
            result=result,
        )


def _span(event: Event, host_uuid: str) -> tracing.Span:
    """Begin the span of an event. Pings have none: there are many, and all are alike."""
    if event.base_name == "ping":
        return tracing.OFF
    return tracing.begin(
        "event.receive",
        event_id=event.id,
        event_name=event.base_name,
        resource=event.resource,
        host=host_uuid,
    )
