"""The outboxes of the hosts: where workers leave outcomes, and from where bridges collect them.

A worker may write to the outbox of its host only, so the name of the outbox says for certain which
host an outcome came from. A bridge moves what it finds to the streams of outcomes, which no worker
can write to or trim.
"""

import redis

from cowpoke import keys
from cowpoke.ledger.decisions import NEXT_CHECK_LEAST_MS

#: What a worker says on the doorbell of its host; `common.lua` has it too.
OUTBOX_FILLED = "outbox"
#: Outcomes and bytes that one call moves; Redis does nothing else meanwhile.
COLLECT_MOST = 500
COLLECT_BYTES = 4 * 1024 * 1024
#: A longer story of an event is none of ours.
STORY_BYTES = 6_000

# KEYS: outbox, the two streams of outcomes, due. A key of another type is nothing of ours. An event
# that is over leaves the index of next checks, unless it began anew meanwhile (a repeated ping).
# The next one for its resource is looked at soon.
_COLLECT = """
local outbox, outcomes, control, due = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local host, event_prefix, most, most_bytes = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local soon_ms, most_story = ARGV[5], tonumber(ARGV[6])

local function typed(key, wanted)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= wanted then redis.call('DEL', key) end
end
typed(outbox, 'stream')
typed(outcomes, 'stream')
typed(control, 'stream')
typed(due, 'zset')

-- The worker has queued the next event for the resource, and cannot write to the index.
local function hasten_next(fifo)
  local first = fifo and redis.pcall('LINDEX', fifo, 0)
  if type(first) ~= 'string' then return end
  if redis.pcall('HGET', event_prefix .. first, 'state') ~= 'queued' then return end
  local time = redis.call('TIME')
  local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZADD', due, 'LT', now_ms + soon_ms, host .. ' ' .. first)
end

local moved, bytes = 0, 0
while moved < most and bytes < most_bytes do
  local entry = redis.call('XRANGE', outbox, '-', '+', 'COUNT', 1)[1]
  if not entry then break end
  local fields = {}
  for i = 1, #entry[2], 2 do
    fields[entry[2][i]] = entry[2][i + 1]
    bytes = bytes + #entry[2][i + 1]
  end
  local id, lane, kind = fields.id or '', fields.lane or '', fields.kind or ''
  local story = fields.story or ''
  if #story > most_story then story = '' end
  redis.call('XADD', lane == 'control' and control or outcomes, '*', 'host', host, 'id', id,
    'lane', lane, 'kind', kind, 'envelope', fields.envelope or '', 'content', fields.content or '',
    'story', story)
  redis.call('XDEL', outbox, entry[1])
  if kind ~= 'progress' then
    local f = redis.pcall('HMGET', event_prefix .. id, 'state', 'fifo')
    if f[1] == 'answered' then
      redis.call('ZREM', due, host .. ' ' .. id)
      hasten_next(f[2])
    end
  end
  moved = moved + 1
end
local left = redis.call('XLEN', outbox)
if left == 0 then redis.call('DEL', outbox) end
return left
"""

_FILLED = """
local found = redis.call('TYPE', KEYS[1]).ok
if found ~= 'none' and found ~= 'set' then redis.call('DEL', KEYS[1]) end
local filled = {}
for _, host in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if redis.call('EXISTS', KEYS[2] .. host) == 1 then filled[#filled + 1] = host end
end
return filled
"""


class Outboxes:
    """The outboxes in one Redis, for a bridge. Thread-safe."""

    def __init__(self, client: "redis.Redis") -> None:
        self._redis = client
        self._collect = client.register_script(_COLLECT)
        self._filled = client.register_script(_FILLED)

    def collect(self, host_uuid: str) -> bool:
        """Move the outcomes of a host to the streams of outcomes; whether some are left.

        Errors: redis.RedisError.
        """
        left = self._collect(
            keys=[keys.outbox(host_uuid), *keys.OUTCOME_STREAMS, keys.DUE],
            args=[
                *(host_uuid, keys.event(host_uuid, ""), COLLECT_MOST, COLLECT_BYTES),
                *(NEXT_CHECK_LEAST_MS, STORY_BYTES),
            ],
        )
        return bool(left)

    def filled(self) -> list[str]:
        """The hosts that have outcomes in their outbox; Redis looks at every host with open events.

        Errors: redis.RedisError.
        """
        return [str(host_uuid) for host_uuid in self._filled(keys=[keys.HOSTS, keys.outbox("")])]
