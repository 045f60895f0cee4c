"""The shape cattle wants a reply in: pure, from an outcome and what its event said."""

import time
import uuid
from collections.abc import Mapping
from typing import Any

from worker.contract.outcomes import Kind, Outcome

#: Reply ids are made from what they answer, so that a reply sent again has the id it had.
_NAMESPACE = uuid.UUID("2f7e2a36-7a3c-4b0e-9d54-6f1c3f1d8a77")


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
            # People see the first, cattle's own exceptions and pull tasks show the second.
            answer["transitioning"] = "error"
            answer["transitioningMessage"] = outcome.message
            answer["transitioningInternalMessage"] = f"{outcome.code}: {outcome.message}"
        case Kind.SUCCESS if outcome.message:
            # Without `transitioning` it stays a success; the message holds warnings.
            answer["transitioningMessage"] = outcome.message
    return answer


def without_list(data: Mapping[str, Any]) -> dict[str, Any]:
    """A pong's data without its list of containers: whole or nothing, and this is nothing."""
    resources = [
        one for one in data.get("resources", ()) if one.get("type") not in {"hostUuid", "instance"}
    ]
    return {"resources": resources} if resources else {}
