"""Follows the notes of hosts that joined: their agents come, change and go while the bridge runs.

A note is read when its host announces it, when a lease of its host appears, and with every read of
all leases. What is in it concerns that host alone. A note that is gone without a word (Redis lost
it) ends nothing at once: the host hands its keys over again soon.
"""

import asyncio
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b

import redis
from pydantic import SecretStr

from bridge.agents.registry import Agents
from bridge.agents.removals import Removals
from bridge.agents.streams import Streams
from bridge.awake import AwakeClock
from bridge.hosts.choice import Hosts
from bridge.inbound.standing import Standing
from bridge.settings import AgentKeys
from cowpoke.envelopes import UnknownVersionError
from cowpoke.joined import JoinedAgent, JoinedNotes, opened_note
from cowpoke.log import logger
from cowpoke.seal import ClusterKeyring, SealBrokenError
from cowpoke.urls import api_url

_log = logger(__name__)

#: How long an agent is served whose note vanished without a word. Longer than a host needs to hand
#: its keys over again, shorter than anybody's patience with two agents of one host.
VANISHED_AFTER_S = 120.0


class Unused(StrEnum):
    """Why the note of a host is not used."""

    #: No worker of this host sealed it with a key of ours, or a later release did.
    UNREADABLE = "unreadable"
    #: The host joined another cattle than this bridge's.
    OTHER_CATTLE = "other-cattle"
    #: The settings of the bridge give the host an agent.
    CONFIGURED = "configured"
    #: Another host has the same keys: cattle would send the events of one to both.
    SAME_KEYS = "same-keys"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Note:
    """What was read of one host: an agent, or why there is none."""

    #: Of its text, to see that nothing changed.
    digest: bytes
    cattle_url: str = ""
    keys: AgentKeys | None = None
    reason: str = ""


