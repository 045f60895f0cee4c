"""Sends the replies of outcomes to cattle, again and again until each was taken or given up.

All streams share the slots for publishing: pongs first, then the agents in fair turns. A slot comes
before any other work on an outcome, so that of thousands in hand only a few are decoded and ask
Redis at the same time.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import redis

from bridge.agents.registry import Agents
from bridge.errors import DoubtfulRefusalError, KeysRefusedError, NoAgentError, PublishError
from bridge.finished import Finished
from bridge.inbound.fairness import FairSlots
from bridge.outbound import gate
from bridge.outbound.configcontent import ConfigContent
from bridge.outbound.gate import Gate
from bridge.outbound.letters import Letter, Letters
from bridge.outbound.publisher import MOST_RETRY_AFTER_S, Publisher
from bridge.outbound.refusals import AFTER_DEADLINE_S, Refusals
from bridge.outbound.refused_keys import RefusedKeys
from bridge.outbound.replies import reply, without_list
from bridge.settings import AgentKeys
from cowpoke.clock import Clock
from cowpoke.history import FinishedEvent
from cowpoke.ledger.outcome_stream import Delivery
from cowpoke.ledger.replies import ReplyLedger
from cowpoke.log import logger
from cowpoke.outcomes import Kind, Outcome, error
from cowpoke.routes import CONFIG_UPDATE, base_name
from cowpoke.seal import ClusterKeyring

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
        ledger: ReplyLedger,
        keyring: ClusterKeyring,
        clock: Clock,
        publisher: Publisher,
        config: ConfigContent,
        agents: Agents,
        concurrency: int,
        refused_keys: RefusedKeys,
        finished: Finished,
    ) -> None:
        self._ledger = ledger
        self._letters = Letters(keyring, agents)
        self._clock = clock
        self._publisher = publisher
        self._config = config
        self._agents = agents
        self._gate = Gate()
        self._refused_keys = refused_keys
        self._finished = finished
        self._slots = FairSlots(concurrency)
        #: Outcomes that ask Redis about another bridge's progress.
        self._asking = FairSlots(MOST_ASKING)
        # Replies to pings must not wait behind other calls in the shared pool.
        self._ping_thread = ThreadPoolExecutor(2, thread_name_prefix="pongs")
        self.counts: Counter[str] = Counter()

    async def send(self, delivery: Delivery) -> FinishedEvent | None:
        """Send the reply of one outcome; returns when the outcome may leave its stream.

        Returns the event that the history keeps then; None for progress, and for pings.
        Errors: UnreadableOutcomeError; NoAgentError when another bridge must send it, or this one
        after a host joined.
        """
        letter = self._letters.opened(delivery)
        if letter.agent is None:
            return self._without_agent(letter)
        if delivery.kind == Kind.PROGRESS:
            await self._send_progress(letter, letter.agent)
            return None
        return await self._send_final(letter, letter.agent)

    def _without_agent(self, letter: Letter) -> FinishedEvent | None:
        """Give up a reply that nobody waits for any more and nobody can send.

        Errors: NoAgentError.
        """
        if self._left_s(letter) > -AFTER_DEADLINE_S:
            raise NoAgentError
        self.counts["no-agent"] += 1
        _log.warning("reply.dropped", event_id=letter.event_id, host=letter.envelope.host_uuid)
        if letter.delivery.kind == Kind.PROGRESS:
            return None
        why = "no bridge has an agent that could send its reply"
        return self._told(letter, letter.outcome(), refusal=("reply-without-agent", why))

    def _slot(self, letter: Letter) -> AbstractAsyncContextManager[None]:
        return self._slots.slot(letter.envelope.agent, urgent=letter.is_pong)

    @asynccontextmanager
    async def _permission(self, letter: Letter, tries: int) -> AsyncIterator[None]:
        """Wait for a slot and for the gate; a retry holds no slot while it waits at the gate."""
        slot, passing = self._slot(letter), self._gate.passing(_kind(letter, tries))
        first, second = (passing, slot) if tries else (slot, passing)
        async with first, second:
            yield

    async def _send_progress(self, letter: Letter, agent: AgentKeys) -> None:
        """Send progress once, and only while no final outcome exists: it must not follow one."""
        try:
            # The slot first: a reservation must not run out while its holder waits for one.
            async with self._slot(letter):
                outcome = letter.outcome()
                answer = reply(letter.envelope.echo, outcome, letter.delivery.outcome_id)
                await self._reserved_progress(letter, agent, answer)
        except (PublishError, redis.RedisError) as problem:
            if isinstance(problem, KeysRefusedError):
                self._refused_keys.refused(agent)
            _log.warning("progress.dropped", event_id=letter.event_id, reason=str(problem))

    async def _reserved_progress(
        self, letter: Letter, agent: AgentKeys, answer: dict[str, object]
    ) -> None:
        host_uuid, event_id = letter.envelope.host_uuid, letter.event_id
        if not await asyncio.to_thread(self._ledger.begin_progress, host_uuid, event_id):
            return
        try:
            await self._publisher.publish(agent, answer)
            self.counts["progress"] += 1
        finally:
            await asyncio.to_thread(self._ledger.end_progress, event_id)

    def _told(
        self, letter: Letter, outcome: Outcome, refusal: tuple[str, str] = ("", "")
    ) -> FinishedEvent | None:
        now_ms = (self._clock.known_ms() or [0])[0]
        return self._finished.replied(letter, outcome, now_ms=now_ms, refusal=refusal)

    async def _send_final(self, letter: Letter, agent: AgentKeys) -> FinishedEvent | None:
        reported: Outcome | None = None
        # Before anything is sent: an outcome that cannot be opened is another bridge's.
        letter = letter.with_deadline_of_outcome()
        event_id = letter.event_id
        if base_name(str(letter.envelope.echo["name"])) == CONFIG_UPDATE:
            agent, reported = await self._config_reported(letter, agent)
        if not letter.is_pong:
            # Nothing in the lane of pings reports progress.
            await self._wait_for_other_bridge(letter)
        tries = 0
        refusals = Refusals()
        while not self._is_late_ping(letter):
            try:
                async with self._permission(letter, tries):
                    # Made anew for each try: what waits for a try is kept as it is in Redis.
                    outcome = reported or letter.outcome()
                    answer = reply(letter.envelope.echo, outcome, letter.delivery.outcome_id)
                    if letter.is_pong:
                        await self._leave_out_old_list(letter, answer)
                    await self._publisher.publish(agent, answer)
            except PublishError as problem:
                left_s = self._left_s(letter)
                end = refusals.end(problem, now_s=time.monotonic(), left_s=left_s)
                if end is not None or isinstance(problem, KeysRefusedError):
                    agent = self._after_answer(problem, agent)
                elif not isinstance(problem, DoubtfulRefusalError):
                    # A refusal is an answer too: it must not hold up the replies that cattle takes.
                    self._gate.failed(letter.delivery.outcome_id, _kind(letter, tries))
                if end is not None:
                    self.counts[end] += 1
                    _log.error(f"reply.{end}", event_id=event_id, reason=problem.message)
                    outcome = reported or letter.outcome()
                    return self._told(letter, outcome, refusal=(f"reply-{end}", problem.message))
                tries += 1
                await self._pause(problem, event_id, tries)
            else:
                self._gate.succeeded()
                self._refused_keys.succeeded()
                self.counts["sent"] += 1
                level = _log.debug if letter.is_pong else _log.info
                level("reply.sent", event_id=event_id, outcome=letter.delivery.kind)
                return self._told(letter, outcome)
        self.counts["late-ping"] += 1
        return None

    async def _config_reported(self, letter: Letter, agent: AgentKeys) -> tuple[AgentKeys, Outcome]:
        """Report config items as the agent, or as the next one whose keys cattle knows."""
        tries = 0
        outcome = letter.outcome()
        while True:
            try:
                return agent, await self._config.reported(agent, outcome, self._left_s(letter))
            except KeysRefusedError as refused:
                self._refused_keys.refused(agent)
                tries += 1
                if tries > len(self._agents) and self._left_s(letter) < 0:
                    return agent, error("config-not-reported", refused.message)
                await self._pause(refused, letter.event_id, tries)
                agent = self._agents.next_after(agent)

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
        return self._agents.next_after(agent)

    async def _pause(self, problem: PublishError, event_id: str, tries: int) -> None:
        self.counts["retried"] += 1
        _log.warning("reply.retried", event_id=event_id, tries=tries, reason=problem.message)
        await asyncio.sleep(_pause_s(tries, problem.retry_after_s))

    async def _leave_out_old_list(self, letter: Letter, answer: dict[str, object]) -> None:
        """A pong tells of containers only while its list is the newest that cattle hears of."""
        data = answer["data"]
        if not isinstance(data, dict) or not (data.get("options") or {}).get("instances"):
            return
        try:
            is_current = await asyncio.get_running_loop().run_in_executor(
                self._ping_thread,
                self._ledger.list_is_current,
                letter.envelope.host_uuid,
                letter.claimed_ms(),
            )
        except redis.RedisError:
            is_current = False
        if not is_current:
            answer["data"] = without_list(data)
            _log.info("ping.container_list_dropped", event_id=letter.event_id)

    async def _wait_for_other_bridge(self, letter: Letter) -> None:
        """Let progress that another bridge is sending arrive first, but not for long."""
        ends_s = time.monotonic() + _OTHER_BRIDGE_MOST_S
        while time.monotonic() < ends_s:
            try:
                async with self._asking.slot(letter.envelope.agent):
                    underway = await asyncio.to_thread(
                        self._ledger.progress_underway, letter.event_id
                    )
                if not underway:
                    return
            except redis.RedisError:
                # Order among bridges cannot be asked for now; the answer matters more.
                return
            await asyncio.sleep(_OTHER_BRIDGE_POLL_S)

    def _is_late_ping(self, letter: Letter) -> bool:
        """A pong after its deadline is useless, and there are thousands after an outage."""
        return letter.is_pong and self._left_s(letter) < 0

    def _left_s(self, letter: Letter) -> float:
        """Return how long cattle still waits for the answer, by the most patient clock known."""
        readings_ms = self._clock.known_ms()
        if not readings_ms:
            return MOST_LEFT_S
        return min((letter.deadline_ms - min(readings_ms)) / 1000, MOST_LEFT_S)


def _kind(letter: Letter, tries: int) -> gate.Kind:
    if letter.is_pong:
        return gate.Kind.PONG
    return gate.Kind.RETRY if tries else gate.Kind.FIRST_TRY


def _pause_s(tries: int, retry_after_s: float | None) -> float:
    grown_s: float = min(RETRY_FIRST_S * 2.0 ** min(tries - 1, 20), RETRY_MOST_S)
    asked_s = min((retry_after_s or 0) * random.uniform(1, 1.2), MOST_RETRY_AFTER_S)  # noqa: S311
    return max(grown_s * random.uniform(0.5, 1.5), asked_s)  # noqa: S311
