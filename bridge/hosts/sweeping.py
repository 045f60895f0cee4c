"""Finds events that got lost on their way, and sends them again.

It looks at the events whose check is due, and at all events of hosts whose workers changed. Every
bridge does it; the steps are compare-and-set, so several do no harm.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable

import redis

from cowpoke.broker import concerns_one_key
from cowpoke.ledger.decisions import Step
from cowpoke.ledger.due import BridgeSweeper
from cowpoke.liveness import LEASE_TTL_MS
from cowpoke.log import logger

_log = logger(__name__)

SWEEP_EVERY_S = 1.0
#: After an absence of Redis a live worker needs this long at most to renew its lease.
PATIENCE_S = LEASE_TTL_MS / 1000
#: All hosts with open events, in case an announcement or a part of the index was lost.
SWEEP_ALL_EVERY_S = 60.0


class Sweeping:
    """The task that sweeps, and counts the steps that took effect.

    While Redis is away, leases run out and nobody is dead: then it looks away for a while.
    """

    def __init__(self, sweeper: BridgeSweeper) -> None:
        self._sweeper = sweeper
        self._hosts: set[str] = set()
        self._some = asyncio.Event()
        self._patient_until_s = 0.0
        self._all_s = time.monotonic()
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
        began_s = time.monotonic()
        await asyncio.to_thread(self._sweeper.clock.measure)
        # Leases ran out by an outage or by a jump of the server's clock, and nobody is dead.
        if time.monotonic() - began_s > SWEEP_EVERY_S or self._sweeper.clock.jumped_within(
            PATIENCE_S
        ):
            self._be_patient()
        if time.monotonic() < self._patient_until_s:
            return
        hosts, self._hosts = self._hosts, set()
        self._some.clear()
        try:
            if time.monotonic() - self._all_s > SWEEP_ALL_EVERY_S:
                hosts |= set(await asyncio.to_thread(self._sweeper.hosts_with_open_events))
                self._all_s = time.monotonic()
            await asyncio.to_thread(self._sweep_hosts, sorted(hosts))
        except redis.RedisError:
            self.add(hosts)
            raise
        more = True
        while more:
            steps, more = await asyncio.to_thread(self._sweeper.sweep_due)
            for host_uuid, counts in steps.items():
                self._count(host_uuid, counts)

    def _sweep_hosts(self, hosts: list[str]) -> None:
        for host_uuid in hosts:
            try:
                self._count(host_uuid, self._sweeper.sweep_host(host_uuid))
            except redis.ResponseError as problem:
                if not concerns_one_key(problem):
                    raise
                _log.error("host.unreadable", host=host_uuid, reason=str(problem))

    def _count(self, host_uuid: str, counts: Counter[Step]) -> None:
        taken = {str(step): number for step, number in counts.items() if number}
        if taken:
            self.counts.update(taken)
            _log.warning("host.swept", host=host_uuid, **taken)