class Joining:
    """The agents of joined hosts in one bridge. `look` is called by one task."""

    def __init__(  # noqa: PLR0913 -- wired in one place
        self,
        client: redis.Redis,
        keyring: ClusterKeyring,
        *,
        cattle_url: str,
        agents: Agents,
        hosts: Hosts,
        standing: Standing,
        streams: Streams,
        removals: Removals,
        clock: AwakeClock,
        vanished_after_s: float = VANISHED_AFTER_S,
    ) -> None:
        self._notes = JoinedNotes(client)
        self._keyring = keyring
        self._cattle_url = api_url(cattle_url)
        self._agents = agents
        self._hosts = hosts
        self._standing = standing
        self._streams = streams
        self._removals = removals
        self._clock = clock
        self._vanished_after_s = vanished_after_s
        #: The last note of each host, also one that is not used.
        self._read: dict[str, _Note] = {}
        #: Hosts that announced a change which was not looked at yet.
        self._announced: set[str] = set()
        #: When an agent ends whose note is gone without a word.
        self._vanishing: dict[str, float] = {}
        #: Hosts whose notes are not used.
        self.unused: dict[str, Unused] = {}

    async def look(
        self, appeared: Collection[str], announced: AbstractSet[str], *, everything: bool
    ) -> None:
        """Take over the notes of hosts that changed.

        Args:
            appeared: Hosts with a changed lease.
            announced: Hosts that said that their note changed.
            everything: Whether to read every note there is.

        Errors: redis.RedisError; the next call looks again.
        """
        self._announced |= announced
        now_s = self._clock.now_s()
        overdue = {host for host, ends_s in self._vanishing.items() if ends_s <= now_s}
        wanted = {*appeared, *self._announced, *overdue}
        if everything or not self._agents.known:
            wanted |= self._agents.joined_hosts() | self._read.keys()
            wanted |= await asyncio.to_thread(self._notes.hosts)
        if wanted:
            await self._hosts.recall()
            found = await asyncio.to_thread(self._read_notes, wanted)
            for host_uuid in sorted(wanted):
                is_certain = host_uuid in self._announced or host_uuid in overdue
                self._take(host_uuid, found.get(host_uuid), is_certain=is_certain)
            self._announced.clear()
        self._agents.known = True

    def _read_notes(self, hosts: Collection[str]) -> Mapping[str, _Note]:
        """Read and open notes; those that did not change are not opened again."""
        found = {}
        for host_uuid, text in self._notes.read(hosts).items():
            before = self._read.get(host_uuid)
            digest = blake2b(text.encode(errors="surrogateescape"), digest_size=16).digest()
            if before is not None and before.digest == digest:
                found[host_uuid] = before
                continue
            try:
                agent = opened_note(self._keyring.host(host_uuid), text, host_uuid=host_uuid)
                found[host_uuid] = _Note(
                    digest=digest, cattle_url=agent.cattle_url, keys=_keys_of(agent)
                )
            except (SealBrokenError, UnknownVersionError) as problem:
                found[host_uuid] = _Note(digest=digest, reason=str(problem))
        return found

    def _take(self, host_uuid: str, note: _Note | None, *, is_certain: bool) -> None:
        """Serve the agent of a note, or end that of a note that is gone or of no use."""
        before = self._read.pop(host_uuid, None)
        if note is not None:
            self._read[host_uuid] = note
        unused, reason = self._judge(host_uuid, note)
        if unused is not None and (unused is not self.unused.get(host_uuid) or note != before):
            _log.warning("joined.not_used", host=host_uuid, why=unused, reason=reason)
        if unused is None:
            self.unused.pop(host_uuid, None)
        else:
            self.unused[host_uuid] = unused
        wanted = None if note is None or unused is not None else note.keys
        current = self._agents.joined_of(host_uuid)
        if wanted is not None or is_certain or current is None:
            self._vanishing.pop(host_uuid, None)
            if wanted != current:
                self._replace(host_uuid, current, wanted)
        elif host_uuid not in self._vanishing:
            self._vanishing[host_uuid] = self._clock.now_s() + self._vanished_after_s
            _log.warning("joined.vanished", host=host_uuid, agent=current.label)

    def _judge(self, host_uuid: str, note: _Note | None) -> tuple[Unused | None, str]:
        """Why a note is not used, and that as a sentence; None for one that is, or for none."""
        if note is None:
            return None, ""
        if note.keys is None:
            return Unused.UNREADABLE, note.reason
        if note.cattle_url != self._cattle_url:
            text = f"the host joined {note.cattle_url}, this bridge serves {self._cattle_url}"
            return Unused.OTHER_CATTLE, text
        given = self._hosts.agent_of(host_uuid)
        if given is not None and given != self._agents.joined_of(host_uuid):
            text = f"the bridge has agent {given.label} for this host; take it out of its settings"
            return Unused.CONFIGURED, text
        twin = self._agents.twin_of(note.keys)
        if twin is not None and twin.host_uuid != host_uuid:
            text = f"host {twin.host_uuid or '(learned)'} has the same keys; join this host anew"
            return Unused.SAME_KEYS, text
        return None, ""

    def _replace(self, host_uuid: str, current: AgentKeys | None, wanted: AgentKeys | None) -> None:
        if current is not None:
            self._streams.end(current)
            self._hosts.remove_agent(current)
            self._standing.forget(current)
            self._agents.leave(host_uuid)
            self._removals.clear(host_uuid)
        if wanted is not None:
            self._agents.join(wanted)
            self._standing.add(wanted)
            self._hosts.add_agent(wanted)
            self._streams.start(wanted)
            _log.info("agent.joined", host=host_uuid, agent=wanted.label)
        elif current is not None:
            _log.info("agent.left", host=host_uuid, agent=current.label)


def _keys_of(agent: JoinedAgent) -> AgentKeys:
    return AgentKeys(
        access_key=agent.access_key,
        secret_key=SecretStr(agent.secret_key),
        host_uuid=agent.host_uuid,
    )
