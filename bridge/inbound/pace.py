"""Spreads what all agents want at the same moment: opening a websocket after cattle was away.

Each handshake costs cattle several look-ups, and each new subscription brings pings. One agent that
lost its websocket passes at once; of hundreds one after the other does.
"""

import asyncio
from collections.abc import Callable

#: So many websockets a second are opened by one bridge, however few agents it has.
LEAST_PER_S = 16.0
#: However many agents it has, the last one is not later than this: cattle gives an agent up after
#: some 40 s of silence.
MOST_SPREAD_S = 15.0


class Pace:
    """A rate limiter; a caller passes at once while nobody waits."""

    def __init__(self, agents: Callable[[], int]) -> None:
        """Begin; `agents` says how many there are now."""
        self._agents = agents
        self._next_s = 0.0

    async def turn(self) -> None:
        """Wait for the next turn."""
        await asyncio.sleep(self.wait_s(asyncio.get_running_loop().time()))

    def wait_s(self, now_s: float) -> float:
        """Take the next turn, and say how long it is until then."""
        turn_s = max(now_s, self._next_s)
        self._next_s = turn_s + 1 / max(LEAST_PER_S, self._agents() / MOST_SPREAD_S)
        return turn_s - now_s
