"""Docker calls per operation, counted at the socket of a separate worker.

Counting takes time, so this run measures no durations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator import sample
from simulator.bench.containers import Raw
from simulator.bench.counting import CallCounter
from simulator.bench.stack import Stack


def count_calls(environment: Mapping[str, str], raw: Raw) -> dict[str, dict[str, int]]:
    """Return the Engine calls of each operation: operation -> kind of call -> count."""
    # The inspect of a container event comes after an operation, and may be counted to the next.
    own = {"WORKER_CONTAINER_EVENTS": "false"}
    with (
        CallCounter(environment["DOCKER_HOST"]) as counter,
        Stack({**environment, **own, "DOCKER_HOST": counter.docker_host}) as stack,
    ):
        for event in _life(raw, raw.instance()).values():
            stack.call(event)
        found: dict[str, dict[str, int]] = {}
        for operation, event in _life(raw, raw.instance()).items():
            before = counter.calls()
            stack.call(event)
            calls = counter.calls() - before
            # Asked for by each process once, and by the watch of the Engine every few seconds.
            calls.pop("GET /version", None)
            found[operation] = dict(calls)
    return found


def _life(raw: Raw, instance: sample.Instance) -> dict[str, sample.SampleEvent]:
    activate = raw.activate_event(instance)
    full = {"options": {"resources": True, "stats": True, "instances": True}}
    return {
        "ping": _ping({}),
        "ping with all": _ping(full),
        "image activate, present": sample.image_activate(instance),
        "volume activate": sample.volume_activate(instance),
        "activate": activate,
        "activate, runs already": activate,
        "deactivate": sample.instance_deactivate(instance),
        "activate, stopped": activate,
        "deactivate again": sample.instance_deactivate(instance),
        "remove": sample.instance_remove(instance),
        "remove, gone already": sample.instance_remove(instance),
        "volume remove": sample.volume_remove(instance),
    }


def _ping(data: dict[str, Any]) -> sample.SampleEvent:
    return sample.SampleEvent(name="ping", resource_type="agent", resource_id="1a1", data=data)
