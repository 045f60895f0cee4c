"""A host as an operation gets it, with the test's Engine and a state folder of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cowpoke.events import Event
from tests import factories
from worker.engine.client import Engine
from worker.host.identity import Identity
from worker.host.locks import Locks
from worker.operations import operation_of
from worker.operations.context import Host
from worker.settings import WorkerSettings

HOST_IP = "1.2.3.4"


@dataclass
class TestHost:
    """A host, and what its operations reported as progress."""

    __test__ = False

    host: Host
    told: list[tuple[str, int | None]] = field(default_factory=list)
    #: The warnings of its operations.
    warned: list[str] = field(default_factory=list)

    def run(
        self, name: str, data: Any, *, resource_type: str | None = None, event_id: str = ""
    ) -> dict[str, Any]:
        """Run one event's operation; the resource type is the data's first key unless given."""
        kind = resource_type or next((key for key in data if key != "processData"), "agent")
        event = factories.event(
            name=name, resourceType=kind, data=data, **({"id": event_id} if event_id else {})
        )
        operation = operation_of(name, self.host.settings)
        assert operation is not None, f"no operation is named {name}"
        return operation(Event.model_validate(event), self.host)

    @property
    def calls(self) -> dict[str, int]:
        """Calls to the Engine so far, by kind."""
        return dict(self.host.engine.calls)

    def calls_of(self, name: str, data: Any) -> dict[str, int]:
        """The calls that one event cost."""
        before = self.host.engine.calls
        self.run(name, data)
        return dict(self.host.engine.calls - before)


def host_on(
    docker_host: str, state_dir: Path, *, may_pull: bool = True, **settings: str
) -> TestHost:
    """A host whose Engine is at `docker_host`; further settings by their variables' names."""
    read = WorkerSettings(
        **{
            "CATTLE_HOME": str(state_dir),
            "DOCKER_HOST": docker_host,
            "CATTLE_DOCKER_HOST_IP": HOST_IP,
            **settings,
        }
    )
    told: list[tuple[str, int | None]] = []
    warned: list[str] = []
    identity = Identity(
        host_uuid="host-uuid",
        physical_host_uuid="physical-uuid",
        hostname="host-1",
        given_ip=read.docker_host_ip or read.agent_ip,
    )
    host = Host(
        settings=read,
        identity=identity,
        engine=Engine(read),
        locks=Locks(read.lock_dir, wait_s=read.lock_wait_s),
        report_progress=lambda text, percent: told.append((text, percent)),
        warn=warned.append,
        may_pull=may_pull,
    )
    return TestHost(host, told, warned)


@contextmanager
def hosts_on(docker_host: str, state_dir: Path) -> Iterator[Callable[..., TestHost]]:
    """Make hosts with `host_on`; all share one state folder, as workers of one host do."""
    made: list[TestHost] = []

    def make(**options: Any) -> TestHost:
        made.append(host_on(docker_host, state_dir, **options))
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            one.host.engine.close()
