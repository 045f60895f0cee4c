"""Dead letters: what a program found in Redis and could not read, kept for a person to look at.

One list per host, and one of the bridges (`cowpoke.keys`), newest entry first. An entry is JSON:
`at_ms` (Unix time), `where` (the key it was found in), `reason` (one sentence) and `content` (its
beginning, without secrets).
"""

import json
import re
import time
from dataclasses import dataclass
from typing import Any

import redis

from cowpoke.keys import DEAD_MOST, DEAD_TTL_MS
from cowpoke.lengths import shortened
from cowpoke.log import logger
from cowpoke.scrubbing import Scrubber

_log = logger(__name__)

MOST_CONTENT_CHARACTERS = 2_000
_MOST_REASON_CHARACTERS = 300
#: Parsed and searched for secrets; the rest of a huge item is not looked at.
_MOST_SEARCHED_BYTES = 16 * 1024
#: Keys of a Celery message that quote a task's arguments.
_QUOTES_ARGUMENTS = frozenset({"body", "argsrepr", "kwargsrepr"})
_PUNCTUATION = re.compile(r"[\"'{}\[\]\\]")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """One item that was put aside."""

    at_ms: int
    where: str
    reason: str
    content: str


def add(client: "redis.Redis", key: str, *, where: str, reason: str, content: bytes) -> bool:
    """Add an item to a list of dead letters; false when Redis refuses it (it is then lost).

    Errors: redis.ConnectionError, redis.TimeoutError.
    """
    letter = {
        "at_ms": time.time_ns() // 1_000_000,
        "where": where,
        "reason": shortened(reason, _MOST_REASON_CHARACTERS),
        "content": _shown(content),
    }
    entry = json.dumps(letter)
    try:
        try:
            _push(client, key, entry)
        except redis.ResponseError as problem:
            if "WRONGTYPE" not in str(problem):
                raise
            # Nothing of ours is under this key, and it must not block what comes.
            client.delete(key)
            _push(client, key, entry)
    except redis.ResponseError as problem:
        _log.warning("dead_letter.lost", where=where, reason=str(problem))
        return False
    return True


def read(client: "redis.Redis", key: str, *, most: int = DEAD_MOST) -> list[DeadLetter]:
    """Return the dead letters of a list, newest first; unreadable entries are shown as such.

    Errors: redis.ConnectionError, redis.TimeoutError, and redis.ResponseError other than WRONGTYPE.
    """
    try:
        entries: Any = client.lrange(key, 0, most - 1)
    except redis.ResponseError as problem:
        if "WRONGTYPE" not in str(problem):
            raise
        return []
    return [_letter(entry, key) for entry in entries]


def _push(client: "redis.Redis", key: str, entry: str) -> None:
    with client.pipeline() as pipe:
        pipe.lpush(key, entry)
        pipe.ltrim(key, 0, DEAD_MOST - 1)
        pipe.pexpire(key, DEAD_TTL_MS)
        pipe.execute()


def _letter(entry: bytes | str, key: str) -> DeadLetter:
    content = entry if isinstance(entry, bytes) else entry.encode("utf-8", "surrogateescape")
    try:
        said = json.loads(content)
        return DeadLetter(
            at_ms=int(said["at_ms"]),
            where=str(said["where"]),
            reason=str(said["reason"]),
            content=str(said["content"]),
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return DeadLetter(
            at_ms=0, where=key, reason="this is not a dead letter", content=_shown(content)
        )


def _shown(content: bytes) -> str:
    """Return the beginning of an item as text without secrets."""
    searched = content[:_MOST_SEARCHED_BYTES]
    try:
        text = _scrubbed(searched.decode(errors="backslashreplace"))
    except (ValueError, RecursionError):
        # Such as half a UTF-16 pair, which no form of a secret can be made of.
        text = "(not shown, since it cannot be searched for secrets)"
    left_out = len(content) - len(searched)
    more = f" ... ({left_out:,} more bytes)" if left_out else ""
    return shortened(text, MOST_CONTENT_CHARACTERS) + more


def _scrubbed(text: str) -> str:
    """Errors: ValueError, RecursionError for a text that cannot be searched."""
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict):
        text = json.dumps(_without_arguments(data))
    else:
        # In JSON that is cut or broken, punctuation stands between a name and its value.
        plain = _PUNCTUATION.sub("", text.replace(",", " "))
        data = {"command": [text, plain]}
    return Scrubber.of(data)(text)


def _without_arguments(message: dict[str, Any]) -> dict[str, Any]:
    """Return a Celery message without what quotes the arguments of a task."""
    shown: dict[str, Any] = {}
    for key, value in message.items():
        if key in _QUOTES_ARGUMENTS and isinstance(value, str):
            shown[key] = f"({len(value):,} characters)"
        elif key == "headers" and isinstance(value, dict):
            shown[key] = _without_arguments(value)
        else:
            shown[key] = value
    return shown
