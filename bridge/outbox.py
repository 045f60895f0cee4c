"""Outcomes on their way from the stream to cattle: in order per event, held while cattle is away.

An outcome leaves the stream only after cattle took its reply (or refused it for good). So what is
on its way when a bridge dies is in Redis still, and another bridge claims it. In memory lie at most
`MOST_IN_HAND` outcomes, whatever waits in the stream.
"""

import asyncio
import json
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import redis

from bridge.configcontent import ConfigContent
from bridge.errors import KeysRefusedError, PublishError
from bridge.gate import Gate
from bridge.publisher import MOST_RETRY_AFTER_S, Publisher
from bridge.refusals import Refusals
from bridge.replies import reply, without_list
from bridge.settings import AgentKeys
from worker.contract.envelopes import outcome_of
from worker.contract.leases import LEASE_TTL_MS
from worker.contract.ledger import Ledger
from worker.contract.outcomes import Kind
from worker.contract.routes import CONFIG_UPDATE, Lane, base_name
from worker.contract.seal import SealBrokenError, Sealer
from worker.contract.stream import Delivery, OutcomeStream
from worker.log import logger

_log = logger(__name__)

MOST_IN_HAND = 1000
#: An idle bridge also takes this long to stop.
READ_BLOCK_MS = 500
CLAIM_AT_ONCE = 200
RENEW_EVERY_S = 1.0
RETRY_FIRST_S = 0.5
RETRY_MOST_S = 30.0
_OTHER_BRIDGE_POLL_S = 0.05
#: An answer in time matters more than its order among bridges.
_OTHER_BRIDGE_MOST_S = 10.0


