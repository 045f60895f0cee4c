"""Writes the history: an entry for each event that is over, and a pointer to it."""

from collections.abc import Sequence

import redis

from cowpoke import keys
from cowpoke.history import FinishedEvent, sealed_finished
from cowpoke.seal import Keyring

#: A Lua function for the scripts of bridges. A key of another type is deleted. Any other failure
#: loses one entry: the script goes on with its own work.
KEEP = """
local function kept(key, most, ...)
  local entry = redis.pcall('XADD', key, 'MAXLEN', '~', most, '*', ...)
  if type(entry) == 'table' and entry.err and redis.call('TYPE', key).ok ~= 'stream' then
    redis.call('DEL', key)
    entry = redis.pcall('XADD', key, 'MAXLEN', '~', most, '*', ...)
  end
  return type(entry) == 'string' and entry
end
local function keep(limits, host, id, sealed)
  local key = limits.prefix .. host
  local entry = kept(key, limits.most, 'id', id, 'sealed', sealed)
  if not entry then return end
  redis.call('PEXPIRE', key, limits.ttl_ms)
  kept(limits.recent, limits.most_recent, 'host', host, 'id', id, 'entry', entry)
  redis.call('PEXPIRE', limits.recent, limits.ttl_ms)
end
local limits = {recent = ARGV[1], prefix = ARGV[2], most = ARGV[3], most_recent = ARGV[4],
  ttl_ms = ARGV[5]}
"""
#: The number of the first argument after those of `KEEP`.
FIRST_ARGUMENT = 6

_ADD = (
    KEEP
    + f"""
for i = {FIRST_ARGUMENT}, #ARGV, 3 do keep(limits, ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
"""
)
#: Of an outcome without an entry.
NO_ENTRY = ("", "", "")
_AT_ONCE = 200


class HistoryWriter:
    """The history in one Redis, for a bridge. Thread-safe."""

    def __init__(self, client: "redis.Redis", keyring: Keyring, most: int) -> None:
        """Keep at most about `most` events of each host, none with 0."""
        self._keyring = keyring
        self._most = most
        self._add = client.register_script(_ADD)

    @property
    def arguments(self) -> tuple[str | int, ...]:
        """The arguments that a script with `KEEP` begins with."""
        return keys.RECENT, keys.history(""), self._most, keys.RECENT_MOST, keys.HISTORY_TTL_MS

    def entry(self, event: FinishedEvent | None) -> tuple[str, str, str]:
        """Return host, id and sealed text of an entry; `NO_ENTRY` for an event that is not kept."""
        if event is None or not self._most:
            return NO_ENTRY
        sealed = sealed_finished(self._keyring.host(event.host_uuid), event)
        return event.host_uuid, event.event_id, sealed

    def add(self, events: Sequence[FinishedEvent]) -> None:
        """Write entries. Errors: redis.RedisError."""
        entries = [one for event in events if (one := self.entry(event)) != NO_ENTRY]
        for first in range(0, len(entries), _AT_ONCE):
            some = entries[first : first + _AT_ONCE]
            words = [word for entry in some for word in entry]
            self._add(keys=[], args=[*self.arguments, *words])
