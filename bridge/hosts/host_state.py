"""Whether a host has workers, for those who wait for a change."""

import asyncio


class HostState:
    """One host, at the last look."""

    def __init__(self, since_s: float) -> None:
        self.alive = asyncio.Event()
        self.away = asyncio.Event()
        self.away.set()
        #: When its last worker was gone.
        self.away_since_s = since_s

    def set(self, *, is_alive: bool, now_s: float) -> None:
        """Note what a look found."""
        if is_alive:
            self.alive.set()
            self.away.clear()
        elif self.alive.is_set():
            self.alive.clear()
            self.away.set()
            self.away_since_s = now_s
