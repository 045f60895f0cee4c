"""Events on their way from the websockets into the ledger.

Between reading and Redis lies one bounded queue in memory; it is emptied in batches, and Redis's
absence is waited for. What no host can do is refused here with a reason.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

import redis

from bridge.decode import decode
from bridge.errors import DecodeError
from bridge.settings import AgentKeys
from worker.contract.events import Event
from worker.contract.ledger import Accepted, Arrival, Ledger
from worker.contract.outcomes import Outcome, error
from worker.contract.routes import LANES
from worker.log import logger

_log = logger(__name__)

BATCH = 100
RETRY_FIRST_S = 0.1
RETRY_MOST_S = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Waiting:
    event: Event
    agent: str
    host_uuid: str
    received_s: float
    refusal: Outcome | None = None


class Intake:
    """The bounded queue in memory and the task that empties it."""

    def __init__(self, ledger: Ledger, limit: int) -> None:
        self._ledger = ledger
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(limit)
        #: Frames and events by what became of them, for the log and the status.
        self.counts: Counter[str] = Counter()

    async def take_frame(self, frame: str | bytes, agent: AgentKeys, host_uuid: str) -> bool:
        """Hand a frame over, and say whether cattle waits for an answer to it.

        Waits only while the queue in memory is full.
        """
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
        refusal = None
        if event.base_name not in LANES:
            self.counts["unknown"] += 1
            if not event.reply_to:
                _log.warning("event.unknown", event_id=event.id, event_name=event.name)
                return False
            refusal = error("event-unknown", f"this host knows no event named {event.base_name}")
        await self._put(event, agent, host_uuid, refusal)
        return bool(event.reply_to)

    async def _refuse_unreadable(
        self, problem: DecodeError, agent: AgentKeys, host_uuid: str
    ) -> None:
        self.counts["undecodable"] += 1
        _log.warning("event.undecodable", reason=problem.message)
        if problem.partial is not None:
            refusal = error("event-undecodable", problem.message)
            await self._put(problem.partial, agent, host_uuid, refusal)

    async def _put(
        self, event: Event, agent: AgentKeys, host_uuid: str, refusal: Outcome | None
    ) -> None:
        await self._queue.put(
            _Waiting(
                event=event,
                agent=agent.access_key,
                host_uuid=host_uuid,
                received_s=time.monotonic(),
                refusal=refusal,
            )
        )

    async def run(self) -> None:
        """Empty the queue into the ledger until cancelled."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            # A batch that is under way is finished, also when the bridge is told to stop.
            await asyncio.shield(asyncio.create_task(self._record(batch)))
            for _ in batch:
                self._queue.task_done()

    async def flush(self) -> None:
        """Return when everything read so far lies in the ledger."""
        await self._queue.join()

    async def _record(self, batch: list[_Waiting]) -> None:
        delay_s = RETRY_FIRST_S
        while True:
            try:
                await asyncio.to_thread(self._record_once, batch)
            except redis.RedisError as problem:
                _log.warning("intake.waits", reason=str(problem), events=self._queue.qsize())
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, RETRY_MOST_S)
            else:
                return

    def _record_once(self, batch: list[_Waiting]) -> None:
        now_s = time.monotonic()
        for waiting in batch:
            if waiting.refusal is not None:
                self._ledger.refuse(waiting.event, waiting.agent, waiting.refusal)
                self.counts[Accepted.REFUSED] += 1
                _log.info(
                    "event.refused",
                    event_id=waiting.event.id,
                    event_name=waiting.event.name,
                    code=waiting.refusal.code,
                )
        wanted = [waiting for waiting in batch if waiting.refusal is None]
        results = self._ledger.accept(
            [
                Arrival(
                    event=waiting.event,
                    agent=waiting.agent,
                    host_uuid=waiting.host_uuid,
                    lane=LANES[waiting.event.base_name],
                    remaining_ms=waiting.event.timeout_ms
                    - round((now_s - waiting.received_s) * 1000),
                )
                for waiting in wanted
            ]
        )
        for waiting, result in zip(wanted, results, strict=True):
            self.counts[result] += 1
            level = _log.debug if waiting.event.base_name == "ping" else _log.info
            level(
                "event.accepted",
                event_id=waiting.event.id,
                event_name=waiting.event.name,
                resource=waiting.event.resource,
                result=result,
            )
