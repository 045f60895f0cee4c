"""Looks at every host again and again for events that got lost on their way, and sends them again.

Every bridge does it; the steps are compare-and-set, so several do no harm.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

import redis

from cowpoke.ledger.recovery import Sweeper
from cowpoke.liveness import LEASE_TTL_MS, Leases
from cowpoke.log import logger

_log = logger(__name__)

SWEEP_EVERY_S = 1.0
#: After an absence of Redis a live worker needs this long at most to renew its lease.
PATIENCE_S = LEASE_TTL_MS / 1000


async def sweep_forever(leases: Leases, sweeper: Sweeper, swept: Counter[str]) -> None:
    """Sweep all hosts once a second until cancelled, and count the steps that took effect.

    While Redis is away, leases run out and nobody is dead: then the sweeper looks away for a while.
    """
    patient_until_s = 0.0
    while True:
        try:
            began_s = time.monotonic()
            hosts = await asyncio.to_thread(leases.hosts)
            if time.monotonic() - began_s > SWEEP_EVERY_S:
                patient_until_s = time.monotonic() + PATIENCE_S
            await asyncio.to_thread(sweeper.clock.measure)
            if sweeper.clock.jumped_within(PATIENCE_S):
                # Leases ran out by the jump of the server's clock, and nobody is dead.
                patient_until_s = time.monotonic() + PATIENCE_S
            if time.monotonic() >= patient_until_s:
                swept.update(await asyncio.to_thread(_sweep_all, hosts, sweeper))
        except redis.RedisError as problem:
            patient_until_s = time.monotonic() + PATIENCE_S
            _log.debug("sweep.waits", reason=str(problem))
        await asyncio.sleep(SWEEP_EVERY_S)


def _sweep_all(hosts: Sequence[str], sweeper: Sweeper) -> Counter[str]:
    swept: Counter[str] = Counter()
    for host_uuid in hosts:
        counts = {str(step): number for step, number in sweeper.sweep(host_uuid).items()}
        if counts:
            swept.update(counts)
            _log.warning("host.swept", host=host_uuid, **counts)
    return swept
