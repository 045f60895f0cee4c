"""Open events of many hosts: a few real ones, and copies of them made inside Redis.

Each host gets the same mix: one event waits in the queue of its live worker, the others are half
claimed by the worker and half behind a claimed one in the FIFO of their resource.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import redis

from cowpoke import keys
from cowpoke.clock import Clock
from cowpoke.events import Event
from cowpoke.ledger.intake import Arrival, IntakeLedger
from cowpoke.routes import LANES, Lane, queue_for
from cowpoke.seal import ClusterKeyring
from simulator.scale.fleet import Fleet

EVENT_NAME = "compute.instance.activate"
TIMEOUT_MS = 6 * 3_600_000
_TEMPLATE_HOST = "scale-template"
_HOSTS_AT_ONCE = 50
_COPIED_AT_ONCE = 5
_PAUSE_S = 0.01

# KEYS: the hash to copy. The payload and the envelope stay those of the copied event: nobody opens
# them here.
_COPY = """
local host, boot, number = ARGV[1], ARGV[2], tonumber(ARGV[3])
local template_id, check_ms = ARGV[4], tonumber(ARGV[5])
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local fields = redis.call('HGETALL', KEYS[1])
local event = {}
for i = 1, #fields, 2 do event[fields[i]] = fields[i + 1] end
local deadline_ms = now_ms + event.timeout_ms
local queue, fifo = 'host.' .. host, 'cowpoke:fifo:' .. host .. ':instanceHostMap:1ihm1'
local claimed = math.ceil((number - 1) / 2)
for n = 1, number do
  local id = host .. '-event-' .. n
  local key = 'cowpoke:event:' .. host .. ':' .. id
  local state = n == 1 and 'queued' or n <= 1 + claimed and 'claimed' or 'recorded'
  local in_fifo = n == 2 or state == 'recorded'
  local message = string.gsub(event.message, template_id, id)
  redis.call('HSET', key, unpack(fields))
  redis.call('HSET', key, 'state', state, 'queue', queue, 'message', message,
    'fifo', in_fifo and fifo or '', 'boot', state == 'claimed' and boot or '',
    'received_ms', now_ms, 'queued_ms', now_ms, 'deadline_ms', deadline_ms)
  redis.call('PEXPIRE', key, event.timeout_ms)
  if in_fifo then redis.call('RPUSH', fifo, id) end
  if state == 'queued' then redis.call('LPUSH', queue, message) end
  redis.call('ZADD', 'cowpoke:open:' .. host, deadline_ms, id)
  -- Spread, as the first checks of real events are.
  redis.call('ZADD', 'cowpoke:due', now_ms + check_ms * n / number, host .. ' ' .. id)
end
redis.call('SADD', 'cowpoke:hosts', host)
"""


def event_id(host_uuid: str, number: int) -> str:
    """Return the id of an event of a host: number 1 is queued, number 2 is claimed."""
    return f"{host_uuid}-event-{number}"


def fill(  # noqa: PLR0913 -- called once
    client: redis.Redis,
    keyring: ClusterKeyring,
    fleet: Fleet,
    hosts: Sequence[str],
    *,
    per_host: int,
    check_within_ms: int,
) -> None:
    """Give each host so many open events that nothing has to be done about."""
    template_id = accept(client, keyring, _TEMPLATE_HOST, 1)[0]
    template = keys.event(_TEMPLATE_HOST, template_id)
    copy = client.register_script(_COPY)
    for start in range(0, len(hosts), _COPIED_AT_ONCE):
        # The renewals of leases must not wait behind these.
        time.sleep(_PAUSE_S)
        with client.pipeline(transaction=False) as pipe:
            for host_uuid in hosts[start : start + _COPIED_AT_ONCE]:
                boot = fleet.boot_id(host_uuid, Lane.COMPUTE)
                args: list[str | int] = [host_uuid, boot, per_host, template_id]
                args.append(check_within_ms)
                copy(keys=[template], args=args, client=pipe)
            pipe.execute()
    member = keys.member(_TEMPLATE_HOST, template_id)
    client.zrem(keys.DUE, member)
    client.srem(keys.HOSTS, _TEMPLATE_HOST)
    client.delete(template, keys.open_events(_TEMPLATE_HOST), *keys.queues(_TEMPLATE_HOST))


def accept(  # noqa: PLR0913 -- each test of time has its own events
    client: redis.Redis,
    keyring: ClusterKeyring,
    host_uuid: str,
    number: int,
    *,
    name: str = EVENT_NAME,
    timeout_ms: int = TIMEOUT_MS,
    timeouts_fall: bool = False,
) -> list[str]:
    """Let a bridge accept events of one host, and return their ids, the oldest first.

    `timeouts_fall`: the last one has the earliest deadline.
    """
    ledger = IntakeLedger(client, keyring, Clock(client))
    found = []
    for start in range(0, number, _HOSTS_AT_ONCE):
        arrivals = [
            _arrival(host_uuid, one, name, timeout_ms - (one * 1000 if timeouts_fall else 0))
            for one in range(start, min(start + _HOSTS_AT_ONCE, number))
        ]
        ledger.accept(arrivals)
        found += [arrival.event.id for arrival in arrivals]
    return found


def _arrival(host_uuid: str, number: int, name: str, timeout_ms: int) -> Arrival:
    content: dict[str, Any] = {
        "id": f"{host_uuid}-{number}-real",
        "name": name,
        "replyTo": f"reply.{number}",
        "resourceType": "instanceHostMap",
        "resourceId": f"1ihm{number}",
        "timeoutMillis": timeout_ms,
        "data": {},
    }
    return Arrival(
        event=Event.model_validate(content),
        agent="agent-0",
        host_uuid=host_uuid,
        lane=LANES[name],
        remaining_ms=timeout_ms,
    )


def lose_messages(client: redis.Redis, hosts: Sequence[str]) -> None:
    """Let the queued message of each host be lost on its way to the worker, and its check be due.

    What a sweep has to do for each: send it again.
    """
    with client.pipeline(transaction=False) as pipe:
        for host_uuid in hosts:
            one = event_id(host_uuid, 1)
            pipe.delete(queue_for(host_uuid, Lane.COMPUTE))
            pipe.hset(keys.event(host_uuid, one), "queued_ms", 1)
            pipe.zadd(keys.DUE, {keys.member(host_uuid, one): 1})
        pipe.execute()


def make_due(client: redis.Redis, hosts: Sequence[str]) -> None:
    """Let the check of one claimed event of each host be due; there is nothing to do about it."""
    for start in range(0, len(hosts), _HOSTS_AT_ONCE):
        some = hosts[start : start + _HOSTS_AT_ONCE]
        client.zadd(keys.DUE, {keys.member(host, event_id(host, 2)): 1 for host in some})
