"""Leases of workers and bridges. A lease expires if it is not renewed.

`lease.py` has what the lease of a worker holds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import redis

from cowpoke import keys
from cowpoke.broker import answers, concerns_one_key
from cowpoke.lease import Lease, lease_text, read_lease
from cowpoke.log import logger
from cowpoke.seal import SealBrokenError, Sealer

_log = logger(__name__)

RENEW_EVERY_S = 1.5
#: What is said on the doorbell of a host when a lease was written or given up.
LEASE_CHANGED = "lease"
#: Three renewals: a busy machine must not lose its lease, a dead one must be noticed in seconds.
LEASE_TTL_MS = 5_000
#: Renewals of a lease after which a worker also joins the set of its host's workers again.
REJOIN_EVERY = 20


# A worker whose lease was away for a moment may be back: looked at and removed in one step.
_FORGET_DEAD = """
for _, worker in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[2] .. worker) == 0 then redis.call('SREM', KEYS[1], worker) end
end
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class HostLeases:
    """The leases of one host."""

    #: By worker id.
    leases: Mapping[str, Lease] = field(default_factory=dict)
    #: Workers whose lease our key of the host does not open.
    unreadable: tuple[str, ...] = ()


class Leases:
    """The leases in one Redis. Thread-safe."""

    def __init__(self, client: "redis.Redis") -> None:
        self._redis = client
        #: The leases written here, by worker.
        self._texts: dict[str, str] = {}
        self._prolonged = 0
        self._forget_dead = client.register_script(_FORGET_DEAD)

    def renew(self, lease: Lease, sealer: Sealer) -> None:
        """Say that the worker lives, and what it is."""
        self._worker_ids(lease.host_uuid)
        text = lease_text(lease, sealer)
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.set(keys.lease(lease.host_uuid, lease.worker_id), text, px=LEASE_TTL_MS)
            pipe.sadd(keys.workers(lease.host_uuid), lease.worker_id)
            pipe.publish(keys.doorbell(lease.host_uuid), LEASE_CHANGED)
            pipe.execute()
        self._texts[lease.worker_id] = text

    def prolong(self, host_uuid: str, worker_id: str) -> bool:
        """Say that the worker lives and is what it was when it renewed its lease here.

        False when its lease is gone, or was another one: `renew` announces it then.
        """
        text = self._texts.get(worker_id)
        if text is None:
            return False
        self._prolonged += 1
        if self._prolonged % REJOIN_EVERY == 0:
            # The set may be lost alone; the worker would be in no list until its lease changes.
            self._redis.sadd(keys.workers(host_uuid), worker_id)
        key = keys.lease(host_uuid, worker_id)
        try:
            # A Redis that came back with older data has an older lease, which names dead processes
            # and lacks live ones. Written anew each time, leases would fill Redis's file.
            return bool(self._redis.getex(key, px=LEASE_TTL_MS) == text)
        except redis.ResponseError as problem:
            if not concerns_one_key(problem):
                raise
            return False

    def names(self, host_uuid: str, worker_id: str, boot_id: str) -> bool:
        """Whether the lease of a worker names one of its processes."""
        text = self._redis.get(keys.lease(host_uuid, worker_id))
        return isinstance(text, str) and f'"{boot_id}"' in text

    def give_up(self, host_uuid: str, *worker_ids: str) -> None:
        """Say that workers are gone, sooner than their leases would."""
        for worker_id in worker_ids:
            self._texts.pop(worker_id, None)
        if worker_ids:
            with self._redis.pipeline(transaction=False) as pipe:
                names = (keys.lease, keys.figures)
                pipe.delete(*(name(host_uuid, one) for one in worker_ids for name in names))
                pipe.srem(keys.workers(host_uuid), *worker_ids)
                pipe.publish(keys.doorbell(host_uuid), LEASE_CHANGED)
                pipe.execute()

    def of_host(self, host_uuid: str, sealer: Sealer) -> dict[str, Lease]:
        """The live workers of a host by worker id; ids of dead ones are forgotten.

        Errors: redis.RedisError.
        """
        return dict(self.of_hosts({host_uuid: sealer})[host_uuid].leases)

    def of_hosts(self, sealers: Mapping[str, Sealer]) -> dict[str, HostLeases]:
        """The live workers of several hosts, given the sealer of each; two round trips for all.

        What is in the keys of one host concerns only that host.
        Errors: redis.RedisError.
        """
        workers = self._workers_of(list(sealers))
        some = [host_uuid for host_uuid, worker_ids in workers.items() if worker_ids]
        with self._redis.pipeline(transaction=False) as pipe:
            for host_uuid in some:
                pipe.mget([keys.lease(host_uuid, one) for one in workers[host_uuid]])
            texts = dict(zip(some, answers(pipe) if some else (), strict=True))
        return {
            host_uuid: self._read(host_uuid, workers[host_uuid], texts[host_uuid], sealer)
            if host_uuid in texts
            else HostLeases()
            for host_uuid, sealer in sealers.items()
        }

    def _workers_of(self, hosts: Sequence[str]) -> dict[str, list[str]]:
        with self._redis.pipeline(transaction=False) as pipe:
            for host_uuid in hosts:
                pipe.smembers(keys.workers(host_uuid))
            listed = answers(pipe) if hosts else []
        found = {}
        for host_uuid, members in zip(hosts, listed, strict=True):
            if isinstance(members, Exception):
                # The workers add themselves again with their next changed lease.
                _log.error("host.unreadable", host=host_uuid, reason=str(members))
                self._redis.delete(keys.workers(host_uuid))
            found[host_uuid] = [] if isinstance(members, Exception) else sorted(map(str, members))
        return found

    def _read(
        self, host_uuid: str, worker_ids: Sequence[str], texts: Sequence[object], sealer: Sealer
    ) -> HostLeases:
        found = dict(zip(worker_ids, texts, strict=True))
        self._forget(host_uuid, [worker_id for worker_id, text in found.items() if text is None])
        leases, unreadable = {}, []
        for worker_id, text in found.items():
            if text is None:
                continue
            try:
                leases[worker_id] = read_lease(
                    str(text), sealer, host_uuid=host_uuid, worker_id=worker_id
                )
            except SealBrokenError as problem:
                unreadable.append(worker_id)
                _log.warning(
                    "lease.unreadable", host=host_uuid, worker=worker_id, reason=str(problem)
                )
        return HostLeases(leases=leases, unreadable=tuple(unreadable))

    def forget_dead(self, host_uuid: str) -> None:
        """Forget the ids of workers of a host that have no lease."""
        self._forget(host_uuid, self._worker_ids(host_uuid))

    def _worker_ids(self, host_uuid: str) -> list[str]:
        return self._workers_of([host_uuid])[host_uuid]

    def _forget(self, host_uuid: str, worker_ids: Sequence[str]) -> None:
        if worker_ids:
            own = keys.workers(host_uuid), keys.lease(host_uuid, "")
            self._forget_dead(keys=own, args=worker_ids)

    def renew_bridge(self, bridge_id: str, text: str = "") -> None:
        """Say that the bridge lives; `text` is what it says of itself, see `bridge_lease.py`."""
        key = keys.bridge(bridge_id)
        try:
            # Written anew each time, leases would fill Redis's file.
            if self._redis.getex(key, px=LEASE_TTL_MS) == text:
                return
        except redis.ResponseError as problem:
            if not concerns_one_key(problem):
                raise
        self._redis.set(key, text, px=LEASE_TTL_MS)

    def live_bridges(self, bridge_ids: Iterable[str]) -> set[str]:
        """Those of the bridges that live."""
        listed = list(bridge_ids)
        if not listed:
            return set()
        found = self._redis.mget([keys.bridge(bridge_id) for bridge_id in listed])
        return {i for i, value in zip(listed, found, strict=True) if value is not None}