class Outbox:
    """What this bridge has in hand, and the tasks that send it."""

    def __init__(  # noqa: PLR0913 -- wired in one place
        self,
        *,
        stream: OutcomeStream,
        ledger: Ledger,
        sealer: Sealer,
        publisher: Publisher,
        config: ConfigContent,
        agents: tuple[AgentKeys, ...],
        concurrency: int,
        bridge_id: str,
    ) -> None:
        self._stream = stream
        self._ledger = ledger
        self._sealer = sealer
        self._publisher = publisher
        self._config = config
        self._agents = {agent.access_key: agent for agent in agents}
        #: In a ring: whom to try when cattle does not know an agent's keys any more.
        self._next_agent = dict(zip(agents, [*agents[1:], agents[0]], strict=True))
        self._any_agent = agents[0]
        self._draining = False
        self._bridge_id = bridge_id
        self._gate = Gate()
        self._slots = asyncio.Semaphore(concurrency)
        #: The last delivery in hand of each event; the next one goes after it.
        self._last: dict[str, asyncio.Task[None]] = {}
        self._in_hand: set[asyncio.Task[None]] = set()
        #: Outcomes that are in hand or done and still in the stream.
        self._ids: set[str] = set()
        #: Until then other bridges may have lost their leases without being dead.
        self._patient_until_s = 0.0
        self._done_ids: asyncio.Queue[str] = asyncio.Queue()
        self._forgetting = asyncio.Lock()
        # A blocking read must not wait behind other calls in the shared pool, nor they behind it.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="outcomes")
        self._clock_offset_ms = 0.0
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Read, send and forget until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read_forever())
            group.create_task(self._live_forever())
            group.create_task(self._forget_forever())

    async def drain(self) -> None:
        """Read no more, and return when everything in hand is sent; the caller bounds the time."""
        self._draining = True
        while True:
            if self._in_hand:
                await asyncio.wait(self._in_hand)
            await self._forget_once()
            if not self._in_hand and self._done_ids.empty():
                return

    async def leave(self) -> None:
        """Hand what is still unsent over to the other bridges."""
        for task in self._in_hand:
            task.cancel()
        await asyncio.to_thread(self._stream.leave)

    async def _read_forever(self) -> None:
        loop = asyncio.get_running_loop()
        ready = False
        while not self._draining:
            room = MOST_IN_HAND - len(self._in_hand)
            if room <= 0:
                await asyncio.wait(self._in_hand, return_when=asyncio.FIRST_COMPLETED)
                continue
            try:
                if not ready:
                    await loop.run_in_executor(self._reader, self._stream.set_up)
                    ready = True
                deliveries = await loop.run_in_executor(
                    self._reader, self._stream.read, min(room, 200), READ_BLOCK_MS
                )
            except redis.RedisError as problem:
                # A Redis that came back empty has no group either: it is made again.
                ready = False
                _log.warning("outbox.waits", reason=str(problem))
                await asyncio.sleep(0.5)
                continue
            for delivery in deliveries:
                self._take(delivery)

    async def _live_forever(self) -> None:
        while True:
            try:
                asked_s = time.monotonic()
                now_ms = await asyncio.to_thread(self._stream.renew)
                self._clock_offset_ms = now_ms - time.time() * 1000
                if time.monotonic() - asked_s > RENEW_EVERY_S:
                    self._be_patient()
                if len(self._in_hand) < MOST_IN_HAND and not self._draining:
                    for delivery in await asyncio.to_thread(self._claim):
                        self._take(delivery)
            except redis.RedisError as problem:
                self._be_patient()
                _log.debug("outbox.waits", reason=str(problem))
            await asyncio.sleep(RENEW_EVERY_S)

    def _be_patient(self) -> None:
        self._patient_until_s = time.monotonic() + LEASE_TTL_MS / 1000

    def _claim(self) -> list[Delivery]:
        claimed = self._stream.claim_missed(frozenset(self._ids), CLAIM_AT_ONCE)
        if time.monotonic() >= self._patient_until_s:
            claimed += self._stream.claim_from_dead(CLAIM_AT_ONCE)
        return claimed

    def _take(self, delivery: Delivery) -> None:
        if delivery.outcome_id in self._ids:
            return
        self._ids.add(delivery.outcome_id)
        if delivery.claimed and delivery.kind == Kind.PROGRESS:
            # Its final reply may be out already, sent by the bridge that had both.
            self._done_ids.put_nowait(delivery.outcome_id)
            return
        event_id = delivery.event_id
        task = asyncio.create_task(self._deliver(delivery, event_id, self._last.get(event_id)))
        self._last[event_id] = task
        self._in_hand.add(task)
        task.add_done_callback(lambda done: self._over(delivery, done))

    def _over(self, delivery: Delivery, task: asyncio.Task[None]) -> None:
        event_id = delivery.event_id
        self._in_hand.discard(task)
        if self._last.get(event_id) is task:
            del self._last[event_id]
        if not task.cancelled() and task.exception() is not None:
            # Stays in the stream as ours, and is claimed again after a while.
            self._ids.discard(delivery.outcome_id)
            _log.error("reply.failed", event_id=event_id, reason=repr(task.exception()))

    async def _deliver(
        self, delivery: Delivery, event_id: str, before: "asyncio.Task[None] | None"
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        agent = self._agents.get(delivery.agent)
        if agent is None:
            # Another bridge's, or one that was taken out of the settings; cattle looks only at the
            # reply's name, so that any agent may send it, and somebody waits for it.
            agent = self._any_agent
            _log.warning("reply.by_other_agent", event_id=event_id, agent=delivery.agent)
        try:
            outcome = outcome_of(self._sealer, delivery.fields)
        except SealBrokenError as problem:
            self.counts["seal-broken"] += 1
            _log.error("reply.seal_broken", event_id=event_id, reason=str(problem))
            self._done_ids.put_nowait(delivery.outcome_id)
            return
        envelope = json.loads(delivery.envelope)
        if base_name(envelope["name"]) == CONFIG_UPDATE:
            outcome = await self._config.reported(agent, outcome, self._left_s(delivery))
        answer = reply(envelope, outcome, delivery.outcome_id)
        if outcome.is_final:
            await self._send_final(delivery, event_id, agent, answer)
        else:
            await self._send_progress(event_id, agent, answer)
        self._done_ids.put_nowait(delivery.outcome_id)

    async def _send_progress(
        self, event_id: str, agent: AgentKeys, answer: dict[str, object]
    ) -> None:
        """Once, and only while nothing final is there: late progress is worse than none."""
        try:
            # The slot first: a reservation must not run out while its holder waits for one.
            async with self._slots:
                await self._reserved_progress(event_id, agent, answer)
        except (PublishError, redis.RedisError) as problem:
            _log.warning("progress.lost", event_id=event_id, reason=str(problem))

    async def _reserved_progress(
        self, event_id: str, agent: AgentKeys, answer: dict[str, object]
    ) -> None:
        if not await asyncio.to_thread(self._ledger.begin_progress, event_id, self._bridge_id):
            return
        try:
            await self._publisher.publish(agent, answer)
            self.counts["progress"] += 1
        finally:
            await asyncio.to_thread(self._ledger.end_progress, event_id, self._bridge_id)

    async def _send_final(
        self, delivery: Delivery, event_id: str, agent: AgentKeys, answer: dict[str, object]
    ) -> None:
        if delivery.lane != Lane.CONTROL:
            # Nothing in the lane of pings reports progress.
            await self._wait_for_other_bridge(event_id)
        tries = 0
        refusals = Refusals()
        while not self._is_late_ping(delivery):
            try:
                async with self._slots, self._gate.passing():
                    if delivery.lane == Lane.CONTROL:
                        await self._leave_out_old_list(event_id, answer)
                    await self._publisher.publish(agent, answer)
            except PublishError as problem:
                left_s = self._left_s(delivery) if delivery.deadline_ms else 0.0
                end = refusals.end(problem, now_s=time.monotonic(), left_s=left_s)
                if end is not None or isinstance(problem, KeysRefusedError):
                    # cattle is there, whatever it thinks of this reply.
                    self._gate.succeeded()
                    # A host that was removed: cattle looks at the reply's name, whoever sends it.
                    agent = self._next_agent[agent]
                else:
                    self._gate.failed(delivery.outcome_id)
                if end is not None:
                    self.counts[end] += 1
                    _log.error(f"reply.{end}", event_id=event_id, reason=problem.message)
                    return
                self.counts["retried"] += 1
                tries += 1
                _log.warning("reply.waits", event_id=event_id, tries=tries, reason=problem.message)
                await asyncio.sleep(_pause_s(tries, problem.retry_after_s))
            else:
                self._gate.succeeded()
                self.counts["sent"] += 1
                level = _log.debug if delivery.lane == Lane.CONTROL else _log.info
                level("reply.sent", event_id=event_id, outcome=delivery.kind)
                return
        self.counts["late-ping"] += 1

    async def _leave_out_old_list(self, event_id: str, answer: dict[str, object]) -> None:
        """A pong tells of containers only while its list is the newest that cattle hears of."""
        data = answer["data"]
        if not isinstance(data, dict) or not (data.get("options") or {}).get("instances"):
            return
        try:
            is_current = await asyncio.to_thread(self._ledger.list_is_current, event_id)
        except redis.RedisError:
            is_current = False
        if not is_current:
            answer["data"] = without_list(data)
            _log.info("ping.list_left_out", event_id=event_id)

    async def _wait_for_other_bridge(self, event_id: str) -> None:
        """Let progress that another bridge is sending arrive first, but not for long."""
        ends_s = time.monotonic() + _OTHER_BRIDGE_MOST_S
        while time.monotonic() < ends_s:
            try:
                if not await asyncio.to_thread(
                    self._ledger.progress_underway, event_id, self._bridge_id
                ):
                    return
            except redis.RedisError:
                # Order among bridges cannot be asked for now; the answer matters more.
                return
            await asyncio.sleep(_OTHER_BRIDGE_POLL_S)

    def _is_late_ping(self, delivery: Delivery) -> bool:
        """A pong after its deadline is useless, and there are thousands after an outage."""
        return delivery.lane == Lane.CONTROL and self._left_s(delivery) < 0 < delivery.deadline_ms

    def _left_s(self, delivery: Delivery) -> float:
        """How long cattle still waits for the answer, by the Redis server's clock."""
        return (delivery.deadline_ms - self._clock_offset_ms) / 1000 - time.time()

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
                await asyncio.to_thread(self._stream.done, ids)
                self._ids.difference_update(ids)
            except redis.RedisError as problem:
                _log.warning("outbox.waits", reason=str(problem))
                for outcome_id in ids:
                    self._done_ids.put_nowait(outcome_id)
                await asyncio.sleep(0.5)


def _pause_s(tries: int, retry_after_s: float | None) -> float:
    grown_s: float = min(RETRY_FIRST_S * 2.0 ** min(tries - 1, 20), RETRY_MOST_S)
    asked_s = min((retry_after_s or 0) * random.uniform(1, 1.2), MOST_RETRY_AFTER_S)  # noqa: S311
    return max(grown_s * random.uniform(0.5, 1.5), asked_s)  # noqa: S311
