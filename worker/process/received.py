"""Read what comes from Redis for Celery, before kombu or Celery see it.

Whoever can write to Redis can put anything into a queue. Of a task message only the event's id,
the task's name, the number of retries and the time of a retry are used, and a new message is made
of them: what else a forged one holds (`ignore_result`, `expires`, callbacks, chords, time limits,
stamps, `reply_to`, the delivery tag of another message) never reaches Celery. A remote-control
message is made anew in the same way. All functions are pure.
"""

import base64
import json
import uuid
from collections.abc import Container
from datetime import UTC, datetime, timedelta
from typing import Any

from cowpoke.lengths import ID_CHARS
from cowpoke.messages import task_fields

#: The task of events whose names this release does not know: another worker may know them.
UNKNOWN_EVENT = "unknown-event"
#: Ours have some 1.5 KB.
MOST_MESSAGE_BYTES = 64 * 1024
#: The longest delay of a retry (`worker.execution.attempt.RETRY_MOST_S`), and a clock that differs.
MOST_DELAY_S = 20.0
#: The backoff is two to the power of it.
MOST_RETRIES = 500
#: Of the arguments of a command; those of Celery's are lists at most.
MOST_DEPTH = 10
_MOST_SHOWN_CHARACTERS = 200
_MOST_NAME_CHARACTERS = 200
_MOST_CLOCK = 2**53
#: Where the answers to `celery inspect` and Flower go; nothing else is sent for them.
REPLY_EXCHANGE = "reply.celery.pidbox"


class UnreadableMessageError(ValueError):
    """An item of a queue that is no message for us; the text says why, and quotes nothing of it."""


def task_message(
    content: bytes, *, queue: str, names: Container[str], now: datetime | None = None
) -> dict[str, Any]:
    """Return the task message that an item of a queue stands for, as kombu has it.

    Errors: UnreadableMessageError.
    """
    message = _message(content)
    headers = message.get("headers")
    if not isinstance(headers, dict):
        raise UnreadableMessageError("it has no headers")
    event_id, name = headers.get("id"), headers.get("task")
    if not isinstance(event_id, str) or not _is_id(event_id):
        raise UnreadableMessageError("its header `id` is missing or no id of an event")
    if not isinstance(name, str) or not _is_name(name, _MOST_NAME_CHARACTERS):
        raise UnreadableMessageError("its header `task` is missing or no name")
    body = _body(message)
    if not isinstance(body, list) or len(body) != len(("args", "kwargs", "embed")):
        raise UnreadableMessageError("its body is not that of a Celery task")
    if body[:2] != [[event_id], {}]:
        raise UnreadableMessageError("its arguments are not the event of its header `id`")
    return task_fields(
        event_id=event_id,
        task_name=name if name in names else UNKNOWN_EVENT,
        queue=queue,
        argsrepr=_shown(headers.get("argsrepr")),
        retries=_retries(headers.get("retries")),
        eta=_eta(headers.get("eta"), now or datetime.now(UTC)),
    )


