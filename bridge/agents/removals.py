"""Tells people and hosts whose agents cattle refuses for good, by a note in Redis.

Such a host was removed in Rancher. Nothing of it is touched, and nobody registers it again by
himself: that is for people to decide.
"""

import asyncio
import time

import redis

from bridge.agents.registry import Agents
from bridge.settings import AgentKeys
from cowpoke import keys
from cowpoke.log import logger
from cowpoke.removed import Removal, sealed_removal
from cowpoke.seal import ClusterKeyring

_log = logger(__name__)

#: Agents that change their standing together are noted together.
WRITE_EVERY_S = 1.0
RENEW_EVERY_S = 600.0
#: Notes of one round trip.
_AT_ONCE = 1_000
_JOINED_ADVICE = (
    "the host was removed in Rancher, or its keys were deleted there; its containers stay. On the "
    "host: cowpoke leave, or to join as a new host: cowpoke join --new-register-key URL, with the "
    "url of Rancher's page for a new host"
)
_CONFIGURED_ADVICE = (
    "the host was removed in Rancher, or its keys were deleted there; its containers stay. Take "
    "the agent out of the settings of the bridge, or give it the keys of a host that was added anew"
)


class Removals:
    """The agents that cattle refuses for good, as this bridge knows them."""

    def __init__(self, client: redis.Redis, keyring: ClusterKeyring, agents: Agents) -> None:
        self._redis = client
        self._agents = agents
        self._keyring = keyring
        self._removed: dict[str, Removal] = {}
        #: Hosts whose note in Redis is to be written or deleted.
        self._changed: set[str] = set()

    def add(self, agent: AgentKeys, host_uuid: str, *, reason: str) -> None:
        """Note that cattle refuses the agent of a host for good, and say so once."""
        self._removed[host_uuid] = Removal(
            host_uuid=host_uuid, agent_hash=agent.hash, since_ms=round(time.time() * 1000)
        )
        self._changed.add(host_uuid)
        is_joined = self._agents.joined_of(host_uuid) == agent
        _log.error(
            "agent.removed",
            agent=agent.label,
            host=host_uuid,
            reason=reason,
            advice=_JOINED_ADVICE if is_joined else _CONFIGURED_ADVICE,
        )

    def clear(self, host_uuid: str) -> None:
        """Note that cattle knows the agent of a host, or that the host has none any more."""
        self._removed.pop(host_uuid, None)
        # An earlier bridge may have left a note.
        self._changed.add(host_uuid)

    async def run(self) -> None:
        """Write what changed, and renew the rest now and then, until cancelled."""
        renewed_s = time.monotonic()
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            if time.monotonic() - renewed_s > RENEW_EVERY_S:
                renewed_s = time.monotonic()
                self._changed |= set(self._removed)
            changed, self._changed = self._changed, set()
            notes = {host_uuid: self._removed.get(host_uuid) for host_uuid in changed}
            try:
                await asyncio.to_thread(self._write, notes)
            except redis.RedisError as problem:
                self._changed |= changed
                _log.debug("removals.blocked", reason=str(problem))

    def _write(self, notes: dict[str, Removal | None]) -> None:
        listed = list(notes.items())
        for start in range(0, len(listed), _AT_ONCE):
            with self._redis.pipeline(transaction=False) as pipe:
                for host_uuid, removal in listed[start : start + _AT_ONCE]:
                    key = keys.removed(host_uuid)
                    if removal is None:
                        pipe.delete(key)
                    else:
                        text = sealed_removal(self._keyring.host(host_uuid), removal)
                        pipe.set(key, text, px=keys.REMOVED_TTL_MS)
                pipe.execute()
