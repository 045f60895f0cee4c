"""The streams of container events as a bridge reads them: each host's in order, by one bridge.

Unlike outcomes, these events are of use for a minute only, and their order matters more than their
number. So each host has a stream of its own that is read from its begin, without a consumer group,
by the bridge that claimed the host. A claim is void without the lease of its bridge.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis

from cowpoke import keys
from cowpoke.lengths import CONTAINER_EVENT_CHARS

#: Hosts that one call looks at; Redis does nothing else meanwhile.
LOOK_AT_ONCE = 1_000

# KEYS: stream, claim, prefix of the leases of bridges. ARGV: bridge, lifetime of the claim, id of
# the entry that is over or '', id after which entries are wanted, how many, most characters.
# Returns nothing when another live bridge has the host. Entries of another form are nothing of
# ours. The last entry takes the stream and the claim with it.
_STEP = """
local stream, claim = KEYS[1], KEYS[2]
local found = redis.call('TYPE', stream).ok
if found ~= 'none' and found ~= 'stream' then redis.call('DEL', stream) end
if ARGV[3] ~= '' then redis.call('XDEL', stream, ARGV[3]) end
local owner = redis.call('GET', claim)
if owner and owner ~= ARGV[1] and redis.call('EXISTS', KEYS[3] .. owner) == 1 then return false end
if redis.call('XLEN', stream) == 0 then
  redis.call('DEL', stream, claim)
  return {}
end
redis.call('SET', claim, ARGV[1], 'PX', ARGV[2])
local taken, after, most = {}, ARGV[4], tonumber(ARGV[5])
while #taken < 2 * most do
  local entry = redis.call('XRANGE', stream, after, '+', 'COUNT', 1)[1]
  if not entry then break end
  local fields = entry[2]
  if fields[1] == 'event' and #fields[2] <= tonumber(ARGV[6]) then
    taken[#taken + 1] = entry[1]
    taken[#taken + 1] = fields[2]
  else
    redis.call('XDEL', stream, entry[1])
  end
  after = '(' .. entry[1]
end
return taken
"""

_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""

# KEYS: seen, prefix of the streams. ARGV: first and last position.
_FILLED = """
local found = {}
for _, host in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2])) do
  if redis.call('EXISTS', KEYS[2] .. host) == 1 then found[#found + 1] = host end
end
return found
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One sealed container event in its stream."""

    entry_id: str
    text: str

    @property
    def written_ms(self) -> int:
        """Return when it was written, by the Redis server's clock."""
        return int(self.entry_id.partition("-")[0])


class ContainerEventStreams:
    """The streams of all hosts, for one bridge. Thread-safe."""

    def __init__(self, client: "redis.Redis", bridge_id: str) -> None:
        self._redis = client
        self._bridge_id = bridge_id
        self._step = client.register_script(_STEP)
        self._release = client.register_script(_RELEASE)
        self._filled = client.register_script(_FILLED)

    def step(
        self, host_uuid: str, *, done: str | None = None, after: str | None = None, most: int = 1
    ) -> list[Entry] | None:
        """Remove an entry that is over, keep the claim of the host, and return the next entries.

        `after` is the id behind which to read, by default the begin. None when another bridge has
        the host; an empty list when nothing is left, and then this bridge gave the host up.
        Errors: redis.RedisError.
        """
        found = self._step(
            keys=[keys.container_events(host_uuid), keys.reporting(host_uuid), keys.bridge("")],
            args=[
                self._bridge_id,
                keys.REPORTING_TTL_MS,
                done or "",
                f"({after}" if after else "-",
                most,
                CONTAINER_EVENT_CHARS,
            ],
        )
        if found is None:
            return None
        pairs = zip(found[::2], found[1::2], strict=True)
        return [Entry(entry_id=str(entry_id), text=str(text)) for entry_id, text in pairs]

    def text_of(self, host_uuid: str, entry_id: str) -> str | None:
        """Return the sealed text of an entry, or None when it is gone.

        Errors: redis.RedisError.
        """
        found: Any = self._redis.xrange(keys.container_events(host_uuid), entry_id, entry_id)
        fields = found[0][1] if found else None
        return str(fields.get("event", "")) if fields else None

    def release(self, host_uuid: str) -> None:
        """Let another bridge have a host.

        Errors: redis.RedisError.
        """
        self._release(keys=[keys.reporting(host_uuid)], args=[self._bridge_id])

    def filled(self) -> Iterator[list[str]]:
        """Yield the hosts with container events, in parts; Redis looks at every host it knows.

        Errors: redis.RedisError.
        """
        count = int(self._redis.zcard(keys.SEEN))
        for first in range(0, count, LOOK_AT_ONCE):
            places = [first, first + LOOK_AT_ONCE - 1]
            found = self._filled(keys=[keys.SEEN, keys.container_events("")], args=places)
            yield [str(host_uuid) for host_uuid in found]
