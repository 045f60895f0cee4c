"""Who is alive: each worker process and each bridge renews a key that expires without it.

The lease is what liveness, recovery and the learning of a host's uuid read; nothing else says that
a process lives.
"""

import json
import time
from dataclasses import asdict, dataclass, fields
from typing import Any

import redis

from cowpoke import keys
from cowpoke.log import logger

_log = logger(__name__)

RENEW_EVERY_S = 1.0
#: Four renewals: a busy machine must not lose its lease, a dead one must be noticed in seconds.
LEASE_TTL_MS = 4_000

# One step: an event that is accepted in between would lie at a host that no sweeper looks at.
_FORGET_HOST = """
if redis.call('EXISTS', KEYS[1], KEYS[2]) == 0 then redis.call('SREM', KEYS[3], ARGV[1]) end
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """One worker process, as it introduces itself."""

    boot_id: str
    host_uuid: str
    lane: str
    node: str
    hostname: str
    #: Processes with the same domain share locks; those of one host must.
    lock_domain: str
    version: str
    started_ms: int
    #: Of the host, told by its lane for images; 0 by the others.
    orphan_volumes: int = 0
    #: Its pid namespace and its supervisor's pid, `4026531836:17`; its health check reads it.
    process: str = ""


class Leases:
    """The leases in one Redis."""

    def __init__(self, client: "redis.Redis") -> None:
        self._redis = client
        self._forget = client.register_script(_FORGET_HOST)

    def renew(self, lease: Lease) -> None:
        """Say that the process lives."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.set(keys.lease(lease.boot_id), json.dumps(asdict(lease)), px=LEASE_TTL_MS)
            pipe.sadd(keys.boots(lease.host_uuid), lease.boot_id)
            pipe.sadd(keys.HOSTS, lease.host_uuid)
            pipe.zadd(keys.SEEN, {lease.host_uuid: round(time.time())})
            pipe.execute()

    def give_up(self, host_uuid: str, *boot_ids: str) -> None:
        """Say that processes are gone, sooner than their leases would."""
        if boot_ids:
            with self._redis.pipeline() as pipe:
                pipe.delete(*(keys.lease(boot_id) for boot_id in boot_ids))
                pipe.srem(keys.boots(host_uuid), *boot_ids)
                pipe.execute()

    def hosts(self) -> list[str]:
        """Every host with a worker or with open events."""
        return sorted(map(str, self._redis.smembers(keys.HOSTS)))

    def of_host(self, host_uuid: str) -> dict[str, Lease]:
        """The live processes of a host by boot id; ids of dead ones are forgotten."""
        boot_ids = sorted(map(str, self._redis.smembers(keys.boots(host_uuid))))
        if not boot_ids:
            return {}
        texts = self._redis.mget([keys.lease(boot_id) for boot_id in boot_ids])
        found = dict(zip(boot_ids, texts, strict=True))
        dead = [boot_id for boot_id, text in found.items() if text is None]
        if dead:
            self._redis.srem(keys.boots(host_uuid), *dead)
        read = {boot_id: _lease(text) for boot_id, text in found.items() if text is not None}
        return {boot_id: lease for boot_id, lease in read.items() if lease is not None}

    def has_workers(self, host_uuid: str) -> bool:
        """Return whether a process of the host lives; unlike `of_host` this changes nothing."""
        boot_ids = map(str, self._redis.smembers(keys.boots(host_uuid)))
        leases = [keys.lease(boot_id) for boot_id in boot_ids]
        return bool(leases) and bool(self._redis.exists(*leases))

    def last_seen(self) -> dict[str, float]:
        """When each host last had a worker (Unix time in s), for as long as it is not forgotten."""
        found: Any = self._redis.zrange(keys.SEEN, 0, -1, withscores=True)
        return {str(host_uuid): float(seen_s) for host_uuid, seen_s in found}

    def forget_seen(self, host_uuid: str) -> None:
        """Drop a host that is gone for good; its next lease makes it known again."""
        self._redis.zrem(keys.SEEN, host_uuid)

    def renew_bridge(self, bridge_id: str) -> None:
        """Say that the bridge lives."""
        self._redis.set(keys.bridge(bridge_id), int(time.time()), px=LEASE_TTL_MS)

    def live_bridges(self, bridge_ids: list[str]) -> set[str]:
        """Those of the bridges that live."""
        if not bridge_ids:
            return set()
        found = self._redis.mget([keys.bridge(bridge_id) for bridge_id in bridge_ids])
        return {i for i, value in zip(bridge_ids, found, strict=True) if value is not None}

    def forget_host(self, host_uuid: str) -> None:
        """Drop a host, if it has neither workers nor open events at this very moment."""
        self._forget(
            keys=[keys.open_events(host_uuid), keys.boots(host_uuid), keys.HOSTS], args=[host_uuid]
        )


def _lease(text: str | bytes) -> Lease | None:
    """The lease in a key; None for what no program of ours wrote."""
    try:
        said = json.loads(text)
        # Programs of another version may say more of themselves than this one knows.
        known = {field.name for field in fields(Lease)}
        return Lease(**{name: value for name, value in said.items() if name in known})
    except (AttributeError, TypeError, ValueError):
        _log.warning("lease.unreadable", characters=len(text))
        return None