def command_message(content: bytes) -> dict[str, Any]:
    """Return the remote-control message that a published text stands for, as kombu has it.

    Errors: UnreadableMessageError.
    """
    message = _message(content)
    body = _body(message)
    if not isinstance(body, dict) or not _is_name(body.get("method"), _MOST_NAME_CHARACTERS):
        raise UnreadableMessageError("it names no command")
    command = {
        "method": body["method"],
        "arguments": _arguments(body.get("arguments")),
        "destination": _destination(body.get("destination")),
        **_pattern(body),
        **_reply(body),
    }
    headers = message.get("headers")
    clock = headers.get("clock") if isinstance(headers, dict) else 0
    is_clock = isinstance(clock, int) and 0 <= clock <= _MOST_CLOCK
    return {
        "body": base64.b64encode(json.dumps(command).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"clock": clock if is_clock else 0},
        "properties": {
            "delivery_mode": 2,
            "delivery_info": {"exchange": "celery.pidbox", "routing_key": ""},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }


def _message(content: bytes) -> dict[str, Any]:
    if len(content) > MOST_MESSAGE_BYTES:
        raise UnreadableMessageError(
            f"it has {len(content):,} bytes; a message has {MOST_MESSAGE_BYTES:,} at most"
        )
    message = _json(content, "it")
    if not isinstance(message, dict):
        raise UnreadableMessageError("it is no JSON object")
    return message


def _body(message: dict[str, Any]) -> Any:  # noqa: ANN401 -- any JSON
    body, properties = message.get("body"), message.get("properties")
    if not isinstance(body, str) or not isinstance(properties, dict):
        raise UnreadableMessageError("it has no body, or no properties")
    if message.get("content-type") != "application/json":
        raise UnreadableMessageError("its content type is not application/json")
    content_encoding = message.get("content-encoding")
    if not isinstance(content_encoding, str) or content_encoding.lower() != "utf-8":
        raise UnreadableMessageError("its content encoding is not utf-8")
    encoding = properties.get("body_encoding")
    if encoding == "base64":
        try:
            return _json(base64.b64decode(body, validate=True), "its body")
        except ValueError as error:
            if isinstance(error, UnreadableMessageError):
                raise
            raise UnreadableMessageError("its body is not in base64") from None
    if encoding is None or encoding == "utf-8":
        return _json(body.encode("utf-8", "surrogatepass"), "its body")
    raise UnreadableMessageError("its body is in no encoding of ours")


def _json(content: bytes, what: str) -> Any:  # noqa: ANN401 -- any JSON
    try:
        return json.loads(content.decode())
    except UnicodeDecodeError:
        raise UnreadableMessageError(f"{what} is not UTF-8") from None
    except RecursionError:
        raise UnreadableMessageError(f"{what} is nested too deep") from None
    except ValueError:
        raise UnreadableMessageError(f"{what} is not JSON") from None


def _is_id(text: str) -> bool:
    if not 0 < len(text) <= ID_CHARS:
        return False
    # Half a UTF-16 pair, which JSON can hold and Redis cannot, is not printable; a blank is.
    return all(character.isprintable() or character.isspace() for character in text)


def _is_name(value: object, most_characters: int) -> bool:
    """Whether it is a text that can be a part of a key and of a line of the log."""
    return isinstance(value, str) and 0 < len(value) <= most_characters and value.isprintable()


def _shown(argsrepr: object) -> str:
    return argsrepr if _is_name(argsrepr, _MOST_SHOWN_CHARACTERS) else "(?,)"  # type: ignore[return-value]  # it is a str


def _retries(value: object) -> int:
    return min(max(value, 0), MOST_RETRIES) if isinstance(value, int) else 0


def _eta(value: object, now: datetime) -> datetime | None:
    """Return when a retry is due; None for at once.

    The time was set by the clock of a worker, which may have jumped since.
    """
    if not isinstance(value, str):
        return None
    try:
        eta = datetime.fromisoformat(value)
        eta = eta.replace(tzinfo=UTC) if eta.tzinfo is None else eta.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return min(eta, now + timedelta(seconds=MOST_DELAY_S)) if eta > now else None


def _arguments(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UnreadableMessageError("its arguments are no JSON object")
    level: list[Any] = [value]
    for _ in range(MOST_DEPTH):
        # kombu would make an object of a class of its own of it.
        if any(isinstance(one, dict) and "__type__" in one for one in level):
            raise UnreadableMessageError("its arguments hold more than plain JSON")
        children = [one.values() if isinstance(one, dict) else one for one in level]
        level = [one for some in children for one in some if isinstance(one, dict | list)]
    if level:
        raise UnreadableMessageError("its arguments are nested too deep")
    return value


def _destination(value: object) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(node, str) for node in value):
        raise UnreadableMessageError("its destination is no list of names")
    return value


def _pattern(body: dict[str, Any]) -> dict[str, str]:
    """Return a glob; a regular expression could be one that takes for ever."""
    pattern, matcher = body.get("pattern"), body.get("matcher")
    if pattern is None and matcher is None:
        return {}
    if matcher != "glob" or not _is_name(pattern, _MOST_NAME_CHARACTERS):
        raise UnreadableMessageError("its pattern is no glob")
    return {"pattern": str(pattern), "matcher": "glob"}


def _reply(body: dict[str, Any]) -> dict[str, Any]:
    reply_to, ticket = body.get("reply_to"), body.get("ticket")
    if reply_to is None:
        return {}
    if not isinstance(reply_to, dict) or reply_to.get("exchange") != REPLY_EXCHANGE:
        raise UnreadableMessageError("its reply would go to what is no mailbox")
    key = reply_to.get("routing_key")
    if not _is_name(key, _MOST_NAME_CHARACTERS) or not _is_name(ticket, _MOST_NAME_CHARACTERS):
        raise UnreadableMessageError("its reply has no address or no ticket")
    return {"reply_to": {"exchange": REPLY_EXCHANGE, "routing_key": key}, "ticket": ticket}
