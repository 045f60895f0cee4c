"""The Engine's answers that come line by line: pulls and builds."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import requests


def json_lines(response: requests.Response) -> Iterator[Mapping[str, Any]]:
    """The JSON lines of a stream; what is no JSON object is passed over (A 12.8)."""
    rest = b""
    # A chunk is handed on as it arrives: the Engine flushes line by line.
    for chunk in response.iter_content(chunk_size=None):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield from _object(line)
    yield from _object(rest)


def _object(line: bytes) -> Iterator[Mapping[str, Any]]:
    try:
        said = json.loads(line)
    except ValueError:
        return
    if isinstance(said, dict):
        yield said
