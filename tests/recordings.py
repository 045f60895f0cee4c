"""The recordings of a real cattle 1.6 server, which lie beside the project and are only read."""

import functools
import json
from typing import Any

from simulator.rig.processes import PROJECT_DIR

RECORDINGS = PROJECT_DIR.parent / "shared" / "recordings" / "cattle-1.6.jsonl"

Json = dict[str, Any]


@functools.cache
def records() -> tuple[Json, ...]:
    """Return every record in order of time.

    Errors: FileNotFoundError where the recordings are not beside the project.
    """
    with RECORDINGS.open(encoding="utf-8") as lines:
        return tuple(json.loads(line) for line in lines)


def of_kind(kind: str) -> list[Json]:
    """Return the records of one kind: `frame`, `publish`, `http`, `ws-101`, `ws-refused`."""
    return [record for record in records() if record["kind"] == kind]


def frames() -> dict[str, Json]:
    """Return every frame of the server by its event id, which no two frames share."""
    found = [record["frame"] for record in of_kind("frame")]
    by_id = {frame["id"]: frame for frame in found}
    assert len(by_id) == len(found), "two recorded frames have one id"
    return by_id


def paths(value: object, path: str = "") -> set[str]:
    """Return the path of every key in a JSON value; the entries of a list share their path."""
    if isinstance(value, dict):
        inner = (paths(one, f"{path}/{key}") for key, one in value.items())
        return {f"{path}/{key}" for key in value}.union(*inner)
    if isinstance(value, list):
        return set().union(*(paths(one, f"{path}[]") for one in value))
    return set()
