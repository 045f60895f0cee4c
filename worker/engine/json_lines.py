"""Answers of the Engine that are streams of JSON lines: pulls and builds.

Row numbers (A, W) refer to docs/parity.md.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import requests

_MOST_CHARACTERS = 2000


def json_lines(response: requests.Response) -> Iterator[Mapping[str, Any]]:
    """Yield the JSON objects of a stream; skip lines that are no JSON objects (A 12.8)."""
    rest = b""
    # Chunks are processed as they arrive: the Engine flushes line by line.
    for chunk in response.iter_content(chunk_size=None):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield from _object(line)
    yield from _object(rest)


def failure_in(line: Mapping[str, Any]) -> str | None:
    """Return the reason in a line that reports a failure; None for other lines.

    Engines write the reason into `error`, `errorDetail.message` or both; `error` is deprecated and
    may be empty or absent beside `errorDetail` (W 20).
    """
    detail = line.get("errorDetail")
    said = detail if isinstance(detail, Mapping) else {"message": detail}
    for words in (line.get("error"), said.get("message")):
        if isinstance(words, str) and words.strip():
            return words.strip()[:_MOST_CHARACTERS]
    unreadable = line.get("error") or detail
    if unreadable:
        return f"the Docker Engine gave no reason: {json.dumps(unreadable)[:_MOST_CHARACTERS]}"
    return None


def _object(line: bytes) -> Iterator[Mapping[str, Any]]:
    try:
        said = json.loads(line)
    except ValueError:
        return
    if isinstance(said, dict):
        yield said
