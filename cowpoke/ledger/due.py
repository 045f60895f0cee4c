"""The sweeper of the bridges: looks at the events whose check is due, whatever their host.

An index holds the time of each open event's next check, so the cost of a look grows with what is
due, and not with the number of hosts or events. Changes that are announced (a worker came, went or
lost a process) are looked at at once, by host. Workers may not write to the index.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import chain

import redis

from cowpoke import keys
from cowpoke.broker import concerns_one_key
from cowpoke.clock import Clock
from cowpoke.ledger.decisions import NEXT_CHECK_FAR_MS, NEXT_CHECK_LEAST_MS, Step
from cowpoke.ledger.recovery import Sweeper, chunks
from cowpoke.log import logger
from cowpoke.seal import Keyring

_log = logger(__name__)

#: Events that one look takes from the index of next checks.
DUE_AT_ONCE = 500
#: A sweeper that dies after it took events from the index leaves them for another one after this.
HELD_MS = 5_000

_COMMON = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local function typed(key, wanted)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then redis.call('DEL', key) end
end
"""

_TAKE_DUE = (
    _COMMON
    + """
local due, most, held_ms, far_ms = KEYS[1], tonumber(ARGV[1]), ARGV[2], ARGV[3]
typed(due, 'zset')
local members = redis.call('ZRANGEBYSCORE', due, '-inf', now_ms, 'LIMIT', 0, most)
if #members < most then
  -- Nothing is planned that far ahead: the server's clock was set back since.
  local lost = redis.call('ZRANGEBYSCORE', due, '(' .. now_ms + far_ms, '+inf', 'LIMIT', 0,
    most - #members)
  for _, member in ipairs(lost) do members[#members + 1] = member end
end
for _, member in ipairs(members) do redis.call('ZADD', due, now_ms + held_ms, member) end
return members
"""
)

# An event may have ended or begun anew since it was looked at, so its state decides. The last
# arguments are pairs: an event's id and the time of its next check, 0 for one that was over.
_PLAN = (
    _COMMON
    + """
local open, due, hosts = KEYS[1], KEYS[2], KEYS[3]
local host, event_prefix, soon_ms = ARGV[1], ARGV[2], ARGV[3]
typed(open, 'zset')
typed(hosts, 'set')
for i = 4, #ARGV, 2 do
  local id, check_ms = ARGV[i], tonumber(ARGV[i + 1])
  local state = redis.pcall('HGET', event_prefix .. id, 'state')
  if state == 'recorded' or state == 'queued' or state == 'claimed' then
    local deadline_ms = tonumber(redis.call('HGET', event_prefix .. id, 'deadline_ms') or '')
    redis.call('ZADD', open, 'NX', deadline_ms or now_ms, id)
    redis.call('ZADD', due, check_ms > 0 and check_ms or now_ms + soon_ms, host .. ' ' .. id)
    redis.call('SADD', hosts, host)
  else
    redis.call('ZREM', open, id)
    redis.call('ZREM', due, host .. ' ' .. id)
  end
end
"""
)

# KEYS: open events, hosts, outbox, then the queues of the host: their messages are of no open
# event.
_FORGET = (
    _COMMON
    + """
local open, hosts, outbox = KEYS[1], KEYS[2], KEYS[3]
if redis.call('EXISTS', open) == 1 then return 0 end
for i = 4, #KEYS do redis.call('DEL', KEYS[i]) end
typed(hosts, 'set')
if redis.call('EXISTS', outbox) == 0 then redis.call('SREM', hosts, ARGV[1]) end
return 1
"""
)


class BridgeSweeper(Sweeper):
    """Looks at open events of all hosts, for a bridge. Thread-safe."""

    def __init__(self, client: "redis.Redis", keyring: Keyring, clock: Clock) -> None:
        super().__init__(client, keyring, clock)
        self._take_due = client.register_script(_TAKE_DUE)
        self._plan = client.register_script(_PLAN)
        self._forget = client.register_script(_FORGET)

    def sweep_host(self, host_uuid: str, known_dead: Collection[str] = ()) -> Counter[Step]:
        """Look at every open event of a host once, and plan the next look at each.

        Returns how many of each step took effect. A host without open events is forgotten.
        """
        return self._sweep_some(host_uuid, self._ledger.open_ids(host_uuid), known_dead)

    def hosts_with_open_events(self) -> list[str]:
        """Return the hosts that have events without an answer.

        Errors: redis.RedisError.
        """
        return [str(one) for one in self._redis.smembers(keys.HOSTS)]

    def sweep_due(self) -> tuple[dict[str, Counter[Step]], bool]:
        """Look at the events whose check is due, by one bridge at a time.

        Returns the steps that took effect by host, and whether more may be due.
        """
        args = [DUE_AT_ONCE, HELD_MS, NEXT_CHECK_FAR_MS]
        members = [str(one) for one in self._take_due(keys=[keys.DUE], args=args)]
        by_host: dict[str, list[str]] = {}
        for member in members:
            host_uuid, _, event_id = member.partition(" ")
            by_host.setdefault(host_uuid, []).append(event_id)
        steps: dict[str, Counter[Step]] = {}
        for host_uuid, event_ids in by_host.items():
            try:
                steps[host_uuid] = self._sweep_some(host_uuid, event_ids)
            except redis.ResponseError as problem:
                if not concerns_one_key(problem):
                    raise
                # A key of this host was replaced by something else: the other hosts go on.
                _log.error("host.unreadable", host=host_uuid, reason=str(problem))
        return steps, len(members) == DUE_AT_ONCE

    def _sweep_some(
        self, host_uuid: str, event_ids: Sequence[str], known_dead: Collection[str] = ()
    ) -> Counter[Step]:
        counts: Counter[Step] = Counter()
        entries = self._ledger.open_entries(host_uuid, event_ids)
        checks_ms = self._sweep(host_uuid, entries, known_dead, counts) if entries else {}
        self._plan_checks(host_uuid, event_ids, checks_ms)
        if not checks_ms:
            self._forget_host(host_uuid)
        return counts

    def _plan_checks(
        self, host_uuid: str, event_ids: Sequence[str], checks_ms: Mapping[str, int]
    ) -> None:
        for some in chunks(event_ids):
            pairs = [(event_id, str(checks_ms.get(event_id, 0))) for event_id in some]
            self._plan(
                keys=[keys.open_events(host_uuid), keys.DUE, keys.HOSTS],
                args=[
                    *(host_uuid, keys.event(host_uuid, ""), NEXT_CHECK_LEAST_MS),
                    *chain.from_iterable(pairs),
                ],
            )

    def _forget_host(self, host_uuid: str) -> None:
        """Remove what is left of a host without open events; nothing happens if it has some."""
        own = keys.open_events(host_uuid), keys.HOSTS, keys.outbox(host_uuid)
        self._forget(keys=[*own, *keys.queues(host_uuid)], args=[host_uuid])
        self._leases.forget_dead(host_uuid)
