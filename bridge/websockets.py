"""Reports the websockets of this bridge's agents to Redis, for people, page and metrics.

A change is written within a second. The time of the last ping is written for `PINGS_AT_ONCE` agents
each `LOOK_EVERY_S`, so that ten thousand agents at rest cost as much as two hundred; that cattle
is silent counts as a change.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice

import redis

from bridge.inbound.standing import Standing, Wait
from bridge.settings import AgentKeys
from cowpoke import keys
from cowpoke.bridge_lease import (
    AGENT_FIELD,
    SILENT_AFTER_S,
    WebsocketReport,
    WebsocketState,
    sealed_report,
)
from cowpoke.broker import answers
from cowpoke.clock import Clock
from cowpoke.log import logger
from cowpoke.scrubbing import scrub
from cowpoke.seal import ClusterKeyring

_log = logger(__name__)

#: Changes are gathered for so long.
GATHER_S = 1.0
#: How often the hash is renewed, with the times of pings.
LOOK_EVERY_S = 5.0
PINGS_AT_ONCE = 200
#: A websocket that was open for less was never of use.
LASTS_AFTER_S = 10.0
_SAME_PING_MS = 500
#: Reports of one round trip.
_AT_ONCE = 1_000

_STATES: Mapping[Wait, WebsocketState] = {
    Wait.REMOVED: WebsocketState.REMOVED,
    Wait.KEYS_REFUSED: WebsocketState.REFUSED,
    Wait.SERVER: WebsocketState.CONNECTING,
}
_REASONS: Mapping[Wait, str] = {
    Wait.NO_WORKER: "no worker of any host runs",
    Wait.SEVERAL_HOSTS: "several hosts have workers, and none is known to be this agent's",
    Wait.OTHER_AGENTS_HOST: "the only hosts with workers belong to other agents",
    Wait.HOST_AWAY: "no worker of the host runs",
    Wait.KEYS_DIFFER: "the workers of the host have other keys than this bridge",
}


def state_of(wait: Wait | None) -> WebsocketState:
    """Return the state of the websocket of an agent that waits for something, or for nothing."""
    return WebsocketState.OPEN if wait is None else _STATES.get(wait, WebsocketState.WAITING)


class Websockets:
    """The reports of one bridge."""

    def __init__(
        self,
        client: redis.Redis,
        keyring: ClusterKeyring,
        bridge_id: str,
        *,
        standing: Standing,
        clock: Clock,
    ) -> None:
        self._redis = client
        self._sealer = keyring.bridge
        self._bridge_id = bridge_id
        self._key = keys.websockets(bridge_id)
        self._standing = standing
        self._clock = clock
        #: What was reported last, and under which field.
        self._reported: dict[AgentKeys, tuple[str, WebsocketReport]] = {}
        #: The agent of each field.
        self._agents: dict[str, AgentKeys] = {}
        #: Agents by turns, for the times of their pings.
        self._turns: deque[AgentKeys] = deque()
        #: Since when each agent has had no websocket that lasted.
        self._down_ms: dict[AgentKeys, int] = {}
        self._gone: set[str] = set()
        #: Agents whose report is not in Redis yet.
        self._unwritten: set[AgentKeys] = set()

    @property
    def reports(self) -> list[WebsocketReport]:
        """What is reported of all agents."""
        return [report for _, report in self._reported.values()]

    async def run(self) -> None:
        """Report until cancelled."""
        renewed_s = float("-inf")
        while True:
            self._note_changes()
            is_due = time.monotonic() - renewed_s >= LOOK_EVERY_S
            if is_due:
                self._note_pings()
            if self._unwritten or self._gone or is_due:
                try:
                    await self._write()
                    renewed_s = time.monotonic()
                except redis.RedisError as problem:
                    _log.debug("websockets.blocked", reason=str(problem))
            await asyncio.sleep(GATHER_S)

    async def leave(self) -> None:
        """Remove the reports: the bridge stops.

        Errors: redis.RedisError.
        """
        await asyncio.to_thread(self._redis.delete, self._key)

    def _note_changes(self) -> None:
        changed, self._standing.changed = self._standing.changed, set()
        for agent in changed:
            if not self._standing.is_known(agent):
                self._forget(agent)
                continue
            if agent not in self._reported:
                self._turns.append(agent)
            self._note(agent)

    def _note_pings(self) -> None:
        """Note who is silent now, and when the next agents by turns were pinged."""
        now_s = time.monotonic()
        for agent, (_, report) in self._reported.items():
            if report.silent != self._is_silent(agent, report, now_s):
                self._unwritten.add(agent)
        some = list(islice(self._turns, PINGS_AT_ONCE))
        self._turns.rotate(-len(some))
        for agent in (*some, *self._unwritten):
            if agent in self._reported:
                self._note(agent)

    def _note(self, agent: AgentKeys) -> None:
        field, known = self._reported.get(agent, ("", None))
        report = self._report(agent, known)
        if report == known:
            return
        wanted = self._field(agent, report.host_uuid)
        if field and field != wanted:
            self._gone.add(field)
            self._agents.pop(field, None)
        self._agents[wanted] = agent
        self._reported[agent] = (wanted, report)
        self._unwritten.add(agent)

    def _report(self, agent: AgentKeys, known: WebsocketReport | None) -> WebsocketReport:
        now_s, now_ms = time.monotonic(), self._now_ms()
        wait, asked_s = self._standing.wait_of(agent), self._standing.asked_s(agent)
        state = state_of(wait)
        reason = "" if wait is None else _REASONS.get(wait) or self._standing.reason_of(agent)
        since_ms = self._since_ms(agent, state, known, now_ms)
        pinged_ms = None if asked_s is None else now_ms - round((now_s - asked_s) * 1000)
        before_ms = None if known is None else known.last_ping_ms
        if pinged_ms and before_ms and abs(pinged_ms - before_ms) < _SAME_PING_MS:
            # The same ping: the two clocks differ by a little more or less each time.
            pinged_ms = before_ms
        report = WebsocketReport(
            bridge_id=self._bridge_id,
            agent=agent.label,
            host_uuid=self._standing.host_of(agent),
            state=state,
            since_ms=since_ms,
            last_ping_ms=pinged_ms if wait is None else None,
            reason=scrub(reason),
            wait=wait or "",
        )
        return replace(report, silent=self._is_silent(agent, report, now_s))

    def _since_ms(
        self, agent: AgentKeys, state: WebsocketState, known: WebsocketReport | None, now_ms: int
    ) -> int:
        """Return since when an agent is in a state; one that is cut again and again is down."""
        if known is not None and known.state is state:
            return known.since_ms
        if state is not WebsocketState.CONNECTING:
            return now_ms
        is_brief = (
            known is not None
            and known.state is WebsocketState.OPEN
            and now_ms - known.since_ms < LASTS_AFTER_S * 1000
        )
        if not is_brief or agent not in self._down_ms:
            self._down_ms[agent] = now_ms
        return self._down_ms[agent]

    def _is_silent(self, agent: AgentKeys, report: WebsocketReport, now_s: float) -> bool:
        if not self._standing.is_open(agent):
            return False
        asked_s = self._standing.asked_s(agent)
        if asked_s is None:
            return self._now_ms() - report.since_ms > SILENT_AFTER_S * 1000
        return now_s - asked_s > SILENT_AFTER_S

    def _field(self, agent: AgentKeys, host_uuid: str) -> str:
        """Return the field of an agent: two agents may claim to be of one host."""
        holder = self._agents.get(host_uuid)
        is_free = holder is None or holder == agent
        return host_uuid if host_uuid and is_free else f"{AGENT_FIELD}{agent.hash}"

    def _forget(self, agent: AgentKeys) -> None:
        field, _ = self._reported.pop(agent, ("", None))
        self._unwritten.discard(agent)
        self._down_ms.pop(agent, None)
        if field:
            self._turns.remove(agent)
            self._agents.pop(field, None)
            self._gone.add(field)

    async def _write(self) -> None:
        """Errors: redis.RedisError; what was not written is written the next time."""
        texts = self._texts(self._unwritten)
        gone = [field for field in self._gone if field not in self._agents]
        is_there = await asyncio.to_thread(self._send, texts, gone)
        self._unwritten.clear()
        self._gone.clear()
        if not is_there and len(texts) < len(self._reported):
            # Redis lost the hash, or it expired while Redis was away.
            self._unwritten = set(self._reported)
            await asyncio.to_thread(self._send, self._texts(self._unwritten), [])
            self._unwritten.clear()

    def _texts(self, agents: Iterable[AgentKeys]) -> dict[str, str]:
        listed = [self._reported[agent] for agent in agents if agent in self._reported]
        return {field: sealed_report(self._sealer, report) for field, report in listed}

    def _send(self, texts: Mapping[str, str], gone: list[str]) -> bool:
        """Write and delete reports, and renew the hash; whether the hash was there before."""
        is_there = self._redis.pexpire(self._key, keys.WEBSOCKETS_TTL_MS)
        listed = list(texts.items())
        with self._redis.pipeline(transaction=False) as pipe:
            if not is_there:
                # Something else may be in its place.
                pipe.delete(self._key)
            if gone:
                pipe.hdel(self._key, *gone)
            for start in range(0, len(listed), _AT_ONCE):
                pipe.hset(self._key, mapping=dict(listed[start : start + _AT_ONCE]))
            if listed and (gone or not is_there):
                # One that was there begins anew when its last field goes.
                pipe.pexpire(self._key, keys.WEBSOCKETS_TTL_MS)
            if pipe.command_stack and any(isinstance(one, Exception) for one in answers(pipe)):
                self._redis.delete(self._key)
                return False
        return bool(is_there)

    def _now_ms(self) -> int:
        """Return the time of the Redis server, as far as it is known."""
        return next(iter(self._clock.known_ms()), time.time_ns() // 1_000_000)
