"""The host and the process of an event, and the two requests that name a container directly."""

from typing import Annotated

from pydantic import Field

from worker.payload.base import WHOLE, Flag, Payload, Text, member, only_docker, parse


class Host(Payload):
    """The host that cattle means, as it is written in the event."""

    id: Text | None = None
    uuid: Text | None = None
    kind: Text | None = None
    name: Text | None = None


class Process(Payload):
    """What cattle's process adds to the resource: options of this one event."""

    #: Report only, change nothing in Docker (A 2.13).
    container_no_op_event: Flag = None
    #: Seconds that a container gets to stop; zero is meant.
    timeout_s: Annotated[Annotated[int, Field(ge=0)] | None, WHOLE] = Field(
        default=None, alias="timeout"
    )

    @property
    def is_no_op(self) -> bool:
        """Nothing may be changed in Docker: cattle only wants to know how things are."""
        return self.container_no_op_event is True


class Inspect(Payload):
    """A container to look at: by id, or by name when there is no id (A 11.11)."""

    kind: Text | None = None
    id: Text | None = None
    name: Text | None = None


class ForceStop(Payload):
    """A container, by its Docker id, that runs though cattle removed it."""

    kind: Text | None = None
    id: Text = Field(min_length=1)


def process_of(data: object) -> Process:
    """Read `processData`; an event without it has no options."""
    value = data.get("processData") if isinstance(data, dict) else None
    return parse(Process, {} if value is None else value, "processData")


def inspect_of(data: object) -> Inspect:
    """Read the request of `compute.instance.inspect`."""
    request = parse(Inspect, member(data, "instanceInspect"), "instanceInspect")
    only_docker(request.kind, "instanceInspect")
    return request


def force_stop_of(data: object) -> ForceStop:
    """Read the request of `compute.instance.force.stop`."""
    request = parse(ForceStop, member(data, "instanceForceStop"), "instanceForceStop")
    only_docker(request.kind, "instanceForceStop")
    return request
