"""The shape cattle wants a reply in: pure, from an outcome and what its event said."""

import time
import uuid
from collections.abc import Mapping
from typing import Any

from cowpoke.outcomes import Kind, Outcome
from cowpoke.routes import PULL, base_name

#: Reply ids are made from what they answer, so that a reply sent again has the id it had.
_NAMESPACE = uuid.UUID("2f7e2a36-7a3c-4b0e-9d54-6f1c3f1d8a77")
_RESOURCE = ("resourceType", "resourceId")


def reply(envelope: Mapping[str, Any], outcome: Outcome, outcome_id: str) -> dict[str, Any]:
    """The reply event for one outcome, for POST /publish.

    Shape:  python-agent `_reply_obj` plus the transitioning fields. A field without a value is left
            out: an explicit null in `transitioning` and the like is refused with 422. To an event
            that holds another one, the reply holds the reply to that.
    """
    event_id = str(envelope["id"])
    inner = envelope.get("inner")
    # Both levels tell the same (A 1.26): cattle unpacks the inner one for whoever asked.
    data = reply(inner, outcome, f"{event_id}/{outcome_id}") if inner else outcome.data
    final_id = event_id if outcome.is_final else f"{event_id}/{outcome_id}"
    answer: dict[str, Any] = {
        "id": str(uuid.uuid5(_NAMESPACE, final_id)),
        "name": envelope["replyTo"],
        "previousIds": [event_id],
        "previousNames": [envelope["name"]],
        "resourceType": envelope["resourceType"],
        "resourceId": envelope["resourceId"],
        "data": data,
        "time": time.time_ns() // 1_000_000,
    }
    match outcome.kind:
        case Kind.PROGRESS:
            answer["transitioning"] = "yes"
            answer["transitioningMessage"] = outcome.message
            if outcome.percent is not None:
                answer["transitioningProgress"] = outcome.percent
        case Kind.ERROR:
            answer["transitioning"] = "error"
            answer |= _error_texts(envelope, outcome)
        case Kind.SUCCESS if outcome.message:
            # Without `transitioning` it stays a success; the message holds warnings.
            answer["transitioningMessage"] = outcome.message
    return answer


def _error_texts(envelope: Mapping[str, Any], outcome: Outcome) -> dict[str, str]:
    """Return the two texts of an error: one for people, one with what identifies the event.

    cattle shows `transitioningMessage : transitioningInternalMessage` on a resource. A pull task
    shows the internal text only, so that text is the one for people there.
    """
    resource = ":".join(str(envelope[key]) for key in _RESOURCE if envelope[key])
    identifiers = " ".join(filter(None, (outcome.code, resource, f"event {envelope['id']}")))
    message, internal = outcome.message, identifiers
    if base_name(str(envelope["name"])) == PULL:
        message, internal = internal, message
    return {"transitioningMessage": message, "transitioningInternalMessage": internal}


def without_list(data: Mapping[str, Any]) -> dict[str, Any]:
    """A pong's data without its list of containers: whole or nothing, and this is nothing."""
    resources = [
        one for one in data.get("resources", ()) if one.get("type") not in {"hostUuid", "instance"}
    ]
    return {"resources": resources} if resources else {}
