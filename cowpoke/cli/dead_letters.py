"""Dead letters: messages and outcomes that nobody could read, kept for people.

Each list entry is a JSON object:

| key | content |
|---|---|
| `at_ms` | when it was put aside, by the Redis server's clock |
| `where` | the queue or stream it came from |
| `reason` | why it could not be read |
| `content` | its beginning, without secrets |
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import click
import redis

from cowpoke import keys
from cowpoke.cli.shown import shown
from cowpoke.overview.answers import ask, texts
from cowpoke.scrubbing import scrub

_NAME_CHARS = 60


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

    def line(self) -> str:
        """Return it for people."""
        return "  ".join(
            (
                _time(self.at_ms),
                shown(self.host or "(bridges)", _NAME_CHARS),
                shown(self.where, _NAME_CHARS),
                shown(self.reason),
                shown(self.content),
            )
        )

    def json_line(self) -> str:
        """Return it for programs; ASCII only."""
        return json.dumps(
            {
                "host": self.host,
                "at_ms": self.at_ms,
                "where": self.where,
                "reason": self.reason,
                "content": self.content,
            }
        )


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


def known_hosts(client: "redis.Redis") -> list[str]:
    """Return the hosts that a bridge knows: with open events, or seen lately."""
    with_events, seen = ask(client, [("SMEMBERS", keys.HOSTS), ("ZRANGE", keys.SEEN, 0, -1)])
    return sorted({*texts(with_events), *texts(seen)})


def list_key(host_uuid: str) -> str:
    """Return the key of the list of a host; of the bridges' list for an empty uuid."""
    return keys.dead_letters(host_uuid) if host_uuid else keys.BRIDGE_DEAD_LETTERS


def show(client: "redis.Redis", host_uuid: str | None, *, as_json: bool, clear: bool) -> None:
    """Print the dead letters; remove them after that when told to.

    Errors: redis.RedisError.
    """
    found = read_dead_letters(client, host_uuid)
    for letter in found:
        click.echo(letter.json_line() if as_json else letter.line())
    if clear:
        _clear(client, found)
    if not as_json:
        click.echo(f"{len(found)} dead letters" + (" removed" if clear else ""))


def _clear(client: "redis.Redis", shown_letters: Sequence[DeadLetter]) -> None:
    lists = sorted({list_key(letter.host) for letter in shown_letters})
    if lists:
        client.delete(*lists)


def _letter(host_uuid: str, entry: str) -> DeadLetter:
    # The program that put it aside knew the secrets of its settings, not those of others.
    entry = scrub(entry)
    try:
        content = json.loads(entry)
        at_ms = content["at_ms"]
        return DeadLetter(
            host=host_uuid,
            at_ms=None if at_ms is None else int(at_ms),
            where=str(content.get("where") or ""),
            reason=str(content.get("reason") or ""),
            content=str(content.get("content") or ""),
        )
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
        return _unreadable(host_uuid, "the entry is no dead letter of ours", entry)


def _unreadable(host_uuid: str, reason: str, content: str) -> DeadLetter:
    return DeadLetter(
        host=host_uuid, at_ms=None, where=list_key(host_uuid), reason=reason, content=content
    )


def _time(at_ms: int | None) -> str:
    try:
        when = datetime.fromtimestamp((at_ms or 0) / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return "(no such time)"
    return "(time unknown)" if at_ms is None else when.strftime("%Y-%m-%dT%H:%M:%SZ")
