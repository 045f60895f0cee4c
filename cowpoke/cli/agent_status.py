"""The agents of hosts as Redis knows them: who joined, who is served, who was removed.

Agents out of the settings of a bridge are in no key; of them only a removal is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import redis

from cowpoke import keys
from cowpoke.envelopes import UnknownVersionError
from cowpoke.joined import NOTE_CHARS, JoinedNotes, agent_hash, opened_note
from cowpoke.overview.answers import ask, is_unreadable
from cowpoke.removed import opened_removal
from cowpoke.seal import ClusterKeyring, SealBrokenError


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentStatus:
    """The agent of a host that joined, or that cattle does not know any more."""

    #: Whether the host joined; else its agent is in the settings of a bridge.
    joined: bool
    #: None where the note cannot be opened, or is in settings.
    access_key: str | None = None
    cattle_url: str | None = None
    #: When the host got its keys, by its own clock.
    joined_ms: int | None = None
    #: Whether a bridge serves the host with these keys now.
    served: bool = False
    #: Since when cattle refuses them; None while it does not.
    removed_since_ms: int | None = None


def joined_hosts(client: "redis.Redis") -> set[str]:
    """The hosts that joined.

    Errors: redis.RedisError.
    """
    return JoinedNotes(client).hosts()


def agents_of(
    client: "redis.Redis", hosts: Sequence[str], keyring: ClusterKeyring, problems: list[str]
) -> dict[str, AgentStatus]:
    """The agents of those of the hosts that have one in Redis.

    Errors: redis.RedisError.
    """
    notes = [keys.joined(host) for host in hosts]
    others = [name for host in hosts for name in (keys.removed(host), keys.served(host))]
    names = (*notes, *others)
    commands: list[tuple[str | int, ...]] = [("GETRANGE", name, 0, NOTE_CHARS) for name in names]
    answers = dict(zip(names, ask(client, commands), strict=True))
    problems += is_unreadable(answers)
    found = {}
    for host_uuid in hosts:
        note, removed, served = (
            text if isinstance(text := answers[name(host_uuid)], str) else ""
            for name in (keys.joined, keys.removed, keys.served)
        )
        agent = _agent(keyring, host_uuid, note, removed, served, problems)
        if agent is not None:
            found[host_uuid] = agent
    return found


def _agent(  # noqa: PLR0913, PLR0917 -- the texts of one host
    keyring: ClusterKeyring,
    host_uuid: str,
    note: str,
    removed: str,
    served: str,
    problems: list[str],
) -> AgentStatus | None:
    sealer = keyring.host(host_uuid)
    removal = opened_removal(sealer, removed, host_uuid=host_uuid) if removed else None
    if not note:
        if removal is None:
            return None
        return AgentStatus(joined=False, removed_since_ms=removal.since_ms)
    try:
        agent = opened_note(sealer, note, host_uuid=host_uuid)
    except (SealBrokenError, UnknownVersionError) as problem:
        problems.append(f"{keys.joined(host_uuid)}: {problem}")
        return AgentStatus(joined=True)
    its_hash = agent_hash(agent.access_key)
    # A note about the keys that the host had before says nothing of these.
    is_removed = removal is not None and removal.agent_hash == its_hash
    return AgentStatus(
        joined=True,
        access_key=agent.access_key,
        cattle_url=agent.cattle_url,
        joined_ms=agent.joined_ms,
        served=served == its_hash,
        removed_since_ms=removal.since_ms if removal is not None and is_removed else None,
    )
