"""The host and the process of an event, and the two requests that name a container directly.

Row numbers (A) refer to docs/parity.md.
"""

from typing import Annotated

from pydantic import Field

from worker.payload.base import WHOLE, Flag, Payload, Text, member, only_docker, parse


class Host(Payload):
    """The host of the event."""

    id: Text | None = None
    uuid: Text | None = None
    kind: Text | None = None
    name: Text | None = None


class Process(Payload):
    """Options of one event, from cattle's process."""

    #: Report only, change nothing in Docker (A 2.13).
    container_no_op_event: Flag = None
    #: Stop timeout in seconds; zero is valid.
    timeout_s: Annotated[Annotated[int, Field(ge=0)] | None, WHOLE] = Field(
        default=None, alias="timeout"
    )

    @property
    def is_no_op(self) -> bool:
        """Whether the event must not change anything in Docker and only wants a report."""
        return self.container_no_op_event is True


class Inspect(Payload):
    """The container to inspect: by id, or by name without an id (A 11.11)."""

    kind: Text | None = None
    id: Text | None = None
    name: Text | None = None


class ForceStop(Payload):
    """A running container, by its Docker id, whose instance cattle has removed."""

    kind: Text | None = None
    id: Text = Field(min_length=1)


def process_of(data: object) -> Process:
    """Parse `processData`; an event without it has no options."""
    value = data.get("processData") if isinstance(data, dict) else None
    return parse(Process, {} if value is None else value, "processData")


def inspect_of(data: object) -> Inspect:
    """Parse the request of `compute.instance.inspect`."""
    request = parse(Inspect, member(data, "instanceInspect"), "instanceInspect")
    only_docker(request.kind, "instanceInspect")
    return request


def force_stop_of(data: object) -> ForceStop:
    """Parse the request of `compute.instance.force.stop`."""
    request = parse(ForceStop, member(data, "instanceForceStop"), "instanceForceStop")
    only_docker(request.kind, "instanceForceStop")
    return request
