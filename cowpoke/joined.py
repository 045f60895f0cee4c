"""The API keys of an agent that a host joined with, on their way from the host to the bridges.

`cowpoke join` on the host hands them over: one note in Redis, sealed with the key of the host, so
that only the host and the bridges open it. Bridges hear of it on the doorbell of the host. `cowpoke
leave` takes it back. A note in the key of another host opens for nobody, and names its own host.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis

from cowpoke import keys
from cowpoke.broker import concerns_one_key
from cowpoke.envelopes import opened_content
from cowpoke.lengths import bounded_int
from cowpoke.seal import SealBrokenError, Sealer
from cowpoke.urls import api_url
from cowpoke.version import CONTRACT_VERSION

#: What is said on the doorbell of a host when its note was written or deleted.
JOINED = "joined"
#: What the sealed note says of itself: the host's key seals other things too.
KIND = "joined"
#: More is no note of ours; longer ones are not read.
NOTE_CHARS = 8 * 1024
_KEY_CHARS = 256
_URL_CHARS = 1_000
_HOSTNAME_CHARS = 255

# In Redis, so that a host that puts something huge into its key costs a bridge nothing. A value of
# another type is of no use to anybody, and would be in the way of the next note.
_READ = """
local found = {}
for i = 2, #ARGV do
  local key = KEYS[1] .. ARGV[i]
  local text = redis.pcall('GETRANGE', key, 0, ARGV[1])
  if type(text) == 'table' then
    if not string.find(text.err, 'WRONGTYPE') then return text end
    redis.call('DEL', key)
    text = ''
  end
  found[i - 1] = text
end
return found
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinedAgent:
    """The agent of a host that joined: who it is at cattle, and at which cattle."""

    host_uuid: str
    #: In the spelling of `cowpoke.urls.api_url`.
    cattle_url: str
    access_key: str
    secret_key: str = field(repr=False)
    #: When the host got the keys, by the clock of the host.
    joined_ms: int = 0
    #: The name of its machine then, for people: a host without a worker tells no other.
    hostname: str = ""


def agent_hash(access_key: str, agent_id: str | None = None) -> str:
    """Return an agent's name for keys in Redis; `agent_id` as cattle shows it, or its number."""
    number = (agent_id or "").removeprefix("1a")
    return hashlib.sha256(f"{access_key}/{number}".encode()).hexdigest()[:32]


def sealed_note(sealer: Sealer, agent: JoinedAgent) -> str:
    """The note of a host, sealed with the key of the host.

    Errors: ValueError for keys or an url that nobody would accept.
    """
    _check(agent)
    return sealer.seal(
        {
            "v": CONTRACT_VERSION,
            "kind": KIND,
            "host": agent.host_uuid,
            "url": api_url(agent.cattle_url),
            "access_key": agent.access_key,
            "secret_key": agent.secret_key,
            "joined_ms": agent.joined_ms,
            "hostname": agent.hostname[:_HOSTNAME_CHARS],
        }
    )


def opened_note(sealer: Sealer, text: str, *, host_uuid: str) -> JoinedAgent:
    """The agent in the note of a host.

    Errors: SealBrokenError when nobody with the host's key wrote it for this host;
    UnknownVersionError.
    """
    if len(text) > NOTE_CHARS:
        raise SealBrokenError(f"the note has more than {NOTE_CHARS} characters")
    content = opened_content(sealer, text)
    if content.get("kind") != KIND:
        raise SealBrokenError("the sealed content is no note of a host that joined")
    if content.get("host") != host_uuid:
        raise SealBrokenError("the note belongs to another host")
    try:
        agent = JoinedAgent(
            host_uuid=host_uuid,
            cattle_url=api_url(_text(content["url"])),
            access_key=_text(content["access_key"]),
            secret_key=_text(content["secret_key"]),
            joined_ms=bounded_int(content.get("joined_ms")),
            hostname=_hostname(content.get("hostname")),
        )
        _check(agent)
    except (KeyError, TypeError, ValueError) as problem:
        raise SealBrokenError(f"the note is incomplete: {problem}") from None
    return agent


def hand_over(client: "redis.Redis", sealer: Sealer, agent: JoinedAgent) -> None:
    """Give the keys to the bridges; whatever lies in the key is replaced.

    Errors: redis.RedisError; ValueError as for `sealed_note`.
    """
    text = sealed_note(sealer, agent)
    with client.pipeline(transaction=False) as pipe:
        pipe.set(keys.joined(agent.host_uuid), text)
        pipe.publish(keys.doorbell(agent.host_uuid), JOINED)
        pipe.execute()


def take_back(client: "redis.Redis", host_uuid: str) -> None:
    """Take the keys away from the bridges, which end the agent's subscription at once.

    Errors: redis.RedisError.
    """
    with client.pipeline(transaction=False) as pipe:
        pipe.delete(keys.joined(host_uuid))
        pipe.publish(keys.doorbell(host_uuid), JOINED)
        pipe.execute()


def handed_over(client: "redis.Redis", sealer: Sealer, host_uuid: str) -> JoinedAgent | None:
    """What the bridges have of a host; None when they have nothing that they could open.

    Errors: redis.RedisError; UnknownVersionError.
    """
    try:
        text: Any = client.get(keys.joined(host_uuid))
    except redis.ResponseError as problem:
        if not concerns_one_key(problem):
            raise
        return None
    try:
        return None if text is None else opened_note(sealer, str(text), host_uuid=host_uuid)
    except SealBrokenError:
        return None


class JoinedNotes:
    """The notes in one Redis, as bridges read them. Thread-safe."""

    #: Hosts of one call: Redis does nothing else meanwhile.
    AT_ONCE = 1_000

    def __init__(self, client: "redis.Redis") -> None:
        self._redis = client
        self._read = client.register_script(_READ)

    def hosts(self) -> set[str]:
        """The hosts that have a note.

        Errors: redis.RedisError.
        """
        prefix = keys.JOINED_PREFIX
        names = self._redis.scan_iter(match=f"{prefix}*", count=self.AT_ONCE)
        return set(filter(keys.is_host_uuid, (str(name).removeprefix(prefix) for name in names)))

    def read(self, hosts: Collection[str]) -> Mapping[str, str]:
        """The notes of some hosts, still sealed; a host without one is left out.

        Errors: redis.RedisError.
        """
        listed = sorted(hosts)
        found: dict[str, str] = {}
        for start in range(0, len(listed), self.AT_ONCE):
            some = listed[start : start + self.AT_ONCE]
            texts = self._read(keys=[keys.joined("")], args=[NOTE_CHARS, *some])
            found |= {host: str(text) for host, text in zip(some, texts, strict=True) if text}
        return found


def _hostname(value: object) -> str:
    """The name of the machine; a note without one is a note."""
    return value[:_HOSTNAME_CHARS] if isinstance(value, str) else ""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} is not a text")
    return value


def _check(agent: JoinedAgent) -> None:
    """Errors: ValueError; the message holds no secret."""
    for name in ("access_key", "secret_key"):
        value = getattr(agent, name)
        if not 0 < len(value) <= _KEY_CHARS or not value.isprintable() or not value.isascii():
            raise ValueError(f"wanted 1 to {_KEY_CHARS} printable characters as {name}")
    if ":" in agent.access_key:
        raise ValueError("an access key has no colon")
    if len(agent.cattle_url) > _URL_CHARS:
        raise ValueError("the url of cattle is too long")
    if not keys.is_host_uuid(agent.host_uuid):
        raise ValueError("wanted a host uuid")
