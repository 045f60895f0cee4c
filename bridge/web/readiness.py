"""Whether a bridge can do its work, and if not, why: `/livez` and `/readyz`.

A bridge is ready when Redis takes writes, the hosts were looked at, and the websocket of every
agent is open that can be open: an agent without a worker waits for its host, and one that cattle
has removed is refused for good. The answer lists those two as notes; nothing is wrong with the
bridge. Of many agents a few always reconnect, which is a note too.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import redis
from aiohttp import web

from bridge.inbound.standing import Standing, Wait
from bridge.settings import AgentKeys
from cowpoke.overview.conditions import Problem, problem
from cowpoke.overview.trouble import trouble_of

#: A health check is answered in this time, also when Redis is frozen.
REDIS_WITHIN_S = 2.0
#: How long an answer of Redis counts, however many ask.
REDIS_EVERY_S = 1.0
#: In an outage one caller waits for Redis. For this long, all others get the error it got.
TROUBLE_FOR_S = 5.0
#: This share of the agents may be without its websocket in a bridge that is ready: one of 100.
RECONNECTING_SHARE = 0.01
#: Agents named per reason; the rest are only counted.
NAMED = 10

#: What keeps the bridge from being ready; the code is that of the section in the runbook.
_UNREADY = {
    Wait.SERVER: ("websocket-closed", "the websocket to cattle is not open"),
    Wait.KEYS_REFUSED: ("agent-keys-refused", "cattle refuses the agent's keys"),
}
_NOTES = {
    Wait.REMOVED: ("agent-removed", "cattle has removed the agent"),
    Wait.NO_WORKER: ("host-without-worker", "no host has a worker"),
    Wait.HOST_AWAY: ("host-without-worker", "the agent's host has no worker"),
    Wait.KEYS_DIFFER: ("keys-differ", "the workers have other keys than this bridge"),
    Wait.SEVERAL_HOSTS: (
        "host-unknown",
        "several hosts have workers, and none is known to be the agent's",
    ),
    Wait.OTHER_AGENTS_HOST: ("host-unknown", "all hosts with workers are other agents'"),
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a bridge is not ready, or a note about one that is."""

    code: str
    message: str
    #: The agents that it concerns, the first few by name.
    agents: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Health:
    """The answer to `/readyz`."""

    ready: bool
    reasons: tuple[Reason, ...]
    notes: tuple[Reason, ...]

    @property
    def redis_trouble(self) -> Problem | None:
        """Why Redis does not answer; None when it does."""
        told = (one.message for one in self.reasons if one.code == "redis-down")
        return next((problem("redis-down", "redis", message) for message in told), None)


class Readiness:
    """Answers whether the bridge is ready; Redis is asked once a second, however many ask."""

    def __init__(
        self,
        probe: Callable[[], Problem | None],
        *,
        standing: Standing,
        hosts_known: Callable[[], bool],
        is_stopping: Callable[[], bool],
    ) -> None:
        """Take what is asked.

        Args:
            probe: Asks Redis, in a thread, what is wrong with it; raises redis.RedisError.
            standing: The websocket of each agent.
            hosts_known: Whether the leases and the notes of joined hosts were read.
            is_stopping: Whether the bridge leaves.
        """
        self._probe = probe
        self._standing = standing
        self._hosts_known = hosts_known
        self._is_stopping = is_stopping
        self._asking: asyncio.Task[Problem | None] | None = None
        self._asked_s = float("-inf")
        #: What was wrong with Redis last, and when.
        self._trouble: tuple[Problem | None, float] = (None, float("-inf"))
        #: A thread that waits for a frozen Redis is not joined by a second one.
        self._stuck: asyncio.Future[Problem | None] | None = None

    async def health(self) -> Health:
        """Return the state of this moment, within `REDIS_WITHIN_S`."""
        reasons = []
        if self._is_stopping():
            reasons.append(Reason("bridge-stopping", "the bridge was told to stop"))
        if trouble := await self._redis_trouble():
            reasons.append(Reason(trouble.code, trouble.message))
        elif not self._hosts_known():
            reasons.append(Reason("bridge-starting", "the hosts are not known yet"))
        waits = self._standing.waits()
        missing, notes = _grouped(waits, _UNREADY), _grouped(waits, _NOTES)
        if sum(one.count for one in missing) > len(self._standing) * RECONNECTING_SHARE:
            reasons += missing
        else:
            notes += missing
        return Health(not reasons, tuple(reasons), tuple(notes))

    async def _redis_trouble(self) -> Problem | None:
        now_s = asyncio.get_running_loop().time()
        if self._asking is None or (self._asking.done() and now_s - self._asked_s > REDIS_EVERY_S):
            self._asked_s = now_s
            self._asking = asyncio.create_task(self._ask())
        trouble, heard_s = self._trouble
        if trouble and now_s - heard_s < TROUBLE_FOR_S and not self._asking.done():
            return trouble
        # Shielded: a caller that goes away takes the answer from nobody else.
        return await asyncio.shield(self._asking)

    async def _ask(self) -> Problem | None:
        found = await self._answer()
        self._trouble = (found, asyncio.get_running_loop().time())
        return found

    async def _answer(self) -> Problem | None:
        if self._stuck is None or self._stuck.done():
            self._stuck = asyncio.ensure_future(asyncio.to_thread(self._probe))
            # Read the error of a probe that ends after its caller gave up; asyncio would log it.
            self._stuck.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            return await asyncio.wait_for(asyncio.shield(self._stuck), REDIS_WITHIN_S)
        except TimeoutError:
            said = f"Redis does not answer: nothing within {REDIS_WITHIN_S:g} s"
            return problem("redis-down", "redis", said)
        except redis.RedisError as error:
            return trouble_of(error)

    def routes(self) -> list[web.RouteDef]:
        """`/livez` and `/readyz`."""

        async def livez(_: web.Request) -> web.Response:
            # The loop turns, or nobody would answer.
            return web.json_response({"live": True})

        async def readyz(_: web.Request) -> web.Response:
            found = await self.health()
            text = json.dumps(asdict(found), ensure_ascii=False, indent=1) + "\n"
            status = 200 if found.ready else 503
            return web.Response(text=text, status=status, content_type="application/json")

        return [web.get("/livez", livez), web.get("/readyz", readyz)]


def _grouped(waits: Mapping[AgentKeys, Wait], told: Mapping[Wait, tuple[str, str]]) -> list[Reason]:
    agents: dict[tuple[str, str], list[str]] = defaultdict(list)
    for agent, wait in waits.items():
        if wait in told:
            agents[told[wait]].append(agent.label)
    return [
        Reason(code, message, tuple(sorted(names)[:NAMED]), len(names))
        for (code, message), names in sorted(agents.items())
    ]
