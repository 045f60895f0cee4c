"""Which hosts have workers alive, and which host an agent's events belong to.

A subscription makes cattle reconnect a disconnected agent, and pings to a host without workers only
make it flap: so an agent's websocket stands while its host is alive, with a grace for restarts, and
is opened anew when the host comes back.
"""

import asyncio
import time

from bridge.settings import AgentKeys
from worker.contract.leases import Leases
from worker.log import logger

_log = logger(__name__)

LOOK_EVERY_S = 0.5
#: Longer than any restart of a worker, shorter than cattle's 180 s to disconnected.
AWAY_AFTER_S = 120.0


class Hosts:
    """What the leases say, looked at again and again."""

    def __init__(
        self,
        leases: Leases,
        agents: tuple[AgentKeys, ...],
        *,
        away_after_s: float = AWAY_AFTER_S,
    ) -> None:
        self._leases = leases
        self._away_after_s = away_after_s
        self._given = {agent: agent.host_uuid for agent in agents}
        self._seen_s: dict[str, float] = {}
        self._changed = asyncio.Condition()
        self._complained = ""

    async def look(self) -> None:
        """Read the leases once and wake who waits for a change."""
        found = await asyncio.to_thread(self._read)
        now_s = time.monotonic()
        for host_uuid in found:
            self._seen_s[host_uuid] = now_s
        self._learn(found)
        async with self._changed:
            self._changed.notify_all()

    def _read(self) -> set[str]:
        wanted = {host for host in self._given.values() if host is not None}
        candidates = wanted if None not in self._given.values() else {*self._leases.hosts()}
        return {host for host in candidates if self._leases.of_host(host)}

    def _learn(self, alive: set[str]) -> None:
        """With one agent and no host given, the worker that announces itself is the host."""
        for agent, host_uuid in self._given.items():
            if host_uuid is not None:
                continue
            if len(alive) == 1:
                (learned,) = alive
                self._given[agent] = learned
                _log.info("host.learned", host=learned, agent=agent.access_key)
            else:
                self._complain(alive)
            return

    def _complain(self, alive: set[str]) -> None:
        text = (
            f"several hosts have workers ({', '.join(sorted(alive))}): say in BRIDGE_AGENTS_FILE "
            "which one this agent is"
            if alive
            else "no worker has announced itself yet: start one with: python -m worker"
        )
        if text != self._complained:
            self._complained = text
            _log.warning("host.unknown", reason=text)

    async def wait_alive(self, agent: AgentKeys) -> str:
        """The agent's host, once it is known and has a worker."""
        async with self._changed:
            while True:
                host_uuid = self._given[agent]
                if host_uuid is not None and self.is_alive(host_uuid):
                    return host_uuid
                await self._changed.wait()

    async def wait_away(self, host_uuid: str) -> None:
        """Return when the host has had no worker for longer than any restart takes."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: time.monotonic() - self._seen_s.get(host_uuid, 0) > self._away_after_s
            )

    def is_alive(self, host_uuid: str) -> bool:
        """Whether the host had a live worker at the last looks."""
        return time.monotonic() - self._seen_s.get(host_uuid, float("-inf")) < 4 * LOOK_EVERY_S
