"""What happened to a container, sealed on its way from its host to cattle.

A worker seals it with the key of its host, a bridge opens it and POSTs it as a `containerevent`.
It names its host, so that what is moved to another host's stream is not opened there.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cowpoke.envelopes import opened_content
from cowpoke.lengths import CONTAINER_EVENT_CHARS, bounded_int
from cowpoke.seal import SealBrokenError, Sealer
from cowpoke.version import CONTRACT_VERSION

#: What the old agent reported; cattle ignores everything else. Actions with a suffix are others.
STATUSES = frozenset({"start", "stop", "die", "kill", "destroy"})
#: After this the container list of a ping says better what is true.
STALE_AFTER_S = 60.0
IMAGE_CHARS = 1_000
#: What a worker says on the doorbell of its host when it added one.
CONTAINER_EVENTS_ADDED = "container-events"

_KIND = "container-event"
_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerEvent:
    """One report about one container."""

    host_uuid: str
    #: The full Docker id.
    container_id: str
    #: One of `STATUSES`.
    status: str
    #: The name of the image as the Engine's event had it; may be empty.
    image: str
    #: When it happened, by the Engine's clock (Unix time in s).
    time_s: int
    #: The same by the Redis server's clock.
    occurred_ms: int
    #: The Engine's inspect in the form that cattle reads; None when the Engine did not answer.
    inspect: Mapping[str, Any] | None
    #: Events of this host that the worker left out since the last report: newer ones of the same
    #: container replaced them.
    coalesced: int = 0
    #: The same for events that were too old, or too many.
    dropped: int = 0

    def body(self) -> dict[str, Any]:
        """Return the resource that cattle's API creates.

        Source: the Go agent's send_to_rancher_handler.go; times are in seconds there.
        """
        return {
            "externalStatus": self.status,
            "externalId": self.container_id,
            "externalFrom": self.image,
            "externalTimestamp": self.time_s,
            "reportedHostUuid": self.host_uuid,
            "dockerInspect": self.inspect,
        }


def is_container_id(text: object) -> bool:
    """Return whether a text is a full Docker id."""
    return isinstance(text, str) and _CONTAINER_ID.fullmatch(text) is not None


def sealed_container_event(sealer: Sealer, event: ContainerEvent) -> str:
    """Seal a report; one that is too large goes without its inspect, which cattle then asks for."""
    text = _sealed(sealer, event, event.inspect)
    return text if len(text) <= CONTAINER_EVENT_CHARS else _sealed(sealer, event, None)


def _sealed(sealer: Sealer, event: ContainerEvent, inspect: Mapping[str, Any] | None) -> str:
    return sealer.seal(
        {
            "v": CONTRACT_VERSION,
            "kind": _KIND,
            "host": event.host_uuid,
            "id": event.container_id,
            "status": event.status,
            "image": event.image,
            "time_s": event.time_s,
            "occurred_ms": event.occurred_ms,
            "inspect": inspect,
            "coalesced": event.coalesced,
            "dropped": event.dropped,
        }
    )


def opened_container_event(sealer: Sealer, text: str, *, host_uuid: str) -> ContainerEvent:
    """Open a report of a host.

    Errors: SealBrokenError when no worker of this host sealed it as one; UnknownVersionError.
    """
    content = opened_content(sealer, text)
    if content.get("kind") != _KIND:
        raise SealBrokenError("the entry is no container event")
    if content.get("host") != host_uuid:
        raise SealBrokenError("the container event belongs to another host")
    inspect = content.get("inspect")
    try:
        event = ContainerEvent(
            host_uuid=host_uuid,
            container_id=str(content["id"]),
            status=str(content["status"]),
            image=str(content.get("image") or "")[:IMAGE_CHARS],
            time_s=bounded_int(content["time_s"]),
            occurred_ms=bounded_int(content["occurred_ms"]),
            inspect=inspect if isinstance(inspect, Mapping) else None,
            coalesced=max(bounded_int(content.get("coalesced")), 0),
            dropped=max(bounded_int(content.get("dropped")), 0),
        )
    except (KeyError, TypeError, ValueError):
        raise SealBrokenError("the container event is incomplete") from None
    if not is_container_id(event.container_id) or event.status not in STATUSES:
        raise SealBrokenError("the container event names no container, or no status of ours")
    return event
