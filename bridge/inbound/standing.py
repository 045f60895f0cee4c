"""How each agent stands: whether its websocket is open, and what it waits for when not."""

from collections.abc import Iterable
from enum import StrEnum

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

    def add(self, agent: AgentKeys) -> None:
        """Note an agent that came."""
        self._open[agent] = False

    def forget(self, agent: AgentKeys) -> None:
        """Note that an agent left."""
        for noted in (self._open, self._ending, self._host_wait):
            noted.pop(agent, None)
        self._removed.discard(agent)

    def opened(self, agent: AgentKeys) -> None:
        """Note that the agent's websocket is open."""
        self._open[agent] = True
        self._ending.pop(agent, None)
        self._removed.discard(agent)

    def closed(self, agent: AgentKeys, ending: Ending) -> None:
        """Note how the agent's websocket, or the attempt to open it, ended."""
        self._open[agent] = False
        self._ending[agent] = ending

    def removed(self, agent: AgentKeys, *, is_removed: bool) -> None:
        """Note whether cattle refuses the agent's keys for good."""
        (self._removed.add if is_removed else self._removed.discard)(agent)

    def waits_for_host(self, agent: AgentKeys, wait: Wait | None) -> None:
        """Note what keeps the agent from its host; None when the host is there."""
        if wait is None:
            self._host_wait.pop(agent, None)
        else:
            self._host_wait[agent] = wait

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
