"""Decides which host an agent has whose host is not configured; pure."""

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from bridge.inbound.standing import Wait
from bridge.settings import AgentKeys


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The host of an agent, or what the agent waits for."""

    host_uuid: str | None
    wait: Wait | None = None


def choose(
    known: str | None,
    *,
    alive: AbstractSet[str],
    of_others: AbstractSet[str],
    is_gone: bool,
    neighbors: AbstractSet[str],
) -> Choice:
    """Choose the host of an agent whose host is not configured.

    Args:
        known: The host that was learned before, if any.
        alive: All hosts with live workers.
        of_others: Those of them that other agents have.
        is_gone: Whether the known host has had no worker for longer than any restart takes.
        neighbors: Hosts that lived beside the known one: those are not its replacement.
    """
    if known in alive:
        return Choice(host_uuid=known)
    if known is not None and not is_gone:
        return Choice(host_uuid=known, wait=Wait.HOST_AWAY)
    free = alive - of_others - (neighbors if known is not None else set())
    if len(free) == 1:
        (found,) = free
        return Choice(host_uuid=found)
    if len(free) > 1:
        return Choice(host_uuid=known, wait=Wait.SEVERAL_HOSTS)
    if known is not None:
        return Choice(host_uuid=known, wait=Wait.HOST_AWAY)
    return Choice(host_uuid=None, wait=Wait.OTHER_AGENTS_HOST if alive else Wait.NO_WORKER)


def with_keys(choice: Choice, unreadable: Collection[str]) -> Choice:
    """Return the choice for people: an absent worker may be one whose keys differ.

    Args:
        choice: What was chosen.
        unreadable: The hosts with a lease that no key of the bridge opens.
    """
    is_away = choice.wait is Wait.HOST_AWAY and choice.host_uuid in unreadable
    if is_away or (choice.wait is Wait.NO_WORKER and unreadable):
        return replace(choice, wait=Wait.KEYS_DIFFER)
    return choice


def why_it_waits(
    agent: AgentKeys, choice: Choice, free: AbstractSet[str], *, away_after_s: float
) -> str:
    """Return what an agent waits for as a sentence for the log, empty when it has its host.

    Args:
        agent: The agent.
        choice: What was chosen for it.
        free: The live hosts that no other agent has.
        away_after_s: When another host may replace an absent one.
    """
    match choice.wait:
        case None:
            return ""
        case Wait.NO_WORKER:
            return "no worker is registered; start one with: python -m worker"
        case Wait.KEYS_DIFFER:
            return (
                "the workers have other keys than this bridge; give all programs the same "
                "QUEUE_KEY, or workers the HOST_KEY made from it: cowpoke key fingerprints"
            )
        case Wait.SEVERAL_HOSTS:
            named = ", ".join(sorted(free)[:10])
            return (
                f"several hosts have workers ({named}) and none is assigned to this agent; set "
                "host_uuid in BRIDGE_AGENTS_FILE"
            )
        case Wait.OTHER_AGENTS_HOST:
            return (
                "every host with a worker belongs to another agent; start a worker on this agent's "
                "host, or set host_uuid in BRIDGE_AGENTS_FILE"
            )
    text = f"host {choice.host_uuid} has no worker; start one there with: python -m worker"
    if agent.host_uuid is None:
        text += f"; a new host replaces it {away_after_s:g} s after its last lease"
    return text
