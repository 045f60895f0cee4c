"""The Celery message that stands in a host's queue for an event.

It names the event and says for people what it is about (`cowpoke.summary`). The payload, which may
hold registry passwords and keys, is sealed in the ledger and handed out by *claim*. So queues stay
small and Flower shows no secret, and a message forged or repeated by anybody finds no entry to run.
"""

import base64
import json
import uuid
from datetime import datetime
from typing import Any

from celery import Celery

from cowpoke.version import CONTRACT_VERSION

# Only builds messages; it is never connected and never the current app.
_AMQP = Celery("cowpoke-messages", set_as_current=False).amqp


def task_message(*, event_id: str, task_name: str, queue: str, summary: str) -> str:
    """The message as kombu's Redis transport stores it in the list `queue`.

    Flower shows the summary as the arguments of the task.
    Built by hand so that the ledger can record and queue an event in one step (a send through
    kombu would leave a window between the two). A test holds it against a message of kombu's own.
    """
    return json.dumps(
        task_fields(event_id=event_id, task_name=task_name, queue=queue, argsrepr=summary)
    )


def task_fields(  # noqa: PLR0913 -- a message has as many fields
    *,
    event_id: str,
    task_name: str,
    queue: str,
    argsrepr: str,
    retries: int = 0,
    eta: datetime | None = None,
) -> dict[str, Any]:
    """Return the message as a JSON object: all that Celery is ever given of an event."""
    task = _AMQP.as_task_v2(
        event_id,
        task_name,
        args=(event_id,),
        argsrepr=argsrepr,
        kwargsrepr="{}",
        retries=retries,
        eta=eta,
    )
    body = json.dumps(task.body).encode()
    return {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        # Says which release made it, for people. The entry in the ledger decides who can read the
        # event: a message of any version only names it.
        "headers": {**task.headers, "v": CONTRACT_VERSION},
        "properties": {
            **task.properties,
            "delivery_mode": 2,
            # The exchange has the queue's name: a retry is published to where it came from.
            "delivery_info": {"exchange": queue, "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }


def event_id_of(message: str) -> str:
    """The event that a message in a queue names; empty for what is no message of ours."""
    try:
        return str(json.loads(message)["headers"]["id"])
    except (ValueError, KeyError, TypeError):
        return ""
