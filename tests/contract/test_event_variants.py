"""Backwards compatible by rule: every event without any one of its keys, or with a null there.

Servers of many versions leave out, null or add keys. Each variant of each recorded event, and of
the project's own, ends in a right result or in a clear error; never in anything unforeseen.
"""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import DecodeError
from bridge.inbound.decode import decode
from tests import factories
from tests.faults.scripted_engine import ScriptedEngine
from tests.hosts import host_on
from worker.create import container_names, create_body, ignored_fields
from worker.errors import WorkerError
from worker.host.facts import facts_without_engine
from worker.operations import OPERATIONS
from worker.payload import (
    config_update_of,
    delegation_of,
    force_stop_of,
    image_of,
    inspect_of,
    instance_of,
    process_of,
    pull_of,
    volume_of,
)
from worker.settings import WorkerSettings

TESTS = Path(__file__).parents[1]
GOLDEN = TESTS.parents[1] / "shared" / "golden"
FILES = sorted([*GOLDEN.glob("*.request.json"), *(TESTS / "fixtures" / "events").glob("*.json")])
OURS = {
    "config.update": factories.event(
        name="config.update",
        resourceType="agent",
        data={"configUrl": "http://c/v1", "items": [{"name": "pyagent", "requestedVersion": 3}]},
    ),
    "delegate.request": factories.event(
        name="delegate.request",
        resourceType="agent",
        data={
            "instanceData": {"uuid": factories.UUID, "agentId": 7, "externalId": "x"},
            "event": {"id": "1", "name": "ping", "replyTo": "r", "data": {"a": None}},
        },
    ),
}
INSTANCE_EVENTS = frozenset(
    f"compute.instance.{step}" for step in ("activate", "deactivate", "remove")
)
OTHERS = {
    "ping": dict,
    "compute.instance.force.stop": lambda data: force_stop_of(data).id,
    "compute.instance.inspect": lambda data: inspect_of(data).id,
    "compute.instance.pull": lambda data: str(pull_of(data).image.reference),
    "storage.image.activate": lambda data: (
        process_of(data),
        str(image_of(data).reference),
    ),
    "storage.volume.activate": lambda data: volume_of(data).is_managed,
    "storage.volume.deactivate": lambda data: volume_of(data).is_managed,
    "storage.volume.remove": lambda data: volume_of(data).is_root,
    "config.update": lambda data: config_update_of(data).names,
    "delegate.request": lambda data: delegation_of(data).event.base_name,
}
#: How many variants of one file run on a scripted Engine at most; each costs several calls.
ON_AN_ENGINE = 120


def events() -> dict[str, dict[str, Any]]:
    """Every event by the name of its file."""
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in FILES} | OURS


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every key of every object, and of every item of every list."""
    steps = value.items() if isinstance(value, dict) else enumerate(value)
    for step, inner in steps:
        yield (*path, step)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, step))


#: What is done, and the path of the place it is done to.
Change = tuple[str, tuple[Any, ...]]
UNCHANGED: Change = ("unchanged", ())


def changes(event: dict[str, Any]) -> list[Change]:
    """Each place with each thing that is done to it: `without` and `null`."""
    return [(what, path) for path in places(event) for what in ("without", "null")]


def changed(text: str, change: Change) -> dict[str, Any]:
    """The event of a JSON text with one place removed or made null."""
    event: dict[str, Any] = json.loads(text)
    if change == UNCHANGED:
        return event
    what, (*above, last) = change
    parent: Any = event
    for step in above:
        parent = parent[step]
    if what == "without":
        del parent[last]
    else:
        parent[last] = None
    return event


@functools.cache
def changes_on_an_engine() -> dict[str, list[Change]]:
    """What is done to the data of the events on an Engine, by the name of the file.

    Files of one event have most places of their data in common. A change of such a place runs
    once, in the first file that has it.
    """
    done: set[tuple[str, Change]] = set()
    found = {}
    for file, event in sorted(events().items()):
        name = event["name"].partition(";")[0]
        new = [
            change
            for change in changes(event)
            if change[1][0] == "data" and (name, change) not in done
        ]
        chosen = new[:: max(1, len(new) // ON_AN_ENGINE)]
        done |= {(name, change) for change in chosen}
        found[file] = [UNCHANGED, *chosen]
    return found


def mapped(name: str, data: Any, settings: WorkerSettings) -> object:
    """Everything that is made of an event's payload without an Engine."""
    if name in INSTANCE_EVENTS:
        instance = instance_of(data)
        body = create_body(instance, facts_without_engine(instance, settings))
        ignored_fields(instance)
        return body, list(container_names(instance))
    return OTHERS[name](data)


def json_of(value: object) -> str:
    """The value as JSON; what is none of JSON's types must not come out of the mapping."""
    return json.dumps(value, default=lambda one: one.model_dump(mode="json"))


@pytest.mark.parametrize("name", sorted(events()))
def test_every_variant_is_mapped_or_refused_in_words(name, tmp_path):
    """Missing is absent, null is absent, and what is needed is asked for (A 1.15, 6.12)."""
    settings = WorkerSettings(CATTLE_HOME=str(tmp_path), WORKER_RESOLV_CONF=str(tmp_path / "none"))
    unforeseen = []
    mapped_count = 0
    text = json.dumps(events()[name])
    for change in changes(events()[name]):
        try:
            event = decode(json.dumps(changed(text, change)))
            if event is not None and event.base_name in OPERATIONS:
                json_of(mapped(event.base_name, event.data, settings))
                mapped_count += 1
        except (DecodeError, WorkerError) as refusal:
            if not refusal.message.strip():
                unforeseen.append(f"{change}: refused without a word")
        except Exception as error:  # noqa: BLE001 - exactly these are looked for
            unforeseen.append(f"{change}: {type(error).__name__} {error}")
    assert unforeseen == []
    assert mapped_count > 0


@pytest.mark.parametrize("name", sorted(events()))
def test_variants_run_on_an_engine_or_are_refused_in_words(name, tmp_path):
    """Operations take what the mapping takes: a result, or an error of ours (A 1.15)."""
    event = events()[name]
    text = json.dumps(event)
    kind = event.get("resourceType") or "agent"
    unforeseen = []
    with ScriptedEngine(tmp_path) as engine:
        engine.images |= {factories.IMAGE, "ibuildthecloud/helloworld:latest"}
        host = host_on(engine.host, tmp_path, WORKER_PULL_IDLE_TIMEOUT_S="2")
        for change in changes_on_an_engine()[name]:
            data = changed(text, change).get("data")
            try:
                host.run(event["name"].partition(";")[0], data, resource_type=kind)
            except WorkerError as refusal:
                if not refusal.message.strip():
                    unforeseen.append(f"{change}: refused without a word")
            except Exception as error:  # noqa: BLE001 - exactly these are looked for
                unforeseen.append(f"{change}: {type(error).__name__} {error}")
        host.host.engine.close()
    assert unforeseen == []


def test_there_are_events_to_vary():
    """An empty list of files would prove nothing."""
    assert events()
