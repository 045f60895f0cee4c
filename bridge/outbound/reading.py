"""Reads one stream of outcomes, hands each to the sender, and removes it when it was sent.

An outcome leaves the stream only after cattle took its reply (or refused it for good). So what is
on its way when a bridge dies is in Redis still, and another bridge claims it. In memory are at most
`MOST_IN_HAND` outcomes and a bounded number of bytes, whatever waits in the stream.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import redis

from bridge.agents.registry import Agents
from bridge.errors import NoAgentError
from bridge.outbound.letters import UnreadableOutcomeError
from bridge.outbound.rarely import Rarely
from bridge.outbound.refused_keys import RefusedKeys
from bridge.outbound.unreadable import Unreadable
from cowpoke.clock import Clock
from cowpoke.ledger.outcome_stream import READ_BYTES, Delivery, OutcomeStream
from cowpoke.liveness import LEASE_TTL_MS
from cowpoke.log import logger
from cowpoke.outcomes import Kind

_log = logger(__name__)

MOST_IN_HAND = 1000
READ_AT_ONCE = 200
#: An idle bridge also takes this long to stop.
READ_BLOCK_MS = 500
CLAIM_AT_ONCE = 200
#: How long a bridge that stops waits for its last read: a frozen Redis may never answer it.
LAST_READ_S = 2.0
RENEW_EVERY_S = 1.0
#: A live bridge without a lease has renewed it by then.
PATIENCE_S = LEASE_TTL_MS / 1000
_RESTING_POLL_S = 0.1
#: How often a bridge without any agent looks for replies that nobody waits for any more. All others
#: are left to bridges that can send them.
WITHOUT_AGENTS_EVERY_S = 30.0

#: Sends an outcome's reply; returns when it may leave the stream.
Deliver = Callable[[Delivery], Awaitable[None]]


class OutcomeReader:
    """What this bridge has in hand of one stream."""

    def __init__(  # noqa: PLR0913 -- wired in one place
        self,
        stream: OutcomeStream,
        deliver: Deliver,
        *,
        clock: Clock,
        pause: RefusedKeys,
        agents: Agents,
        limit_bytes: int,
        counts: Counter[str],
    ) -> None:
        self.stream = stream
        self._clock = clock
        self._pause = pause
        self._agents = agents
        self._reading, self._claiming = Rarely(), Rarely()
        self._deliver = deliver
        self._limit_bytes = limit_bytes
        self._counts = counts
        self._draining = False
        #: Nothing is taken any more, also not what a call under way brings.
        self._drained = False
        self._last_read = asyncio.Event()
        #: The last delivery in hand of each event; the next one goes after it.
        self._last: dict[str, asyncio.Task[None]] = {}
        self._in_hand: set[asyncio.Task[None]] = set()
        #: Bytes of the outcomes in hand.
        self.bytes = 0
        #: Outcomes that are in hand or done and still in the stream.
        self._ids: set[str] = set()
        #: Until then other bridges may have lost their leases without being dead.
        self._patient_until_s = 0.0
        self._unreadable = Unreadable()
        self._done_ids: asyncio.Queue[str] = asyncio.Queue()
        self._forgetting = asyncio.Lock()
        # A blocking read must not wait behind other calls in the shared pool, nor they behind it.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outcomes")

    async def run(self) -> None:
        """Read, hand on and forget until cancelled."""
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read_forever())
            reading.add_done_callback(lambda _: self._last_read.set())
            group.create_task(self._live_forever())
            group.create_task(self._forget_forever())

    async def drain(self) -> None:
        """Read no more, and return when everything in hand is sent; the caller bounds the time.

        What the read under way brings is sent too, and nothing after it: a bridge that leaves
        before it has noted what it sent lets another one send it again.
        """
        self._draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_READ_S):
                await self._last_read.wait()
        while True:
            if self._in_hand:
                await asyncio.wait(self._in_hand)
            await self._forget_once()
            if not self._in_hand and self._done_ids.empty():
                self._drained = True
                return

    async def close(self) -> None:
        """Send nothing more, and note what was sent: other bridges send the rest."""
        self._drained = True
        await self.give_back()
        await self._forget_once()

    async def give_back(self) -> int:
        """Send nothing more of what is in hand, and return how many outcomes that were."""
        held = tuple(self._in_hand)
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        return len(held)

    def _has_room(self) -> bool:
        most = 1 if self._pause.probing else MOST_IN_HAND
        # An outcome larger than the limit is sent alone.
        return len(self._in_hand) < most and self.bytes < self._limit_bytes

    def _may(self, look: Rarely) -> bool:
        """Whether to read, or to claim, now: without any agent, only now and then."""
        if not self._agents.known:
            return False
        return bool(self._agents) or look.is_time(WITHOUT_AGENTS_EVERY_S)

    async def _read_forever(self) -> None:
        loop = asyncio.get_running_loop()
        ready = False
        while not self._draining:
            if self._pause.resting or not self._may(self._reading):
                await asyncio.sleep(_RESTING_POLL_S)
                continue
            if not self._has_room():
                await asyncio.wait(self._in_hand, return_when=asyncio.FIRST_COMPLETED)
                continue
            room = 1 if self._pause.probing else MOST_IN_HAND - len(self._in_hand)
            most = min(room, READ_AT_ONCE)
            most_bytes = min(self._limit_bytes - self.bytes, READ_BYTES)
            try:
                if not ready:
                    await loop.run_in_executor(self._thread, self.stream.set_up)
                    ready = True
                deliveries = await loop.run_in_executor(
                    self._thread, self.stream.read, most, READ_BLOCK_MS, most_bytes
                )
            except redis.RedisError as problem:
                # A Redis that came back empty has no group either: it is made again.
                ready = False
                _log.warning("outbox.blocked", reason=str(problem))
                await asyncio.sleep(0.5)
                continue
            if not self._pause.resting:
                self._take_all(deliveries)
            # Read after the pause began: without a lease, another bridge claims these.
            del deliveries

    async def _live_forever(self) -> None:
        while True:
            if self._pause.resting:
                await asyncio.sleep(_RESTING_POLL_S)
                continue
            try:
                asked_s = time.monotonic()
                await asyncio.to_thread(self.stream.renew)
                await asyncio.to_thread(self._clock.measure)
                took_s = time.monotonic() - asked_s
                if took_s > RENEW_EVERY_S or self._clock.jumped_within(PATIENCE_S):
                    self._be_patient()
                if self._has_room() and not self._draining and self._may(self._claiming):
                    self._take_all(await asyncio.to_thread(self._claim))
            except redis.RedisError as problem:
                self._be_patient()
                _log.debug("outbox.blocked", reason=str(problem))
            await asyncio.sleep(RENEW_EVERY_S)

    def _be_patient(self) -> None:
        self._patient_until_s = time.monotonic() + PATIENCE_S

    def _claim(self) -> list[Delivery]:
        if self._pause.probing:
            return self.stream.claim_missed(frozenset(self._ids), 1)
        claimed = self.stream.claim_missed(frozenset(self._ids), CLAIM_AT_ONCE)
        if time.monotonic() >= self._patient_until_s:
            claimed += self.stream.claim_from_dead(CLAIM_AT_ONCE, but=self._unreadable.waiting())
        return claimed

    def _take_all(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            self._take(delivery)

    def _take(self, delivery: Delivery) -> None:
        if self._drained or delivery.outcome_id in self._ids:
            return
        self._ids.add(delivery.outcome_id)
        is_tried = delivery.outcome_id in self._unreadable
        if delivery.claimed and delivery.kind == Kind.PROGRESS and not is_tried:
            # Its final reply may be out already, sent by the bridge that had both.
            self._done_ids.put_nowait(delivery.outcome_id)
            return
        event_id = delivery.event_id
        task = asyncio.create_task(self._send(delivery, self._last.get(event_id)))
        self._last[event_id] = task
        self._in_hand.add(task)
        self.bytes += delivery.bytes
        task.add_done_callback(lambda done: self._over(delivery, done))

    async def _send(self, delivery: Delivery, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait([before])
        try:
            await self._deliver(delivery)
        except UnreadableOutcomeError as problem:
            await self._set_aside(delivery, problem)
        except NoAgentError:
            await asyncio.to_thread(self.stream.leave_to_others, delivery.outcome_id)
            self._ids.discard(delivery.outcome_id)
        else:
            self._done_ids.put_nowait(delivery.outcome_id)

    async def _set_aside(self, delivery: Delivery, problem: UnreadableOutcomeError) -> None:
        """Leave an outcome to a bridge that can read it; after a while put it aside for people.

        Errors: redis.RedisError; it stays this bridge's then, and is tried again.
        """
        outcome_id = delivery.outcome_id
        if self._unreadable.add(outcome_id):
            self._counts["unreadable"] += 1
            _log.error(
                "outcome.unreadable",
                event_id=delivery.event_id,
                host=delivery.host_uuid,
                reason=str(problem),
                advice="another bridge may read it; else it becomes a dead letter",
            )
        if not self._unreadable.is_for_good(outcome_id):
            await asyncio.to_thread(self.stream.leave_to_others, outcome_id)
            return
        await asyncio.to_thread(self.stream.put_aside, delivery, str(problem))
        self._unreadable.discard(outcome_id)
        self._ids.discard(outcome_id)

    def _over(self, delivery: Delivery, task: asyncio.Task[None]) -> None:
        event_id = delivery.event_id
        self._in_hand.discard(task)
        self.bytes -= delivery.bytes
        if self._last.get(event_id) is task:
            del self._last[event_id]
        problem = None if task.cancelled() else task.exception()
        if task.cancelled() or problem is not None or delivery.outcome_id in self._unreadable:
            # It may come again: it is ours still, or left to other bridges and none has taken it.
            self._ids.discard(delivery.outcome_id)
        if problem is not None:
            _log.error("reply.failed", event_id=event_id, reason=repr(problem))

    async def _forget_forever(self) -> None:
        while True:
            self._done_ids.put_nowait(await self._done_ids.get())
            await self._forget_once()

    async def _forget_once(self) -> None:
        # One at a time: who drains waits for what is being forgotten already.
        async with self._forgetting:
            ids = []
            while not self._done_ids.empty():
                ids.append(self._done_ids.get_nowait())
            if not ids:
                return
            try:
                await asyncio.to_thread(self.stream.done, ids)
                self._ids.difference_update(ids)
            except redis.RedisError as problem:
                _log.warning("outbox.blocked", reason=str(problem))
                for outcome_id in ids:
                    self._done_ids.put_nowait(outcome_id)
                await asyncio.sleep(0.5)
