"""Which workers live, known without asking: changes are announced, and only overdue leases read.

In Redis is one index of all workers by the time at which their lease may end (`keys.ALIVE`). One
call looks at those whose time has come: a lease that was renewed moves to its new end, a worker
without a lease leaves the index and is announced. So at rest a bridge does the same little work for
ten hosts and for ten thousand.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import redis

from cowpoke import keys
from cowpoke.broker import concerns_one_key
from cowpoke.lease import Lease
from cowpoke.liveness import LEASE_CHANGED, LEASE_TTL_MS, HostLeases, Leases
from cowpoke.seal import ClusterKeyring

#: Hosts or workers that one call looks at; Redis does nothing else meanwhile.
AT_ONCE = 1_000

# A lease without an end is looked at again and again: it may have got one, or be removed. No lease
# ends later than its lifetime from now: a later time is by a clock that was set back since.
_EXPIRE = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('TYPE', KEYS[1]).ok
if found ~= 'none' and found ~= 'zset' then redis.call('DEL', KEYS[1]) end
local most, ttl_ms = tonumber(ARGV[1]), tonumber(ARGV[3])
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_ms, 'LIMIT', 0, most)
local ahead = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now_ms + ttl_ms, '+inf', 'LIMIT', 0,
  most - #due)
for _, member in ipairs(ahead) do due[#due + 1] = member end
for _, member in ipairs(due) do
  local host, worker = string.match(member, '^(%S+) (%S+)$')
  local left_ms = host and redis.call('PTTL', KEYS[2] .. host .. ':' .. worker) or -2
  if left_ms == -1 then left_ms = ttl_ms end
  if left_ms > 0 then
    redis.call('ZADD', KEYS[1], now_ms + math.min(left_ms, ttl_ms), member)
  else
    redis.call('ZREM', KEYS[1], member)
    if host then redis.call('PUBLISH', KEYS[3] .. host, ARGV[2]) end
  end
end
return #due
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What a look at the leases of a host found."""

    is_alive: bool
    was_alive: bool
    #: A process is gone, or one began to take events: open events of the host are to be looked at.
    needs_sweep: bool


class Presence:
    """The live workers of all hosts, as this bridge knows them."""

    def __init__(self, client: redis.Redis, keyring: ClusterKeyring) -> None:
        self._redis = client
        self._keyring = keyring
        self._leases = Leases(client)
        self._expire = client.register_script(_EXPIRE)
        #: Only hosts with a lease; replaced whole for each host, so that threads may read it.
        self._hosts: dict[str, HostLeases] = {}
        #: Changes that no caller has got yet: Redis failed after they were found.
        self._found: dict[str, Change] = {}

    def alive(self) -> set[str]:
        """The hosts that have a worker with a lane."""
        return {host_uuid for host_uuid in tuple(self._hosts) if self.is_alive(host_uuid)}

    def is_alive(self, host_uuid: str) -> bool:
        """Whether a host has a worker with a lane."""
        return any(lease.lanes for lease in self.workers(host_uuid).values())

    def workers(self, host_uuid: str) -> Mapping[str, Lease]:
        """The live workers of a host by worker id."""
        found = self._hosts.get(host_uuid)
        return found.leases if found is not None else {}

    def unreadable(self) -> list[str]:
        """The hosts with a lease that none of our keys opens."""
        return sorted(host for host, found in tuple(self._hosts.items()) if found.unreadable)

    def by_host(self) -> list[tuple[str, HostLeases]]:
        """All hosts with a lease."""
        return sorted(self._hosts.items())

    def knows_event(self, host_uuid: str, event_name: str) -> bool:
        """Whether a worker of the host can run an event; true as long as none lives there."""
        events = [lease.events for lease in self.workers(host_uuid).values() if lease.events]
        return not events or any(event_name in known for known in events)

    def read_all(self) -> dict[str, Change]:
        """Read every lease in Redis: at start, and when announcements may have been missed.

        Errors: redis.RedisError.
        """
        prefix = keys.LEASE_PREFIX
        found = {
            str(key).removeprefix(prefix).rpartition(":")[0]
            for key in self._redis.scan_iter(match=f"{prefix}*", count=AT_ONCE)
        }
        return self.read(set(filter(keys.is_host_uuid, found)) | set(self._hosts))

    def read(self, hosts: Iterable[str]) -> dict[str, Change]:
        """Read the leases of some hosts.

        Errors: redis.RedisError; what was found until then is returned by the next call.
        """
        for some in _in_parts(sorted(hosts)):
            found = self._leases.of_hosts({host: self._keyring.host(host) for host in some})
            index = {
                keys.member(host_uuid, worker_id): 0
                for host_uuid, read in found.items()
                for worker_id in (*read.leases, *read.unreadable)
            }
            # Due at once: the next call of `expire` finds when each lease ends.
            self._add(keys.ALIVE, index)
            for host_uuid, read in found.items():
                self._replace(host_uuid, read)
            now_s = round(time.time())
            self._add(keys.SEEN, {host: now_s for host in some if self.is_alive(host)})
        changes, self._found = self._found, {}
        return changes

    def _add(self, key: str, scores: Mapping[str, int]) -> None:
        if not scores:
            return
        try:
            self._redis.zadd(key, dict(scores))
        except redis.ResponseError as problem:
            if not concerns_one_key(problem):
                raise
            # Something else lies in the key, and would stop this for ever.
            self._redis.delete(key)
            self._redis.zadd(key, dict(scores))

    def expire(self) -> bool:
        """Announce the hosts whose workers have no lease any more; whether there may be more.

        Errors: redis.RedisError.
        """
        looked_at = self._expire(
            keys=[keys.ALIVE, keys.LEASE_PREFIX, keys.DOORBELL_PREFIX],
            args=[AT_ONCE, LEASE_CHANGED, LEASE_TTL_MS],
        )
        return int(looked_at) == AT_ONCE

    def _replace(self, host_uuid: str, read: HostLeases) -> None:
        before = self._hosts.get(host_uuid, HostLeases())
        earlier = self._found.get(host_uuid)
        was_alive = self.is_alive(host_uuid) if earlier is None else earlier.was_alive
        if read.leases or read.unreadable:
            self._hosts[host_uuid] = read
        else:
            self._hosts.pop(host_uuid, None)
        gone = _boot_ids(before) - _boot_ids(read)
        came = _boot_ids(read, consuming=True) - _boot_ids(before, consuming=True)
        self._found[host_uuid] = Change(
            is_alive=self.is_alive(host_uuid),
            was_alive=was_alive,
            needs_sweep=bool(gone or came) or (earlier is not None and earlier.needs_sweep),
        )


def _boot_ids(found: HostLeases, *, consuming: bool = False) -> set[str]:
    return {
        process.boot_id
        for lease in found.leases.values()
        for process in lease.lanes
        if process.consumes or not consuming
    }


def _in_parts(hosts: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(hosts), AT_ONCE):
        yield hosts[start : start + AT_ONCE]
