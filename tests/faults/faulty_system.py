"""A system whose parts a test kills: who runs which lane, and what became of an instance."""

import json
import os
import re
import signal
import uuid
from typing import Any

from cowpoke import keys
from simulator import sample
from simulator.client import Call
from simulator.rig.processes import Program, wait_until
from tests import factories
from tests.faults.scripted_engine import UUID_LABEL, ScriptedEngine
from tests.system import System

#: From "the worker is back" to the first redelivery; the promise of docs/reliability.md.
REDELIVERED_WITHIN_S = 5.0


class FaultySystem(System):
    """A system on a scripted Engine, with what a test of faults asks of it."""

    def __init__(self, scripted: ScriptedEngine, **options: Any) -> None:
        environment = {"DOCKER_HOST": scripted.host}
        super().__init__(**{"engine_environment": environment, **options})
        self.scripted = scripted

    def send(self, event: sample.SampleEvent, **more: Any) -> str:
        """Send an event without waiting; its id."""
        return self.cattle.send(
            event.name,
            event.data,
            resource_type=event.resource_type,
            resource_id=event.resource_id,
            **more,
        )

    def ask(self, event: sample.SampleEvent, **more: Any) -> Call:
        """Send an event and wait for its end."""
        return self.cattle.wait(self.send(event, **more), 60)

    def wait_lanes(self, worker: Program | None = None, *, after_chars: int = 0) -> None:
        """Until all three lanes of a worker consume."""
        for lane in ("compute", "control", "images"):
            wait_lane(worker or self.worker, lane, after_chars=after_chars)

    def kill_lane(self, lane: str, worker: Program | None = None) -> int:
        """SIGKILL one lane's process; how much the worker had printed then."""
        worker = worker or self.worker
        pid = lane_pid(worker, lane)
        printed = len(worker.output())
        os.kill(pid, signal.SIGKILL)
        return printed

    def restart_worker(self) -> None:
        """Start the killed worker again."""
        printed = len(self.worker.output())
        self.worker.start()
        self.wait_lanes(after_chars=printed)

    def boot_of(self, event_id: str) -> str:
        """The boot id of the process that has an event; empty when none has."""
        entry = keys.event(self.host_uuid, event_id)
        return (self.redis.client().hget(entry, "boot") or b"").decode()

    def wait_claimed(self, event_id: str) -> None:
        """Until a process has claimed an event."""
        wait_until(lambda: self.boot_of(event_id), 20, f"{event_id} to be claimed")

    def containers_of(self, instance: sample.Instance) -> list[dict[str, Any]]:
        """What the scripted Engine has for an instance."""
        found = tuple(self.scripted.containers.values())
        return [c for c in found if (c["Config"]["Labels"] or {}).get(UUID_LABEL) == instance.uuid]

    def assert_answered_once(
        self, call: Call, instance: sample.Instance, *, lost_201: bool = False
    ) -> None:
        """One final reply, of success; one container, which runs.

        Where cattle's 201 may have been lost, the same reply may have come again, by its same id.
        """
        assert call.state == "success", call.message
        assert call.reply is not None
        others = [one for one in call.duplicates if one["id"] != call.reply["id"] or not lost_201]
        assert others == []
        (container,) = self.containers_of(instance)
        assert container["State"]["Running"]


def new_instance(number: int = 0, image: str = factories.IMAGE) -> sample.Instance:
    """An instance nobody else has."""
    number = number or uuid.uuid4().int % 10**9
    return sample.Instance(
        uuid=str(uuid.uuid4()), name=f"t-{uuid.uuid4().hex[:8]}", image=image, id=number
    )


def wait_lane(worker: Program, lane: str, *, after_chars: int = 0) -> None:
    """Until a lane consumes."""
    pattern = rf'"lane": "{lane}".*"event": "lane.ready"|"event": "lane.ready".*"lane": "{lane}"'
    worker.wait_for_line(pattern, 30, after_chars=after_chars)


def lane_pid(worker: Program, lane: str) -> int:
    """The process that runs a lane, as it said when it became ready."""
    ready = [fact for fact in facts(worker, "lane.ready") if fact["lane"] == lane]
    return int(ready[-1]["pid"])


def facts(program: Program, name: str) -> list[dict[str, Any]]:
    """The log lines of one fact."""
    quoted = re.escape(f'"{name}"')
    lines = [line for line in program.output().splitlines() if re.search(quoted, line)]
    return [fact for fact in map(json.loads, lines) if fact.get("event") == name]


def wait_fact(program: Program, name: str, count: int = 1, timeout_s: float = 30) -> None:
    """Until a program has logged a fact so often."""
    wait_until(lambda: len(facts(program, name)) >= count, timeout_s, f"{count} x {name}")
