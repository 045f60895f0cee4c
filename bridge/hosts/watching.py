"""Follows the leases: which hosts live, what their workers may know of our keys, what to sweep."""

import asyncio
import time
from collections.abc import Callable, Iterable

import redis

from bridge.agents.joining import Joining
from bridge.doorbell import Doorbell
from bridge.hosts.choice import Hosts
from bridge.hosts.presence import Change, Presence
from cowpoke.host_keys import leave_notes
from cowpoke.log import logger
from cowpoke.seal import ClusterKeyring

_log = logger(__name__)

#: A dead host is noticed this long after the end of its lease, and its events after one more look.
LOOK_EVERY_S = 0.25
#: The pause after a look: what is announced meanwhile is read in one go, so that a host that
#: announces without end costs no more than a busy one.
GATHER_S = 0.05
#: Everything is read this often, in case the index in Redis lost a part.
READ_ALL_EVERY_S = 600.0
#: A small part of what a note lives.
NOTES_EVERY_S = 6 * 3600.0
#: Notes that are written in one go.
_NOTES_AT_ONCE = 1_000


class Watching:
    """The task that keeps `Presence` and `Hosts` up to date."""

    def __init__(  # noqa: PLR0913 -- wired in one place
        self,
        client: redis.Redis,
        keyring: ClusterKeyring,
        bridge_id: str,
        *,
        doorbell: Doorbell,
        presence: Presence,
        hosts: Hosts,
        sweep: Callable[[Iterable[str]], None],
        joining: Joining | None = None,
    ) -> None:
        self._redis = client
        self._keyring = keyring
        self._bridge_id = bridge_id
        self._doorbell = doorbell
        self._presence = presence
        self._hosts = hosts
        self._sweep = sweep
        self._joining = joining
        self._noted_s = self._read_all_s = time.monotonic()
        #: What `hosts` has not heard of yet.
        self._changed: dict[str, Change] = {}
        self._has_looked = False

    def has_looked(self) -> bool:
        """Whether all leases and notes were read once, and each agent's host was looked for."""
        return self._has_looked

    async def run(self) -> None:
        """Look at what was announced, and at overdue leases, until cancelled."""
        while True:
            announced, missed = await self._doorbell.leases.take(LOOK_EVERY_S)
            try:
                await self._look(announced, missed=missed)
            except redis.RedisError as problem:
                # What was announced is read with everything else when Redis answers.
                self._doorbell.leases.mark_missed()
                _log.debug("hosts.blocked", reason=str(problem))
                await asyncio.sleep(LOOK_EVERY_S)
            else:
                await asyncio.sleep(GATHER_S)

    async def _look(self, announced: set[str], *, missed: bool) -> None:
        everything = missed or time.monotonic() - self._read_all_s > READ_ALL_EVERY_S
        if everything:
            found = await asyncio.to_thread(self._presence.read_all)
            self._read_all_s = time.monotonic()
        else:
            found = await asyncio.to_thread(self._presence.read, announced) if announced else {}
        # What is found is found once: it is kept until all have heard of it.
        self._sweep(host_uuid for host_uuid, change in found.items() if change.needs_sweep)
        self._changed |= found
        if self._joining is not None:
            joined, _ = self._doorbell.joined.take_now()
            await self._joining.look(self._changed, joined, everything=everything)
        await self._hosts.look(self._changed)
        self._has_looked = True
        changed, self._changed = self._changed, {}
        while await asyncio.to_thread(self._presence.expire):
            pass
        noted = list(changed)
        if time.monotonic() - self._noted_s > NOTES_EVERY_S:
            self._noted_s = time.monotonic()
            noted = [host_uuid for host_uuid, _ in self._presence.by_host()]
        if noted := list(filter(self._may_be_ours, noted)):
            await asyncio.to_thread(self._leave_notes, noted)

    def _may_be_ours(self, host_uuid: str) -> bool:
        """Whether the host is served, or has a worker with its key: that one may join."""
        return self._hosts.is_ours(host_uuid) or bool(self._presence.workers(host_uuid))

    def _leave_notes(self, hosts: list[str]) -> None:
        for start in range(0, len(hosts), _NOTES_AT_ONCE):
            some = hosts[start : start + _NOTES_AT_ONCE]
            sealers = {host_uuid: self._keyring.host(host_uuid) for host_uuid in some}
            leave_notes(self._redis, self._bridge_id, sealers)
