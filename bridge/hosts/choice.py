"""Which hosts have live workers, and which host an agent's events belong to.

A subscription makes cattle reconnect a disconnected agent, and pings to a host without workers only
make the agent flap. So an agent's websocket is open while its host is alive, with a grace time for
restarts, and is opened again when the host comes back.
"""

import asyncio
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from bridge.awake import AwakeClock
from bridge.hosts.claims import Claims
from bridge.inbound.standing import Standing, Wait
from bridge.settings import AgentKeys
from cowpoke.liveness import Leases
from cowpoke.log import logger

_log = logger(__name__)

LOOK_EVERY_S = 0.5
#: Longer than any restart of a worker, shorter than cattle's 180 s to disconnected.
AWAY_AFTER_S = 120.0
#: A longer time between two looks is an outage of Redis.
OUTAGE_AFTER_S = 3.0
#: How often claims are renewed; a small part of their lifetime.
CLAIM_EVERY_S = 10.0
#: How often the hosts that are not ours are looked at while ours is alive.
NEIGHBORS_EVERY_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The host of an agent, or what the agent waits for."""

    host_uuid: str | None
    wait: Wait | None = None


def choose(
    known: str | None,
    *,
    alive: AbstractSet[str],
    of_others: AbstractSet[str],
    is_gone: bool,
    neighbors: AbstractSet[str],
) -> Choice:
    """Choose the host of an agent whose host is not configured.

    Args:
        known: The host that was learned before, if any.
        alive: All hosts with live workers.
        of_others: Those of them that other agents have.
        is_gone: Whether the known host has had no worker for longer than any restart takes.
        neighbors: Hosts that lived beside the known one: those are not its replacement.
    """
    if known in alive:
        return Choice(host_uuid=known)
    if known is not None and not is_gone:
        return Choice(host_uuid=known, wait=Wait.HOST_AWAY)
    free = alive - of_others - (neighbors if known is not None else set())
    if len(free) == 1:
        (found,) = free
        return Choice(host_uuid=found)
    if len(free) > 1:
        return Choice(host_uuid=known, wait=Wait.SEVERAL_HOSTS)
    if known is not None:
        return Choice(host_uuid=known, wait=Wait.HOST_AWAY)
    return Choice(host_uuid=None, wait=Wait.OTHER_AGENTS_HOST if alive else Wait.NO_WORKER)


@dataclass(slots=True)
class _Learner:
    """The one agent whose host is learned."""

    agent: AgentKeys
    host_uuid: str | None = None
    is_read: bool = False
    neighbors: set[str] = field(default_factory=set)


class Hosts:
    """The host of each agent, by the leases, read again and again."""

    def __init__(  # noqa: PLR0913 -- wired in one place
        self,
        leases: Leases,
        agents: tuple[AgentKeys, ...],
        *,
        claims: Claims,
        standing: Standing,
        clock: AwakeClock,
        away_after_s: float = AWAY_AFTER_S,
    ) -> None:
        self._leases = leases
        self._claims = claims
        self._standing = standing
        self._clock = clock
        self._away_after_s = away_after_s
        self._hosts: dict[AgentKeys, str | None] = {agent: agent.host_uuid for agent in agents}
        # With many agents each has a host in the settings.
        self._learners = [_Learner(agent) for agent in agents if agent.host_uuid is None]
        self._began_s = self._looked_s = clock.now_s()
        self._seen_s: dict[str, float] = {}
        self._claimed_s = float("-inf")
        self._neighbors_s = float("-inf")
        self._changed = asyncio.Condition()
        #: What was logged last of each agent.
        self._reasons: dict[AgentKeys, str] = {}

    async def look(self) -> None:
        """Read the leases once, and wake those who wait for a change.

        Errors: redis.RedisError.
        """
        alive = await asyncio.to_thread(self._read)
        now_s = self._clock.now_s()
        self._skip_outage(now_s)
        for host_uuid in alive:
            self._seen_s[host_uuid] = now_s
        for learner in self._learners:
            await self._learn(learner, alive)
        for agent in self._hosts:
            if agent.host_uuid is not None:
                wait = None if agent.host_uuid in alive else Wait.HOST_AWAY
                self._note(agent, Choice(host_uuid=agent.host_uuid, wait=wait))
        if now_s - self._claimed_s >= CLAIM_EVERY_S:
            await asyncio.to_thread(self._claim, alive)
            self._claimed_s = now_s
        async with self._changed:
            self._changed.notify_all()

    def _skip_outage(self, now_s: float) -> None:
        """Do not count a time without Redis as absence of hosts: their leases expired in it."""
        outage_s, self._looked_s = now_s - self._looked_s, now_s
        if outage_s > OUTAGE_AFTER_S:
            self._began_s += outage_s
            for host_uuid in self._seen_s:
                self._seen_s[host_uuid] += outage_s

    def _read(self) -> set[str]:
        """Return the live hosts: ours, and all others when a host is to be learned."""
        for learner in self._learners:
            if not learner.is_read:
                learner.host_uuid = self._claims.remembered(learner.agent.hash)
                self._hosts[learner.agent] = learner.host_uuid
                learner.is_read = True
        ours = {host for host in self._hosts.values() if host is not None}
        alive = {host for host in ours if self._leases.of_host(host)}
        now_s = self._clock.now_s()
        is_due = now_s - self._neighbors_s >= NEIGHBORS_EVERY_S
        if self._learners and (is_due or alive != set(self._hosts.values())):
            self._neighbors_s = now_s
            others = set(self._leases.hosts()) - ours
            alive |= {host for host in others if self._leases.of_host(host)}
        return alive

    async def _learn(self, learner: _Learner, alive: set[str]) -> None:
        agent, known = learner.agent, learner.host_uuid
        if known in alive:
            learner.neighbors |= alive - {known}
        of_others = await asyncio.to_thread(self._claims.of_others, alive - {known}, agent.hash)
        choice = choose(
            known,
            alive=alive,
            of_others=of_others,
            is_gone=known is not None and self._is_gone(known),
            neighbors=learner.neighbors,
        )
        self._note(agent, choice, free=alive - of_others)
        found = choice.host_uuid
        if found is not None and found != known:
            if not await asyncio.to_thread(self._claims.claim_free, found, agent.hash):
                return
            await asyncio.to_thread(self._claims.remember, agent.hash, found)
            learner.host_uuid = self._hosts[agent] = found
            learner.neighbors.clear()
            if known is None:
                _log.info("host.learned", host=found, agent=agent.label)
            else:
                _log.warning("host.replaced", host=found, former_host=known, agent=agent.label)

    def _note(self, agent: AgentKeys, choice: Choice, free: AbstractSet[str] = frozenset()) -> None:
        """Keep what the agent waits for, and log it once.

        The host of an agent with an open websocket has a grace time, so it is not logged yet.
        """
        self._standing.waits_for_host(agent, choice.wait)
        reason = self._reason(agent, choice, free) if choice.wait is not None else ""
        if reason == self._reasons.get(agent, "") or self._standing.is_open(agent):
            return
        self._reasons[agent] = reason
        if reason:
            _log.warning("host.unknown", agent=agent.label, wait=choice.wait, reason=reason)

    def _reason(self, agent: AgentKeys, choice: Choice, free: AbstractSet[str]) -> str:
        if choice.wait is Wait.NO_WORKER:
            return "no worker has announced itself; start one with: python -m worker"
        if choice.wait is Wait.SEVERAL_HOSTS:
            named = ", ".join(sorted(free)[:10])
            return (
                f"several hosts have workers ({named}), and none of them is known to be this "
                "agent's; set host_uuid in BRIDGE_AGENTS_FILE"
            )
        if choice.wait is Wait.OTHER_AGENTS_HOST:
            return (
                "all hosts with workers are served for other agents; start a worker of this "
                "agent's host, or set host_uuid in BRIDGE_AGENTS_FILE"
            )
        text = f"host {choice.host_uuid} has no worker; start one there with: python -m worker"
        if agent.host_uuid is None:
            text += (
                f"; a host that appears now replaces it {self._away_after_s:g} s after its last "
                "sign of life"
            )
        return text

    def _claim(self, alive: set[str]) -> None:
        """Renew claims and memories; keys that cattle does not know hold no host back."""
        served = {
            agent: host_uuid
            for agent, host_uuid in self._hosts.items()
            if host_uuid is not None and not self._standing.is_refused(agent)
        }
        for agent, host_uuid in self._hosts.items():
            if host_uuid is not None and agent not in served:
                self._claims.release(host_uuid, agent.hash)
        self._claims.renew({host: agent.hash for agent, host in served.items() if host in alive})
        for agent, host_uuid in served.items():
            if agent.host_uuid is None:
                self._claims.remember(agent.hash, host_uuid)

    async def wait_alive(self, agent: AgentKeys) -> str:
        """Return the agent's host, once it is known and has a worker."""
        async with self._changed:
            while True:
                host_uuid = self._hosts[agent]
                if host_uuid is not None and self.is_alive(host_uuid):
                    return host_uuid
                await self._changed.wait()

    async def wait_away(self, host_uuid: str) -> None:
        """Return when the host has had no worker for longer than any restart takes."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_gone(host_uuid))

    def is_alive(self, host_uuid: str) -> bool:
        """Return whether the host had a live worker at the last looks."""
        seen_s = self._seen_s.get(host_uuid, float("-inf"))
        return self._clock.now_s() - seen_s < 4 * LOOK_EVERY_S

    def _is_gone(self, host_uuid: str) -> bool:
        seen_s = self._seen_s.get(host_uuid, self._began_s)
        return self._clock.now_s() - seen_s > self._away_after_s
