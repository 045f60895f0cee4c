"""That cattle does not know the agent of a host any more, as a bridge tells people and the host.

The host was removed in Rancher, or its keys were deleted. The note is sealed with the key of the
host, and only bridges may write it.
"""

from dataclasses import dataclass

from cowpoke.envelopes import UnknownVersionError, opened_content
from cowpoke.lengths import bounded_int
from cowpoke.seal import SealBrokenError, Sealer
from cowpoke.version import CONTRACT_VERSION

KIND = "removed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """An agent that cattle refuses for good."""

    host_uuid: str
    #: The hash of the agent, see `cowpoke.joined.agent_hash`: other keys of the host may be good.
    agent_hash: str
    #: When it was refused first, by the clock of the bridge.
    since_ms: int


def sealed_removal(sealer: Sealer, removal: Removal) -> str:
    """The note for the host."""
    return sealer.seal(
        {
            "v": CONTRACT_VERSION,
            "kind": KIND,
            "host": removal.host_uuid,
            "agent": removal.agent_hash,
            "since_ms": removal.since_ms,
        }
    )


def opened_removal(sealer: Sealer, text: str, *, host_uuid: str) -> Removal | None:
    """What a bridge wrote of a host; None when no bridge with our keys wrote it for this host."""
    try:
        content = opened_content(sealer, text)
        if (content.get("kind"), content.get("host")) != (KIND, host_uuid):
            return None
        return Removal(
            host_uuid=host_uuid,
            agent_hash=str(content.get("agent")),
            since_ms=bounded_int(content.get("since_ms")),
        )
    except (SealBrokenError, UnknownVersionError, TypeError, ValueError):
        return None
