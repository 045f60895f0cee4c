"""The times in which an agent had no open websocket, from its first one on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True)
class _Agent:
    open: int = 0
    closed_s: float = 0.0
    gaps_s: list[float] = field(default_factory=list)


class WebsocketGaps:
    """The gaps of all agents; what cattle sends in one of them is lost."""

    def __init__(self) -> None:
        self._agents: dict[int, _Agent] = {}

    def opened(self, agent_ids: Iterable[int]) -> None:
        """Note that agents have one more websocket."""
        for agent_id in agent_ids:
            agent = self._agents.get(agent_id)
            if agent is None:
                agent = self._agents[agent_id] = _Agent()
            elif not agent.open:
                agent.gaps_s.append(time.monotonic() - agent.closed_s)
            agent.open += 1

    def closed(self, agent_ids: Iterable[int]) -> None:
        """Note that agents have one websocket less."""
        for agent_id in agent_ids:
            agent = self._agents[agent_id]
            agent.open -= 1
            agent.closed_s = time.monotonic()

    def snapshot(self) -> dict[str, list[float]]:
        """Return the lengths in s of the gaps of each agent; one that lasts counts up to now."""
        now_s = time.monotonic()
        return {
            f"1a{agent_id}": [
                round(gap_s, 3)
                for gap_s in [*one.gaps_s, *([] if one.open else [now_s - one.closed_s])]
            ]
            for agent_id, one in self._agents.items()
        }
