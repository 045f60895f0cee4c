"""A websocket frame becomes an event, or a `DecodeError` that says why not."""

import json
from typing import Any

from pydantic import ValidationError

from bridge.errors import DecodeError
from cowpoke.events import Event

#: Far above the largest event seen (100 KB): a frame beyond it is a fault or an attack.
MOST_BYTES = 16 * 1024 * 1024
#: Far above any event: what is written again later must not end in a RecursionError there.
MOST_DEPTH = 200


def decode(frame: str | bytes) -> Event | None:
    """The event in a frame; None for a blank frame, which older servers send to keep alive.

    Errors: DecodeError, with the id and replyTo in `partial` when they could be read.
    """
    try:
        text = frame.decode() if isinstance(frame, bytes) else frame
    except UnicodeDecodeError as error:
        raise DecodeError(
            f"wanted JSON text in a frame, found bytes that are not: {error}"
        ) from error
    if not text.strip():
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"wanted a JSON event in a frame, found {_short(text)}") from error
    if text.count("{") + text.count("[") > MOST_DEPTH and _is_too_deep(content):
        raise DecodeError(f"wanted JSON nested at most {MOST_DEPTH} deep, found it deeper")
    if not isinstance(content, dict):
        raise DecodeError(f"wanted a JSON object in a frame, found {_short(text)}")
    try:
        return Event.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise DecodeError(f"the event cannot be read: {faults}", _partial(content)) from error


def _partial(content: dict[str, Any]) -> Event | None:
    """Enough of a broken event to refuse it: its id and where the reply goes."""
    echoed = ("id", "name", "replyTo", "resourceType", "resourceId")
    kept = {key: content[key] for key in echoed if isinstance(content.get(key), str)}
    for left_out in ((), ("name",), ("name", "resourceType", "resourceId")):
        readable = {key: value for key, value in kept.items() if key not in left_out}
        try:
            event = Event.model_validate({"name": "unreadable", **readable})
        except ValidationError:
            continue
        return event if event.reply_to else None
    return None


def _is_too_deep(content: object) -> bool:
    level = [content]
    for _ in range(MOST_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def _short(text: str) -> str:
    # No content: a payload may hold passwords.
    return f"{len(text)} characters that are not"
