"""How each agent stands: whether its websocket is open, and what it waits for when not."""

from collections.abc import Iterable
from enum import StrEnum
from time import monotonic

from bridge.inbound.reconnect import Ending
from bridge.settings import AgentKeys


class Wait(StrEnum):
    """What an agent without a websocket waits for."""

    #: No worker of any host lives.
    NO_WORKER = "no-worker"
    #: Several hosts have workers, and none is known to be the agent's.
    SEVERAL_HOSTS = "several-hosts"
    #: The only hosts with workers are other agents'.
    OTHER_AGENTS_HOST = "host-of-another-agent"
    #: The agent's host has no worker.
    HOST_AWAY = "host-away"
    #: The workers of the agent's host, or of any, have keys that this bridge does not have.
    KEYS_DIFFER = "keys-differ"
    #: cattle cannot be reached, or the websocket was lost.
    SERVER = "server"
    #: cattle refused the agent's keys; see the log.
    KEYS_REFUSED = "keys-refused"
    #: cattle has refused them for so long that the host counts as removed in Rancher.
    REMOVED = "removed"


_REFUSED = frozenset(
    {Ending.UNAUTHORIZED, Ending.FORBIDDEN, Ending.AMBIGUOUS, Ending.WRONG_ACCOUNT}
)


class Standing:
    """The state of all agents, written by their streams and by `Hosts`."""

    def __init__(self, agents: Iterable[AgentKeys]) -> None:
        self._open = dict.fromkeys(agents, False)
        self._ending: dict[AgentKeys, Ending] = {}
        self._host_wait: dict[AgentKeys, Wait] = {}
        self._removed: set[AgentKeys] = set()
        self._reasons: dict[AgentKeys, str] = {}
        self._hosts: dict[AgentKeys, str] = {}
        #: When cattle last asked the agent something, by the monotonic clock.
        self._asked_s: dict[AgentKeys, float] = {}
        self._opened_s: dict[AgentKeys, float] = {}
        #: Agents of which something changed since somebody took them out of here.
        self.changed: set[AgentKeys] = set(self._open)

    def __len__(self) -> int:
        """Return how many agents this bridge has."""
        return len(self._open)

    def add(self, agent: AgentKeys) -> None:
        """Note an agent that came."""
        self._open[agent] = False
        self.changed.add(agent)

    def forget(self, agent: AgentKeys) -> None:
        """Note that an agent left."""
        for noted in (
            *(self._open, self._ending, self._host_wait),
            *(self._reasons, self._hosts, self._asked_s, self._opened_s),
        ):
            noted.pop(agent, None)
        self._removed.discard(agent)
        self.changed.add(agent)

    def serves(self, agent: AgentKeys, host_uuid: str) -> None:
        """Note the host of an agent, from the settings, learned or joined."""
        self._hosts[agent] = host_uuid
        self.changed.add(agent)

    def opened(self, agent: AgentKeys) -> None:
        """Note that the agent's websocket is open."""
        self._open[agent] = True
        self._ending.pop(agent, None)
        self._reasons.pop(agent, None)
        self._asked_s.pop(agent, None)
        self._opened_s[agent] = monotonic()
        self._removed.discard(agent)
        self.changed.add(agent)

    def asked(self, agent: AgentKeys) -> None:
        """Note that cattle asked the agent something; it pings every 5 s."""
        self._asked_s[agent] = monotonic()

    def closed(self, agent: AgentKeys, ending: Ending, reason: str = "") -> None:
        """Note how the agent's websocket, or the attempt to open it, ended."""
        self._open[agent] = False
        self._ending[agent] = ending
        self._reasons[agent] = reason
        self.changed.add(agent)

    def removed(self, agent: AgentKeys, *, is_removed: bool) -> None:
        """Note whether cattle refuses the agent's keys for good."""
        (self._removed.add if is_removed else self._removed.discard)(agent)
        self.changed.add(agent)

    def waits_for_host(self, agent: AgentKeys, wait: Wait | None) -> None:
        """Note what keeps the agent from its host; None when the host is there."""
        if wait == self._host_wait.get(agent):
            return
        if wait is None:
            self._host_wait.pop(agent, None)
        else:
            self._host_wait[agent] = wait
        self.changed.add(agent)

    def is_unknown(self, agent: AgentKeys) -> bool:
        """Return whether cattle last took the agent's keys for another account's."""
        return self._ending.get(agent) is Ending.WRONG_ACCOUNT

    def is_refused(self, agent: AgentKeys) -> bool:
        """Return whether cattle last did not know the agent's keys at all."""
        refused = {Ending.UNAUTHORIZED, Ending.WRONG_ACCOUNT}
        return agent in self._removed or self._ending.get(agent) in refused

    def is_open(self, agent: AgentKeys) -> bool:
        """Return whether the agent's websocket is open."""
        return self._open.get(agent, False)

    def is_known(self, agent: AgentKeys) -> bool:
        """Return whether this bridge has the agent."""
        return agent in self._open

    def host_of(self, agent: AgentKeys) -> str:
        """Return the host of an agent; empty as long as it is not known."""
        return self._hosts.get(agent) or agent.host_uuid or ""

    def reason_of(self, agent: AgentKeys) -> str:
        """Return why the last websocket of an agent was closed, or not opened."""
        return self._reasons.get(agent, "")

    def asked_s(self, agent: AgentKeys) -> float | None:
        """Return when cattle last asked something on this websocket, by the monotonic clock."""
        return self._asked_s.get(agent)

    def silent_s(self, agent: AgentKeys, now_s: float) -> float | None:
        """Return how long cattle has asked nothing on an open websocket; None without one."""
        if not self.is_open(agent):
            return None
        return now_s - self._asked_s.get(agent, self._opened_s.get(agent, now_s))

    def wait_of(self, agent: AgentKeys) -> Wait | None:
        """Return what an agent waits for; None when its websocket is open."""
        return None if self.is_open(agent) else self._wait(agent)

    def open_websockets(self) -> dict[AgentKeys, bool]:
        """Return whether each agent's websocket is open."""
        return dict(self._open)

    def waits(self) -> dict[AgentKeys, Wait]:
        """Return what each agent without a websocket waits for."""
        return {agent: self._wait(agent) for agent, is_open in self._open.items() if not is_open}

    def _wait(self, agent: AgentKeys) -> Wait:
        if agent in self._removed:
            return Wait.REMOVED
        if agent in self._host_wait:
            return self._host_wait[agent]
        return Wait.KEYS_REFUSED if self._ending.get(agent) in _REFUSED else Wait.SERVER
