"""Seals anew, with the first key, what lies in Redis sealed with an older one.

While keys are changed, open events would keep the old key in use until their deadline, the
remembered hosts of absent agents for months, and the keys of joined hosts for ever. Outcomes on
their way to cattle are left alone: they go in a moment.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import redis

from cowpoke import keys
from cowpoke.broker import answers
from cowpoke.seal import ClusterKeyring, Sealer

#: Keys of Redis that one call looks at.
KEYS_AT_ONCE = 500
#: The sealed fields of an event's hash.
SEALED_FIELDS = ("payload", "envelope", "final")

# Compare and set: what moved since it was read stays as it is. The arguments are triples: field,
# the text that was read, the new one.
_RESEAL_HASH = """
local changed = 0
for i = 1, #ARGV, 3 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
    changed = changed + 1
  end
end
return changed
"""
_RESEAL_STRING = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
"""


def field_sealers(keyring: ClusterKeyring, host_uuid: str) -> Mapping[str, Sealer]:
    """Who seals which field of an event of a host."""
    host = keyring.host(host_uuid)
    return {"payload": host, "envelope": keyring.bridge, "final": host}


def host_of_event_key(name: str) -> str:
    """The host of the key of an event."""
    return name.removeprefix(keys.EVENT_PREFIX).partition(":")[0]


class Resealing:
    """Goes through all of Redis, a part at a time. Thread-safe."""

    def __init__(self, client: "redis.Redis", keyring: ClusterKeyring) -> None:
        self._redis = client
        self._keyring = keyring
        self._reseal_hash = client.register_script(_RESEAL_HASH)
        self._reseal_string = client.register_script(_RESEAL_STRING)

    @property
    def is_needed(self) -> bool:
        """Whether there is an older key."""
        return len(self._keyring.fingerprints) > 1

    def everything(self) -> Counter[str]:
        """Reseal all there is; how many texts of each kind.

        Errors: redis.RedisError.
        """
        resealed: Counter[str] = Counter()
        cursor = 0
        while True:
            cursor, some = self.part(cursor)
            resealed += some
            if not cursor:
                return resealed

    def part(self, cursor: int) -> tuple[int, Counter[str]]:
        """Reseal a part; where the next one begins, 0 after the last, and how many of each kind.

        Errors: redis.RedisError.
        """
        cursor, found = self._redis.scan(cursor, match=f"{keys.PREFIX}*", count=KEYS_AT_ONCE)
        names = list(map(str, found))
        events = [name for name in names if name.startswith(keys.EVENT_PREFIX)]
        agents = [name for name in names if name.startswith(keys.AGENT_PREFIX)]
        joined = [name for name in names if name.startswith(keys.JOINED_PREFIX)]
        resealed = Counter(
            texts=self._events(events),
            remembered_hosts=self._strings(dict.fromkeys(agents, self._keyring.bridge)),
            joined_hosts=self._strings(
                {name: self._keyring.host(name.removeprefix(keys.JOINED_PREFIX)) for name in joined}
            ),
        )
        return int(cursor), +resealed

    def _events(self, names: Sequence[str]) -> int:
        with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(name, SEALED_FIELDS)
            rows = answers(pipe) if names else []
        changed = 0
        for name, row in zip(names, rows, strict=True):
            if isinstance(row, Exception):  # a key of another type: nothing of ours
                continue
            sealers = field_sealers(self._keyring, host_of_event_key(name))
            triples: list[str] = []
            for field, text in zip(SEALED_FIELDS, row, strict=True):
                again = sealers[field].resealed(text) if text else None
                if again is not None:
                    triples += (field, text, again)
            if triples:
                changed += int(self._reseal_hash(keys=[name], args=triples))
        return changed

    def _strings(self, sealers: Mapping[str, Sealer]) -> int:
        """Reseal the texts of keys, each with its own sealer."""
        with self._redis.pipeline(transaction=False) as pipe:
            for name in sealers:
                pipe.get(name)
            texts = answers(pipe) if sealers else []
        changed = 0
        for (name, sealer), text in zip(sealers.items(), texts, strict=True):
            again = sealer.resealed(text) if isinstance(text, str) else None
            if again is not None:
                changed += int(self._reseal_string(keys=[name], args=[text, again]))
        return changed
