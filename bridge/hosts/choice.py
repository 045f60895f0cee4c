"""Which hosts have live workers, and which host an agent's events belong to.

A subscription makes cattle reconnect a disconnected agent, and pings to a host without workers only
make the agent flap. So an agent's websocket is open while its host is alive, with a grace time for
restarts, and is opened again when the host comes back.
"""

import asyncio
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from bridge.awake import AwakeClock
from bridge.hosts.claims import Claims
from bridge.hosts.decision import Choice, choose, why_it_waits, with_keys
from bridge.hosts.host_state import HostState
from bridge.hosts.presence import Change, Presence
from bridge.inbound.standing import Standing, Wait
from bridge.settings import AgentKeys
from cowpoke.log import logger

_log = logger(__name__)

LOOK_EVERY_S = 0.5
#: Longer than any restart of a worker, shorter than cattle's 180 s to disconnected.
AWAY_AFTER_S = 120.0
#: A longer time between two looks is an outage of Redis.
OUTAGE_AFTER_S = 3.0
#: How often claims are renewed; a small part of their lifetime.
CLAIM_EVERY_S = 10.0


@dataclass(slots=True)
class _Learner:
    """The one agent whose host is learned."""

    agent: AgentKeys
    host_uuid: str | None = None
    is_read: bool = False
    neighbors: set[str] = field(default_factory=set)


