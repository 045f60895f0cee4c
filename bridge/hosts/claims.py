"""Which host an agent is, kept in Redis by the bridges.

A bridge that learned the host of its agent remembers it, so that a second host on the same Redis
does not make the choice ambiguous after a restart. A claim keeps other agents from a host that is
served. Both are input for the bridge that reads them: a memory that is not sealed with our keys or
names no usable host is ignored.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import redis
from redis.client import NEVER_DECODE

from cowpoke import keys
from cowpoke.log import logger
from cowpoke.seal import SealBrokenError, Sealer

_log = logger(__name__)

#: One call for all hosts: a bridge may serve ten thousand.
_RENEW = """
for i = 2, #ARGV, 2 do redis.call('SET', KEYS[1] .. ARGV[i], ARGV[i + 1], 'PX', ARGV[1]) end
"""
#: Pairs of one call: Redis does nothing else meanwhile.
_RENEW_MOST = 2_000


class Claims:
    """The memories and claims in one Redis. Agents are named by a hash of their keys."""

    def __init__(self, client: "redis.Redis", sealer: Sealer) -> None:
        self._redis = client
        self._sealer = sealer
        self._renew = client.register_script(_RENEW)

    def remember(self, agent_hash: str, host_uuid: str) -> None:
        """Keep the host of an agent, for `keys.AGENT_TTL_MS`."""
        if not keys.is_host_uuid(host_uuid):
            return
        text = self._sealer.seal({"agent": agent_hash, "host": host_uuid})
        self._redis.set(keys.agent(agent_hash), text, px=keys.AGENT_TTL_MS)

    def remembered(self, agent_hash: str) -> str | None:
        """Return the host that was kept for an agent, or None."""
        (text,) = self._read(keys.agent(agent_hash))
        if text is None:
            return None
        try:
            content = self._sealer.open(text)
        except SealBrokenError:
            content = {}
        host_uuid = content.get("host")
        if content.get("agent") != agent_hash or not keys.is_host_uuid(host_uuid):
            _log.warning(
                "host.mapping_unreadable",
                advice="the host is learned again; QUEUE_KEY or the value was changed",
            )
            return None
        return str(host_uuid)

    def claim_free(self, host_uuid: str, agent_hash: str) -> bool:
        """Claim a host that no agent has, and return whether the agent has it now."""
        key = keys.served(host_uuid)
        if self._redis.set(key, agent_hash, px=keys.SERVED_TTL_MS, nx=True):
            return True
        return self._read(key) == [agent_hash]

    def release(self, claims: Sequence[tuple[str, str]]) -> None:
        """Give up claims, so that other agents need not wait for their end.

        Each is a host uuid and an agent's hash; a host that another agent has stays its.
        """
        for start in range(0, len(claims), _RENEW_MOST):
            some = claims[start : start + _RENEW_MOST]
            names = [keys.served(host_uuid) for host_uuid, _ in some]
            found = zip(names, some, self._read(*names), strict=True)
            if ours := [name for name, (_, agent_hash), owner in found if owner == agent_hash]:
                self._redis.delete(*ours)

    def renew(self, hosts: Mapping[str, str]) -> None:
        """Claim hosts for their agents; `hosts` is agent hash by host uuid."""
        pairs = list(hosts.items())
        for start in range(0, len(pairs), _RENEW_MOST):
            flat = [text for pair in pairs[start : start + _RENEW_MOST] for text in pair]
            self._renew(keys=[keys.served("")], args=[keys.SERVED_TTL_MS, *flat])

    def of_others(self, hosts: Collection[str], agent_hash: str) -> set[str]:
        """Return those of the hosts that another agent has."""
        listed = sorted(hosts)
        if not listed:
            return set()
        found = self._read(*(keys.served(host_uuid) for host_uuid in listed))
        return {
            host_uuid
            for host_uuid, owner in zip(listed, found, strict=True)
            if owner is not None and owner != agent_hash
        }

    def _read(self, *names: str) -> list[str | None]:
        """Return the values of keys; bytes that are no text are replaced, not an error."""
        client: Any = self._redis
        found = client.execute_command("MGET", *names, **{NEVER_DECODE: True})
        return [None if one is None else one.decode(errors="replace") for one in found]
