"""The stream of this host's container events, from which a bridge reads them."""

import redis

from cowpoke import keys
from cowpoke.container_events import CONTAINER_EVENTS_ADDED

# KEYS: stream. A key of another type is nothing of ours, nor is an entry with the last possible id.
_ADD = """
local found = redis.call('TYPE', KEYS[1]).ok
if found ~= 'none' and found ~= 'stream' then redis.call('DEL', KEYS[1]) end
local added = redis.pcall('XADD', KEYS[1], 'MAXLEN', ARGV[2], '*', 'event', ARGV[1])
if type(added) == 'table' and added.err then
  redis.call('DEL', KEYS[1])
  redis.call('XADD', KEYS[1], '*', 'event', ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[5])
"""


class ContainerEventWriter:
    """The stream of one host, for its worker. Thread-safe."""

    def __init__(self, client: "redis.Redis", host_uuid: str) -> None:
        self._stream = keys.container_events(host_uuid)
        self._channel = keys.doorbell(host_uuid)
        self._add = client.register_script(_ADD)

    def add(self, text: str) -> None:
        """Append a sealed event and announce it; the oldest one leaves a full stream.

        Errors: redis.RedisError.
        """
        most, ttl_ms = keys.CONTAINER_EVENTS_MOST, keys.CONTAINER_EVENTS_TTL_MS
        args: list[str | int] = [text, most, ttl_ms, self._channel, CONTAINER_EVENTS_ADDED]
        self._add(keys=[self._stream], args=args)
