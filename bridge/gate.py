"""Holds replies back while cattle takes none, and lets them go again gently.

While the gate is open everybody passes. After failures of several different replies in a row it
closes; then one at a time may try, after a growing, jittered wait, and the first success opens it
for all. So a cattle that comes back meets one reply, not thousands, and one reply that cattle
always answers with 500 does not hold up the others.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CLOSES_AFTER = 5
FIRST_S = 0.25
MOST_S = 15.0


class Gate:
    """The one gate before POST /publish."""

    def __init__(self) -> None:
        #: Replies that failed since the last one that did not.
        self._failing: set[str] = set()
        self._failed_probes = 0
        self._probe = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Whether replies pass freely."""
        return len(self._failing) < CLOSES_AFTER

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Wait for leave to try."""
        while not self.is_open:
            async with self._probe:
                if self.is_open:
                    break
                await asyncio.sleep(self.wait_s(random.random()))  # noqa: S311 -- spreads load
                yield
                return
        yield

    def wait_s(self, jitter: float) -> float:
        """The wait before the next probe; `jitter` from 0 to 1."""
        exponent = min(self._failed_probes, 20)
        return min(FIRST_S * 2.0**exponent, MOST_S) * (0.5 + jitter)

    def succeeded(self) -> None:
        """Cattle took a reply."""
        self._failing.clear()
        self._failed_probes = 0

    def failed(self, outcome_id: str) -> None:
        """Cattle did not take this reply."""
        if not self.is_open:
            self._failed_probes += 1
        self._failing.add(outcome_id)
