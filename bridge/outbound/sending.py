"""Sends the replies of outcomes to cattle, again and again until each was taken or given up.

All streams share the slots for publishing: pongs first, then the agents in fair turns. A slot comes
before any other work on an outcome, so that of thousands in hand only a few are decoded and ask
Redis at the same time.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import redis

from bridge.errors import DoubtfulRefusalError, KeysRefusedError, PublishError
from bridge.inbound.fairness import FairSlots
from bridge.outbound import gate
from bridge.outbound.configcontent import ConfigContent
from bridge.outbound.gate import Gate
from bridge.outbound.publisher import MOST_RETRY_AFTER_S, Publisher
from bridge.outbound.refusals import Refusals
from bridge.outbound.refused_keys import RefusedKeys
from bridge.outbound.replies import reply, without_list
from bridge.settings import AgentKeys
from cowpoke.envelopes import outcome_of
from cowpoke.ledger.ledger import Ledger
from cowpoke.ledger.outcome_stream import Delivery
from cowpoke.log import logger
from cowpoke.outcomes import Kind, Outcome, error
from cowpoke.routes import CONFIG_UPDATE, Lane, base_name
from cowpoke.seal import SealBrokenError, Sealer

_log = logger(__name__)

MOST_ASKING = 8
#: By an old clock of the server's, much more may seem to be left.
MOST_LEFT_S = 300.0
RETRY_FIRST_S = 0.5
RETRY_MOST_S = 30.0
_OTHER_BRIDGE_POLL_S = 0.05
#: An answer in time matters more than its order among bridges.
_OTHER_BRIDGE_MOST_S = 10.0


class Sender:
    """Sends each outcome's reply with the keys of its agent, or of another one."""

    def __init__(  # noqa: PLR0913 -- wired in one place
        self,
        *,
        ledger: Ledger,
        sealer: Sealer,
        publisher: Publisher,
        config: ConfigContent,
        agents: tuple[AgentKeys, ...],
        concurrency: int,
        refused_keys: RefusedKeys,
        bridge_id: str,
    ) -> None:
        self._ledger = ledger
        self._sealer = sealer
        self._publisher = publisher
        self._config = config
        self._agents = {agent.access_key: agent for agent in agents}
        #: In a ring: whom to try when cattle does not know an agent's keys any more.
        self._next_agent = dict(zip(agents, [*agents[1:], agents[0]], strict=True))
        self._any_agent = agents[0]
        self._bridge_id = bridge_id
        self._gate = Gate()
        self._refused_keys = refused_keys
        self._slots = FairSlots(concurrency)
        #: Outcomes that ask Redis about another bridge's progress.
        self._asking = FairSlots(MOST_ASKING)
        # Replies to pings must not wait behind other calls in the shared pool.
        self._ping_thread = ThreadPoolExecutor(2, thread_name_prefix="pongs")
        self.counts: Counter[str] = Counter()

    async def send(self, delivery: Delivery) -> None:
        """Send the reply of one outcome; returns when the outcome may leave its stream."""
        event_id = delivery.event_id
        agent = self._agents.get(delivery.agent)
        if agent is None:
            # Another bridge's, or one that was taken out of the settings; cattle looks only at the
            # reply's name, so that any agent may send it, and somebody waits for it.
            agent = self._any_agent
            _log.warning("reply.by_other_agent", event_id=event_id, agent=delivery.agent)
        try:
            if delivery.kind == Kind.PROGRESS:
                await self._send_progress(delivery, event_id, agent)
            else:
                await self._send_final(delivery, event_id, agent)
        except SealBrokenError as problem:
            self.counts["seal-broken"] += 1
            _log.error("reply.seal_broken", event_id=event_id, reason=str(problem))

    def _slot(self, delivery: Delivery) -> AbstractAsyncContextManager[None]:
        return self._slots.slot(delivery.agent, urgent=delivery.lane == Lane.CONTROL)

    @asynccontextmanager
    async def _permission(self, delivery: Delivery, tries: int) -> AsyncIterator[None]:
        """Wait for a slot and for the gate; a retry holds no slot while it waits at the gate."""
        slot, passing = self._slot(delivery), self._gate.passing(_kind(delivery, tries))
        first, second = (passing, slot) if tries else (slot, passing)
        async with first, second:
            yield

    def _opened(self, delivery: Delivery) -> Outcome:
        """Return the outcome of a delivery.

        Errors: SealBrokenError when it was not sealed by us for this event as this kind.
        """
        outcome = outcome_of(self._sealer, delivery.fields)
        if outcome.kind != delivery.kind:
            raise SealBrokenError(
                f"the outcome of event {delivery.event_id} was sealed as {outcome.kind}"
            )
        return outcome

    async def _send_progress(self, delivery: Delivery, event_id: str, agent: AgentKeys) -> None:
        """Once, and only while nothing final is there: late progress is worse than none."""
        try:
            # The slot first: a reservation must not run out while its holder waits for one.
            async with self._slot(delivery):
                outcome = self._opened(delivery)
                answer = reply(json.loads(delivery.envelope), outcome, delivery.outcome_id)
                await self._reserved_progress(event_id, agent, answer)
        except (PublishError, redis.RedisError) as problem:
            if isinstance(problem, KeysRefusedError):
                self._refused_keys.refused(agent)
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

    async def _send_final(self, delivery: Delivery, event_id: str, agent: AgentKeys) -> None:
        envelope = json.loads(delivery.envelope)
        reported: Outcome | None = None
        if base_name(envelope["name"]) == CONFIG_UPDATE:
            agent, reported = await self._config_reported(agent, delivery)
        if delivery.lane != Lane.CONTROL:
            # Nothing in the lane of pings reports progress.
            await self._wait_for_other_bridge(event_id, delivery.agent)
        tries = 0
        refusals = Refusals()
        while not self._is_late_ping(delivery):
            try:
                async with self._permission(delivery, tries):
                    # Made anew for each try: what waits for a try is kept as it is in Redis.
                    outcome = reported or self._opened(delivery)
                    answer = reply(envelope, outcome, delivery.outcome_id)
                    if delivery.lane == Lane.CONTROL:
                        await self._leave_out_old_list(event_id, answer)
                    await self._publisher.publish(agent, answer)
            except PublishError as problem:
                left_s = self._left_s(delivery) if delivery.deadline_ms else 0.0
                end = refusals.end(problem, now_s=time.monotonic(), left_s=left_s)
                if end is not None or isinstance(problem, KeysRefusedError):
                    agent = self._after_answer(problem, agent)
                elif not isinstance(problem, DoubtfulRefusalError):
                    # A refusal is an answer too: it must not hold up the replies that cattle takes.
                    self._gate.failed(delivery.outcome_id, _kind(delivery, tries))
                if end is not None:
                    self.counts[end] += 1
                    _log.error(f"reply.{end}", event_id=event_id, reason=problem.message)
                    return
                tries += 1
                await self._pause(problem, event_id, tries)
            else:
                self._gate.succeeded()
                self._refused_keys.succeeded()
                self.counts["sent"] += 1
                level = _log.debug if delivery.lane == Lane.CONTROL else _log.info
                level("reply.sent", event_id=event_id, outcome=delivery.kind)
                return
        self.counts["late-ping"] += 1

    async def _config_reported(
        self, agent: AgentKeys, delivery: Delivery
    ) -> tuple[AgentKeys, Outcome]:
        """Report config items as the agent, or as the next one whose keys cattle knows."""
        tries = 0
        outcome = self._opened(delivery)
        while True:
            try:
                return agent, await self._config.reported(agent, outcome, self._left_s(delivery))
            except KeysRefusedError as refused:
                self._refused_keys.refused(agent)
                tries += 1
                if tries > len(self._agents) and self._left_s(delivery) < 0:
                    return agent, error("config-not-reported", refused.message)
                await self._pause(refused, delivery.event_id, tries)
                agent = self._next_agent[agent]

    def _after_answer(self, problem: PublishError, agent: AgentKeys) -> AgentKeys:
        """Note that cattle answers and whether it knows the keys; return the agent to send as next.

        A host may have been removed: cattle reads only the reply's name, so that another agent may
        send it.
        """
        if isinstance(problem, KeysRefusedError):
            self._refused_keys.refused(agent)
        else:
            self._refused_keys.succeeded()
        self._gate.succeeded()
        return self._next_agent[agent]

    async def _pause(self, problem: PublishError, event_id: str, tries: int) -> None:
        self.counts["retried"] += 1
        _log.warning("reply.waits", event_id=event_id, tries=tries, reason=problem.message)
        await asyncio.sleep(_pause_s(tries, problem.retry_after_s))

    async def _leave_out_old_list(self, event_id: str, answer: dict[str, object]) -> None:
        """A pong tells of containers only while its list is the newest that cattle hears of."""
        data = answer["data"]
        if not isinstance(data, dict) or not (data.get("options") or {}).get("instances"):
            return
        try:
            is_current = await asyncio.get_running_loop().run_in_executor(
                self._ping_thread, self._ledger.list_is_current, event_id
            )
        except redis.RedisError:
            is_current = False
        if not is_current:
            answer["data"] = without_list(data)
            _log.info("ping.list_left_out", event_id=event_id)

    async def _wait_for_other_bridge(self, event_id: str, agent: str) -> None:
        """Let progress that another bridge is sending arrive first, but not for long."""
        ends_s = time.monotonic() + _OTHER_BRIDGE_MOST_S
        while time.monotonic() < ends_s:
            try:
                async with self._asking.slot(agent):
                    underway = await asyncio.to_thread(
                        self._ledger.progress_underway, event_id, self._bridge_id
                    )
                if not underway:
                    return
            except redis.RedisError:
                # Order among bridges cannot be asked for now; the answer matters more.
                return
            await asyncio.sleep(_OTHER_BRIDGE_POLL_S)

    def _is_late_ping(self, delivery: Delivery) -> bool:
        """A pong after its deadline is useless, and there are thousands after an outage."""
        return delivery.lane == Lane.CONTROL and self._left_s(delivery) < 0 < delivery.deadline_ms

    def _left_s(self, delivery: Delivery) -> float:
        """Return how long cattle still waits for the answer, by the most patient clock known."""
        readings_ms = self._ledger.clock.known_ms()
        if not readings_ms:
            return MOST_LEFT_S
        return min((delivery.deadline_ms - min(readings_ms)) / 1000, MOST_LEFT_S)


def _kind(delivery: Delivery, tries: int) -> gate.Kind:
    if delivery.lane == Lane.CONTROL:
        return gate.Kind.PONG
    return gate.Kind.RETRY if tries else gate.Kind.FIRST_TRY


def _pause_s(tries: int, retry_after_s: float | None) -> float:
    grown_s: float = min(RETRY_FIRST_S * 2.0 ** min(tries - 1, 20), RETRY_MOST_S)
    asked_s = min((retry_after_s or 0) * random.uniform(1, 1.2), MOST_RETRY_AFTER_S)  # noqa: S311
    return max(grown_s * random.uniform(0.5, 1.5), asked_s)  # noqa: S311
