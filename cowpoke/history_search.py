"""Finding events that are over: by their id, and as they end."""

from collections.abc import Sequence
from typing import Any

import redis

from cowpoke import keys
from cowpoke.history import FinishedEvent, Pointer, read_entries
from cowpoke.seal import Keyring


def find_finished(
    client: "redis.Redis", keyring: Keyring, beginning: str, hosts: Sequence[str] | None = None
) -> list[FinishedEvent]:
    """Return the events whose id begins with a text, the newest first.

    They are looked for in the history of some hosts or, without any, among the last events of all.
    One id may be there twice: cattle sent it again after its end. Errors: redis.RedisError.
    """
    if hosts is None:
        rows: Any = client.xrevrange(keys.RECENT)
        return read_entries(client, keyring, _pointers(rows, beginning))
    found: list[FinishedEvent] = []
    for host_uuid in hosts:
        rows = client.xrevrange(keys.history(host_uuid))
        pointers = [
            Pointer(host_uuid, str(entry))
            for entry, fields in rows
            if str(fields.get("id", "")).startswith(beginning)
        ]
        found += read_entries(client, keyring, pointers)
    return found


def last_pointer(client: "redis.Redis") -> str:
    """Return where the last events of all hosts end now. Errors: redis.RedisError."""
    rows: Any = client.xrevrange(keys.RECENT, count=1)
    return str(rows[0][0]) if rows else "0-0"


def read_after(
    client: "redis.Redis", keyring: Keyring, after: str, *, block_ms: int
) -> tuple[str, list[FinishedEvent]]:
    """Return the events that ended after a place, the oldest first, and the place after them.

    Waits at most `block_ms` for the first one. Errors: redis.RedisError.
    """
    answer: Any = client.xread({keys.RECENT: after}, count=100, block=block_ms)
    if not answer:
        return after, []
    rows = answer[0][1]
    return str(rows[-1][0]), read_entries(client, keyring, _pointers(rows, ""))


def _pointers(rows: Sequence[tuple[object, dict[str, str]]], beginning: str) -> list[Pointer]:
    return [
        Pointer(str(fields["host"]), str(fields["entry"]))
        for _, fields in rows
        if {"host", "id", "entry"} <= fields.keys() and str(fields["id"]).startswith(beginning)
    ]
