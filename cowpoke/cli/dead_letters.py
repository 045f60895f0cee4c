"""Dead letters: messages and outcomes that nobody could read, kept for people.

Each list entry is a JSON object:

| key | content |
|---|---|
| `at_ms` | when it was put aside, by the Redis server's clock |
| `where` | the queue or stream it came from |
| `reason` | why it could not be read |
| `content` | its beginning, without secrets |
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import redis

from cowpoke import keys
from cowpoke.cli.output import cell, moment, print_line, print_table
from cowpoke.cli.shown import shown
from cowpoke.overview.answers import ask
from cowpoke.overview.reading import known_hosts
from cowpoke.scrubbing import scrub

_NAME_CHARS = 60
_CONTENT_CHARS = 80
#: More than a program puts aside.
_WHOLE_CHARS = 8_000
_ID_BYTES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """One entry of a list of dead letters."""

    #: The host whose list has it; empty for the list of the bridges.
    host: str
    #: None where the entry itself cannot be read; `content` is the entry then.
    at_ms: int | None
    where: str
    reason: str
    content: str

    #: The entry as it is in Redis.
    entry: str = field(repr=False)

    @property
    def letter_id(self) -> str:
        """A short name for this entry, made of its content."""
        text = f"{self.host} {self.entry}".encode(errors="surrogateescape")
        return hashlib.blake2b(text, digest_size=_ID_BYTES).hexdigest()

    def as_json(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "id": self.letter_id,
            "host_uuid": self.host,
            "at_ms": self.at_ms,
            "where": self.where,
            "reason": self.reason,
            "content": self.content,
        }


def read_dead_letters(client: "redis.Redis", host_uuid: str | None) -> list[DeadLetter]:
    """Return the dead letters of a host, or those of the bridges and of all hosts; newest first.

    Errors: redis.RedisError.
    """
    hosts = ["", *known_hosts(client)] if host_uuid is None else [host_uuid]
    last = keys.DEAD_MOST - 1
    answers = ask(client, [("LRANGE", list_key(host), 0, last) for host in hosts])
    found: list[DeadLetter] = []
    for host, answer in zip(hosts, answers, strict=True):
        if isinstance(answer, redis.ResponseError):
            found.append(_unreadable(host, f"the list itself: {answer}", ""))
        else:
            found += [_letter(host, str(entry)) for entry in answer]
    return sorted(found, key=lambda letter: letter.at_ms or 0, reverse=True)


def list_key(host_uuid: str) -> str:
    """Return the key of the list of a host; of the bridges' list for an empty uuid."""
    return keys.dead_letters(host_uuid) if host_uuid else keys.BRIDGE_DEAD_LETTERS


def print_letters(letters: Sequence[DeadLetter]) -> None:
    """Print one line for each."""
    rows = [
        (
            cell(letter.letter_id),
            cell(_time(letter.at_ms)),
            cell(letter.host or "(bridges)", most=_NAME_CHARS),
            cell(letter.where, most=_NAME_CHARS),
            cell(letter.reason),
            cell(letter.content, most=_CONTENT_CHARS),
        )
        for letter in letters
    ]
    print_table(("id", "at", "host", "where", "reason", "content"), rows)
    print_line(f"{len(letters)} dead letters")


def print_letter(letter: DeadLetter) -> None:
    """Print all of one."""
    for name, text in (
        ("id", letter.letter_id),
        ("at", _time(letter.at_ms)),
        ("host", letter.host or "(bridges)"),
        ("where", letter.where),
        ("reason", letter.reason),
        ("content", letter.content),
    ):
        print_line(f"{name:<8} {shown(text, _WHOLE_CHARS)}")


def find_letter(letters: Sequence[DeadLetter], letter_id: str, command: str) -> DeadLetter:
    """Return the letter with an id; exit with 1 without one."""
    found = next((letter for letter in letters if letter.letter_id == letter_id), None)
    if found is None:
        said = f"no dead letter has the id {shown(letter_id)}; see cowpoke dead-letters"
        sys.exit(f"{command}: {said}")
    return found


def drop(client: "redis.Redis", letters: Sequence[DeadLetter]) -> None:
    """Remove these letters; those that came since they were read stay.

    Errors: redis.RedisError.
    """
    with client.pipeline(transaction=False) as pipe:
        for letter in letters:
            if letter.entry:
                pipe.lrem(list_key(letter.host), 0, letter.entry)
            else:
                # The key has another type: nothing of ours is in it.
                pipe.delete(list_key(letter.host))
        pipe.execute()


def _letter(host_uuid: str, entry: str) -> DeadLetter:
    # The program that put it aside knew the secrets of its settings, not those of others.
    text = scrub(entry)
    try:
        content = json.loads(text)
        at_ms = content["at_ms"]
        return DeadLetter(
            host=host_uuid,
            at_ms=None if at_ms is None else int(at_ms),
            where=str(content.get("where") or ""),
            reason=str(content.get("reason") or ""),
            content=str(content.get("content") or ""),
            entry=entry,
        )
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
        return _unreadable(host_uuid, "the entry is no dead letter of ours", text, entry)


def _unreadable(host_uuid: str, reason: str, content: str, entry: str = "") -> DeadLetter:
    return DeadLetter(
        host=host_uuid,
        at_ms=None,
        where=list_key(host_uuid),
        reason=reason,
        content=content,
        entry=entry,
    )


def _time(at_ms: int | None) -> str:
    return "(time unknown)" if at_ms is None else moment(at_ms)
