"""Decide when cattle refuses all keys of this bridge, so that it holds no replies any more.

Another bridge may have keys that work. A bridge without any gives its replies back, reads nothing
for a growing while, and then tries one reply.
"""

import asyncio
from collections.abc import Callable

from bridge.settings import AgentKeys

#: Refusals in a row, and refused agents, after which the keys count as wrong.
FEW = 3
MANY_AGENTS = 10
PAUSE_FIRST_S = 5.0
PAUSE_MOST_S = 30.0


class RefusedKeys:
    """The refusals since cattle last took a reply."""

    def __init__(self, agents: Callable[[], int]) -> None:
        """Begin without any; `agents` says how many there are now."""
        self._agents = agents
        self._refused: set[AgentKeys] = set()
        self._count = 0
        self._pauses = 0
        #: Set when the bridge should give back what it holds.
        self.all_refused = asyncio.Event()
        #: True while the bridge reads nothing.
        self.resting = False

    @property
    def probing(self) -> bool:
        """Whether the bridge takes one reply at a time, to see if its keys work again."""
        return self._pauses > 0

    def refused(self, agent: AgentKeys) -> None:
        """Count one refusal of an agent's keys."""
        self._refused.add(agent)
        self._count += 1
        needed = min(self._agents(), MANY_AGENTS)
        enough = self._count >= FEW and len(self._refused) >= needed
        if self.probing or enough:
            self.all_refused.set()

    def succeeded(self) -> None:
        """Forget all refusals: cattle knows some keys of this bridge."""
        self._refused.clear()
        self._count = self._pauses = 0
        self.all_refused.clear()

    def next_pause_s(self) -> float:
        """Return how long to read nothing now; it doubles from one pause to the next."""
        pause_s = min(PAUSE_FIRST_S * 2.0 ** min(self._pauses, 10), PAUSE_MOST_S)
        self._pauses += 1
        return pause_s