class Hosts:
    """The host of each agent, kept by what changes in the leases."""

    def __init__(  # noqa: PLR0913 -- wired in one place
        self,
        presence: Presence,
        agents: tuple[AgentKeys, ...],
        *,
        claims: Claims,
        standing: Standing,
        clock: AwakeClock,
        away_after_s: float = AWAY_AFTER_S,
    ) -> None:
        self._presence = presence
        self._claims = claims
        self._standing = standing
        self._clock = clock
        self._away_after_s = away_after_s
        self._hosts: dict[AgentKeys, str | None] = {agent: agent.host_uuid for agent in agents}
        self._agents_of: dict[str, list[AgentKeys]] = {}
        for agent in agents:
            if agent.host_uuid is not None:
                self._agents_of.setdefault(agent.host_uuid, []).append(agent)
        # With many agents each has a host in the settings.
        self._learners = [_Learner(agent) for agent in agents if agent.host_uuid is None]
        self._began_s = self._looked_s = clock.now_s()
        self._states: dict[str, HostState] = {}
        self._claimed_s = float("-inf")
        #: Agents whose claims were given up because cattle refused their keys.
        self._given_up: set[AgentKeys] = set()
        #: Hosts that came to an agent since claims were renewed, and claims to be given up.
        self._unclaimed: set[str] = set()
        self._released: list[tuple[str, str]] = []
        #: Set for a moment whenever the host of an agent was learned.
        self._learned = asyncio.Condition()
        #: What was logged last of each agent.
        self._reasons: dict[AgentKeys, str] = {}
        #: Hosts that are looked at again though nothing changed: nothing is known of them yet, or
        #: their absence is not logged yet.
        self._unnoted = set(self._agents_of)
        for of_host in self._agents_of.values():
            for agent in of_host:
                standing.waits_for_host(agent, Wait.HOST_AWAY)

    def is_ours(self, host_uuid: str) -> bool:
        """Whether this bridge may serve the host."""
        return bool(self._learners) or host_uuid in self._agents_of

    def agent_of(self, host_uuid: str) -> AgentKeys | None:
        """Return the agent of a host, from the settings, learned or joined."""
        for agent in self._agents_of.get(host_uuid, ()):
            return agent
        return next((one.agent for one in self._learners if one.host_uuid == host_uuid), None)

    def reporter_of(self, host_uuid: str) -> AgentKeys | None:
        """Return the agent that speaks for a host now; None while cattle refuses its keys."""
        agent = self.agent_of(host_uuid)
        return None if agent is None or self._standing.is_refused(agent) else agent

    def add_agent(self, agent: AgentKeys) -> None:
        """Serve the host of an agent that came while the bridge runs."""
        host_uuid = str(agent.host_uuid)
        self._hosts[agent] = host_uuid
        self._agents_of.setdefault(host_uuid, []).append(agent)
        self._unnoted.add(host_uuid)
        self._unclaimed.add(host_uuid)
        self._standing.waits_for_host(agent, Wait.HOST_AWAY)

    def remove_agent(self, agent: AgentKeys) -> None:
        """Serve the host of an agent no more."""
        host_uuid = str(agent.host_uuid)
        del self._hosts[agent]
        self._reasons.pop(agent, None)
        others = [one for one in self._agents_of.pop(host_uuid, ()) if one != agent]
        if others:
            self._agents_of[host_uuid] = others
        self._released.append((host_uuid, agent.hash))

    async def recall(self) -> None:
        """Read which hosts were learned before.

        Errors: redis.RedisError.
        """
        for learner in self._learners:
            if not learner.is_read:
                known = await asyncio.to_thread(self._claims.remembered, learner.agent.hash)
                learner.host_uuid = self._hosts[learner.agent] = known
                learner.is_read = True

    async def look(self, changed: Mapping[str, Change]) -> None:
        """Take over what changed, and wake those who wait for it.

        Errors: redis.RedisError.
        """
        now_s = self._clock.now_s()
        self._skip_outage(now_s)
        for host_uuid, change in changed.items():
            if host_uuid in self._states or change.is_alive:
                self._state(host_uuid).set(is_alive=change.is_alive, now_s=now_s)
        unnoted, self._unnoted = self._unnoted, set()
        for host_uuid in unnoted | set(changed):
            self._note_agents(host_uuid)
        await self.recall()
        for learner in self._learners:
            await self._learn(learner)
        await self._release()
        # An agent whose keys are good again must have its host before another one takes it.
        is_back = any(not self._standing.is_refused(agent) for agent in self._given_up)
        if is_back or now_s - self._claimed_s >= CLAIM_EVERY_S:
            await asyncio.to_thread(self._claim)
            self._claimed_s = now_s
        else:
            # At once: an agent whose host is to be learned must not take it.
            came = {host for host, one in changed.items() if one.is_alive and not one.was_alive}
            if ours := self._served(came | set(filter(self.is_alive, self._unclaimed))):
                await asyncio.to_thread(self._claims.renew, ours)
        self._unclaimed.clear()

    async def _release(self) -> None:
        """Give up the claims of agents that left."""
        served = self._served({host_uuid for host_uuid, _ in self._released})
        given_up = [one for one in self._released if served.get(one[0]) != one[1]]
        if given_up:
            await asyncio.to_thread(self._claims.release, given_up)
        self._released.clear()

    def _skip_outage(self, now_s: float) -> None:
        """Do not count a time without Redis as absence of hosts: their leases expired in it."""
        outage_s, self._looked_s = now_s - self._looked_s, now_s
        if outage_s > OUTAGE_AFTER_S:
            self._began_s += outage_s
            for state in self._states.values():
                state.away_since_s += outage_s

    def _state(self, host_uuid: str) -> HostState:
        return self._states.setdefault(host_uuid, HostState(self._began_s))

    def _note_agents(self, host_uuid: str) -> None:
        for agent in self._agents_of.get(host_uuid, ()):
            wait = None if self.is_alive(host_uuid) else Wait.HOST_AWAY
            choice = Choice(host_uuid=host_uuid, wait=wait)
            self._note(agent, with_keys(choice, self._presence.unreadable()))
            if wait is not None and self._standing.is_open(agent):
                self._unnoted.add(host_uuid)

    def _served(self, hosts: Iterable[str]) -> dict[str, str]:
        """Return the agents' hashes of those of the hosts that the settings give to agents."""
        return {
            host_uuid: agent.hash
            for host_uuid in hosts
            for agent in self._agents_of.get(host_uuid, ())
            if not self._standing.is_refused(agent)
        }

    async def _learn(self, learner: _Learner) -> None:
        agent = learner.agent
        known, alive = learner.host_uuid, self._presence.alive()
        of_others: set[str] = set()
        if known in alive:
            learner.neighbors |= alive - {known}
        else:
            # Joined hosts have agents of their own, whatever the claims say by now.
            of_others = alive & self._agents_of.keys()
            of_others |= await asyncio.to_thread(
                self._claims.of_others, alive - of_others, agent.hash
            )
        choice = choose(
            known,
            alive=alive,
            of_others=of_others,
            is_gone=known is not None and self._is_gone(known),
            neighbors=learner.neighbors,
        )
        told = with_keys(choice, self._presence.unreadable())
        self._note(agent, told, free=alive - of_others)
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
        if found is not None and found in alive:
            async with self._learned:
                self._learned.notify_all()

    def _note(self, agent: AgentKeys, choice: Choice, free: AbstractSet[str] = frozenset()) -> None:
        """Keep what the agent waits for, and log it once.

        The host of an agent with an open websocket has a grace time, so it is not logged yet.
        """
        self._standing.waits_for_host(agent, choice.wait)
        reason = why_it_waits(agent, choice, free, away_after_s=self._away_after_s)
        if reason == self._reasons.get(agent, "") or self._standing.is_open(agent):
            return
        self._reasons[agent] = reason
        if reason:
            _log.warning("host.unknown", agent=agent.label, wait=choice.wait, reason=reason)

    def _claim(self) -> None:
        """Renew claims and memories; keys that cattle does not know hold no host back."""
        # A copy: agents come and go in the event loop, and this runs beside it.
        hosts = tuple(self._hosts.items())
        served = {
            agent: host_uuid
            for agent, host_uuid in hosts
            if host_uuid is not None and not self._standing.is_refused(agent)
        }
        refused = {one: host for one, host in hosts if host is not None and one not in served}
        self._given_up = set(refused)
        self._claims.release([(host, one.hash) for one, host in refused.items()])
        alive = {host: agent.hash for agent, host in served.items() if self.is_alive(host)}
        self._claims.renew(alive)
        for agent, host_uuid in served.items():
            if agent.host_uuid is None:
                self._claims.remember(agent.hash, host_uuid)

    async def wait_alive(self, agent: AgentKeys) -> str:
        """Return the agent's host, once it is known and has a worker."""
        if agent.host_uuid is not None:
            await self._state(agent.host_uuid).alive.wait()
            return agent.host_uuid
        async with self._learned:
            while True:
                host_uuid = self._hosts[agent]
                if host_uuid is not None and self.is_alive(host_uuid):
                    return host_uuid
                await self._learned.wait()

    async def wait_away(self, host_uuid: str) -> None:
        """Return when the host has had no worker for longer than any restart takes."""
        state = self._state(host_uuid)
        while True:
            await state.away.wait()
            if self._is_gone(host_uuid):
                return
            await asyncio.sleep(LOOK_EVERY_S)

    def is_alive(self, host_uuid: str) -> bool:
        """Return whether the host had a live worker at the last look."""
        state = self._states.get(host_uuid)
        return state is not None and state.alive.is_set()

    def _is_gone(self, host_uuid: str) -> bool:
        state = self._states.get(host_uuid)
        if state is not None and state.alive.is_set():
            return False
        since_s = self._began_s if state is None else state.away_since_s
        return self._clock.now_s() - since_s > self._away_after_s
