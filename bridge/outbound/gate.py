"""A circuit breaker for POST /publish: it stops replies while cattle fails, and probes carefully.

While the gate is open, every reply passes. After failures of several different replies in a row it
closes. Then one reply of each kind at a time may try, after a growing, jittered wait, and the first
success opens the gate for all. So a cattle that comes back meets a few replies, not thousands.
Replies that cattle always answers with 500 are of one kind soon: they wait for each other, and the
pongs and the new replies of all hosts do not wait for them.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import StrEnum

CLOSES_AFTER = 5
FIRST_S = 0.25
MOST_S = 15.0


class Kind(StrEnum):
    """What a reply waits for at a closed gate: its turn among replies of its kind."""

    PONG = "pong"
    FIRST_TRY = "first-try"
    RETRY = "retry"


class Gate:
    """The one gate before POST /publish."""

    def __init__(self, *, first_s: float = FIRST_S) -> None:
        #: The wait before the first probe.
        self._first_s = first_s
        #: Replies that failed since the last one that did not.
        self._failing: set[str] = set()
        self._failed_probes: Counter[Kind] = Counter()
        #: Wakes those who wait for their turn when another one gets through.
        self._opened = asyncio.Event()
        self._probes: defaultdict[Kind, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def is_open(self) -> bool:
        """Whether replies pass freely."""
        return len(self._failing) < CLOSES_AFTER

    @asynccontextmanager
    async def passing(self, kind: Kind) -> AsyncIterator[None]:
        """Wait for permission to try."""
        while not self.is_open:
            async with self._probes[kind]:
                if not self.is_open:
                    wait_s = self.wait_s(kind, random.random())  # noqa: S311 -- spreads load
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._opened.wait(), wait_s)
                if not self.is_open:
                    yield
                    return
        yield

    def wait_s(self, kind: Kind, jitter: float) -> float:
        """Return the wait before the next probe of a kind; `jitter` from 0 to 1."""
        exponent = min(self._failed_probes[kind], 20)
        return min(self._first_s * 2.0**exponent, MOST_S) * (0.5 + jitter)

    def succeeded(self) -> None:
        """Cattle took a reply."""
        self._failing.clear()
        self._failed_probes.clear()
        self._opened.set()

    def failed(self, outcome_id: str, kind: Kind) -> None:
        """Cattle did not take this reply."""
        if not self.is_open:
            self._failed_probes[kind] += 1
        self._failing.add(outcome_id)
        if not self.is_open:
            self._opened.clear()
