"""Keeps two machines from being one host: a cloned disk has the uuid of the host it came from.

Workers of one host share a kernel and a lock file, and their leases say so. A live lease of the
same host with other locks is another machine; one that is merely old (this machine was started
anew) is gone within seconds.
"""

import time

import redis

from cowpoke.broker import connect
from cowpoke.lease import Lease
from cowpoke.liveness import LEASE_TTL_MS, RENEW_EVERY_S, Leases
from cowpoke.log import logger
from worker.errors import HostFactsError
from worker.host.identity import Identity
from worker.host.locks import Locks
from worker.settings import WorkerSettings

_log = logger(__name__)

#: Longer than a lease whose owner died just now.
WATCHED_S = LEASE_TTL_MS / 1000 + RENEW_EVERY_S
_LOOK_EVERY_S = 0.5


def check_duplicate_host(settings: WorkerSettings, identity: Identity) -> None:
    """Return when no other machine works as this host (A 15.12, C 20); waits for an absent Redis.

    Errors: HostFactsError naming both machines.
    """
    domain = Locks(settings.lock_dir, wait_s=settings.lock_wait_s).domain()
    client = connect(settings)
    sealer = settings.keyring().host(identity.host_uuid)
    watched_since_s: dict[str, float] = {}
    while True:
        try:
            live = Leases(client).of_host(identity.host_uuid, sealer)
        except redis.RedisError as problem:
            _log.warning("worker.redis_unavailable", reason=str(problem))
            time.sleep(_LOOK_EVERY_S)
            continue
        others = {
            worker_id: lease for worker_id, lease in live.items() if lease.lock_domain != domain
        }
        if not others:
            client.close()
            return
        now_s = time.monotonic()
        for worker_id, lease in others.items():
            if now_s - watched_since_s.setdefault(worker_id, now_s) > WATCHED_S:
                raise HostFactsError(_reason(identity, lease, settings))
        time.sleep(_LOOK_EVERY_S)


def _reason(identity: Identity, lease: Lease, settings: WorkerSettings) -> str:
    named = settings.docker_uuid_file
    former = settings.home / named.name
    # A worker takes the uuid from the former place where the file is missing.
    files = f"{named} and {former}" if former != named and former.exists() else str(named)
    return (
        f"this machine ({identity.hostname}) has the uuid {identity.host_uuid}, and so has "
        f"{lease.hostname}, where worker {lease.worker_id} is running. On a clone remove "
        f"{files} and unset CATTLE_DOCKER_UUID, to become a host of its own; "
        "workers of one machine must share CATTLE_HOME"
    )
