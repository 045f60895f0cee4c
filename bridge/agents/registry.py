"""Which agents there are now: those of the settings for good, those of joined hosts as they come.

A reply goes out with the keys of the agent its event came for. When a host leaves, or gets other
keys, its former keys are kept for a while for the replies that are still on their way.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import monotonic

from bridge.settings import AgentKeys

#: About as long as cattle waits for the longest event.
LEFT_KEPT_S = 900.0


@dataclass(frozen=True, slots=True)
class _Left:
    agent: AgentKeys
    until_s: float


class Agents:
    """The agents of one bridge. Used in the event loop only."""

    def __init__(self, configured: Iterable[AgentKeys] = (), *, known: bool = True) -> None:
        """Begin with the agents of the settings.

        Args:
            configured: Those agents.
            known: False until the notes of joined hosts were read for the first time.
        """
        self.configured = tuple(configured)
        self.known = known
        self._by_key = {agent.access_key: agent for agent in self.configured}
        self._by_secret = {_secret(agent): agent for agent in self.configured}
        #: By host uuid, as the notes of hosts name them.
        self._joined: dict[str, AgentKeys] = {}
        #: The last one of each host that has another one now, or none.
        self._left: dict[str, _Left] = {}
        #: Each agent and the one to try after it; made anew when it is asked for.
        self._ring: dict[AgentKeys, AgentKeys] = {}

    def __len__(self) -> int:
        return len(self.configured) + len(self._joined)

    def __iter__(self) -> Iterator[AgentKeys]:
        yield from self.configured
        yield from self._joined.values()

    @property
    def joined_count(self) -> int:
        """How many agents are those of joined hosts."""
        return len(self._joined)

    def joined_hosts(self) -> set[str]:
        """The hosts whose agents came by joining."""
        return set(self._joined)

    def joined_of(self, host_uuid: str) -> AgentKeys | None:
        """The agent that a host joined with."""
        return self._joined.get(host_uuid)

    def join(self, agent: AgentKeys) -> None:
        """Take the agent of a host that joined, in place of the one it had."""
        host_uuid = str(agent.host_uuid)
        self.leave(host_uuid)
        if host_uuid in self._left and self._left[host_uuid].agent == agent:
            del self._left[host_uuid]
        self._joined[host_uuid] = agent
        self._by_secret[_secret(agent)] = agent
        self._ring = {}

    def leave(self, host_uuid: str) -> None:
        """Have no agent of a joined host any more; its keys are kept for replies on their way."""
        now_s = monotonic()
        # The oldest ones come first.
        while self._left and next(iter(self._left.values())).until_s < now_s:
            del self._left[next(iter(self._left))]
        agent = self._joined.pop(host_uuid, None)
        if agent is not None:
            self._left.pop(host_uuid, None)
            self._left[host_uuid] = _Left(agent, now_s + LEFT_KEPT_S)
            del self._by_secret[_secret(agent)]
            self._ring = {}

    def of(self, host_uuid: str, access_key: str) -> AgentKeys | None:
        """The agent with this key for whose host an event came, also one that left lately.

        A host says itself which keys it joined with. So its keys count for its own events only,
        and no host is taken for another one's agent.
        """
        joined, left = self._joined.get(host_uuid), self._left.get(host_uuid)
        if joined is not None and joined.access_key == access_key:
            return joined
        if left is not None and left.agent.access_key == access_key and left.until_s > monotonic():
            return left.agent
        return self._by_key.get(access_key)

    def twin_of(self, agent: AgentKeys) -> AgentKeys | None:
        """The agent with the very same keys, of whatever host."""
        return self._by_secret.get(_secret(agent))

    def any_for(self, host_uuid: str) -> AgentKeys | None:
        """Some agent, of this host if it has one; None when there is none at all."""
        return self._joined.get(host_uuid) or next(iter(self), None)

    def next_after(self, agent: AgentKeys) -> AgentKeys:
        """Whom to try when cattle does not know an agent's keys any more: all by turns."""
        if not self._ring:
            listed = list(self)
            self._ring = dict(zip(listed, [*listed[1:], *listed[:1]], strict=True))
        if agent in self._ring:
            return self._ring[agent]
        return self.any_for(str(agent.host_uuid)) or agent


def _secret(agent: AgentKeys) -> tuple[str, str, str | None]:
    return agent.access_key, agent.secret_key.get_secret_value(), agent.agent_id
