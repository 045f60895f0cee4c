"""What `python -m worker explain EVENT.json` prints: the mapping of one event, and nothing done."""

import json
from typing import Any

from pydantic import ValidationError

from worker.contract.events import Event
from worker.create import create_body
from worker.errors import PayloadError
from worker.operations.facts import facts_without_engine
from worker.payload import instance_of
from worker.settings import WorkerSettings


def explain_event(text: str, settings: WorkerSettings) -> dict[str, Any]:
    """The Engine's create body that an activate event would give on this host.

    What only the Engine could tell (ids of other containers) is left as its name.
    Errors: PayloadError when the text is no activate event.
    """
    try:
        event = Event.model_validate_json(text)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'event'}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise PayloadError(f"wanted one of cattle's events as JSON: {faults}") from None
    if event.base_name != "compute.instance.activate":
        raise PayloadError(
            f"wanted a compute.instance.activate event, found {event.base_name}: only that one "
            "creates a container"
        )
    instance = instance_of(event.data)
    body: dict[str, Any] = json.loads(
        json.dumps(create_body(instance, facts_without_engine(instance, settings)))
    )
    return body
