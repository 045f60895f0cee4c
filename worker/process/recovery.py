"""Gives back the events of processes of this host that are dead, without waiting for leases.

A lease says within seconds that a worker is dead; on its own host its lock says so now.
"""

import redis

from cowpoke.ledger.recovery import Sweeper
from cowpoke.liveness import Leases
from cowpoke.log import logger
from worker.process.runtime import Runtime, boot_id_of, worker_lock

_log = logger(__name__)


def recover(runtime: Runtime, *, starts: int) -> None:
    """Send again what dead workers of this host, and dead processes of this lane, had claimed.

    An absent Redis is no reason to wait: the bridges do the same a little later.
    """
    try:
        _recover(runtime, starts)
    except redis.RedisError as problem:
        _log.warning("host.recovery_failed", reason=str(problem), advice="a bridge does it later")


def _recover(runtime: Runtime, starts: int) -> None:
    host_uuid = runtime.identity.host_uuid
    leases = Leases(runtime.redis)
    live = leases.of_host(host_uuid, runtime.keyring.host(host_uuid))
    dead = [lease for lease in live.values() if _is_dead(runtime, lease.worker_id)]
    dead = [lease for lease in dead if lease.lock_domain == runtime.locks.domain()]
    leases.give_up(host_uuid, *(lease.worker_id for lease in dead))
    boot_ids = [boot_id for lease in dead for boot_id in lease.boot_ids]
    boot_ids += [boot_id_of(runtime.worker_id, runtime.lane, n) for n in range(1, starts)]
    sweeper = Sweeper(runtime.redis, runtime.keyring, runtime.ledger.clock)
    counts = sweeper.sweep_host(host_uuid, boot_ids)
    if dead or counts:
        _log.info(
            "host.recovered",
            dead_workers=[lease.worker_id for lease in dead],
            **{str(step): number for step, number in counts.items()},
        )


def _is_dead(runtime: Runtime, worker_id: str) -> bool:
    if worker_id == runtime.worker_id:
        return False
    with runtime.locks.try_hold(worker_lock(worker_id)) as free:
        return free
