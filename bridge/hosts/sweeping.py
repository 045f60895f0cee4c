"""Finds events that got lost on their way, and sends them again.

It looks at the events whose check is due; when the workers of a host changed, those are all of the
host. Every bridge does it; the steps are compare-and-set, so several do no harm.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence

import redis

from cowpoke.ledger.decisions import Step
from cowpoke.ledger.due import BridgeSweeper
from cowpoke.ledger.stories import OverEvent
from cowpoke.liveness import LEASE_TTL_MS
from cowpoke.log import logger

_log = logger(__name__)

SWEEP_EVERY_S = 1.0
#: After an absence of Redis a live worker needs this long at most to renew its lease.
PATIENCE_S = LEASE_TTL_MS / 1000
#: How often the index of next checks is compared with the open events: a part may be lost.
CHECK_INDEX_EVERY_S = 60.0

#: Tells of events that ended without a reply.
TellOver = Callable[[Sequence[OverEvent]], Awaitable[None]]


class Sweeping:
    """The task that sweeps, and counts the steps that took effect.

    While Redis is away, leases run out and nobody is dead: then it looks away for a while.
    """

    def __init__(self, sweeper: BridgeSweeper) -> None:
        self._sweeper = sweeper
        #: Hears of the events that were found over.
        self.tell_over: TellOver | None = None
        self._hosts: set[str] = set()
        self._some = asyncio.Event()
        self._patient_until_s = 0.0
        self._index_s = float("-inf")
        #: Of the hosts that were compared last; 0 between two comparisons.
        self._cursor = "0"
        #: Whether the times in the index may be wrong: what happened before the start is unknown.
        self._are_all_due = True
        #: By step.
        self.counts: Counter[str] = Counter()

    def add(self, hosts: Iterable[str]) -> None:
        """Have the open events of hosts looked at soon."""
        self._hosts.update(hosts)
        if self._hosts:
            self._some.set()

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                await self._sweep()
            except redis.RedisError as problem:
                self._be_patient()
                _log.debug("sweep.blocked", reason=str(problem))
            try:
                async with asyncio.timeout(SWEEP_EVERY_S):
                    await self._some.wait()
            except TimeoutError:
                continue
            if time.monotonic() < self._patient_until_s:
                await asyncio.sleep(SWEEP_EVERY_S)

    def _be_patient(self) -> None:
        self._patient_until_s = time.monotonic() + PATIENCE_S

    async def _sweep(self) -> None:
        sweeper = self._sweeper
        began_s = time.monotonic()
        await asyncio.to_thread(sweeper.clock.measure)
        has_jumped = sweeper.clock.jumped_within(PATIENCE_S)
        self._are_all_due |= has_jumped
        # Leases ran out by an outage or by a jump of the server's clock, and nobody is dead.
        if time.monotonic() - began_s > SWEEP_EVERY_S or has_jumped:
            self._be_patient()
        if time.monotonic() < self._patient_until_s:
            return
        hosts, self._hosts = self._hosts, set()
        self._some.clear()
        try:
            await asyncio.to_thread(sweeper.hasten, sorted(hosts))
            await asyncio.to_thread(self._check_index)
        except redis.RedisError:
            self.add(hosts)
            raise
        more = True
        while more:
            steps, more = await asyncio.to_thread(sweeper.sweep_due)
            for host_uuid, counts in steps.items():
                self._count(host_uuid, counts)
            over = sweeper.take_over()
            if over and self.tell_over is not None:
                await self.tell_over(over)

    def _check_index(self) -> None:
        """Compare a part of the index: dead hosts do not wait for all of it."""
        if self._are_all_due:
            self._sweeper.check_index(are_all_due=True)
            self._are_all_due = False
        elif self._cursor != "0" or time.monotonic() - self._index_s > CHECK_INDEX_EVERY_S:
            self._cursor = self._sweeper.check_index_part(self._cursor)
        else:
            return
        if self._cursor == "0":
            self._index_s = time.monotonic()

    def _count(self, host_uuid: str, counts: Counter[Step]) -> None:
        taken = {str(step): number for step, number in counts.items() if number}
        if taken:
            self.counts.update(taken)
            _log.warning("host.swept", host=host_uuid, **taken)
