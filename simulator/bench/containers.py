"""Plain Docker SDK: the floor, the other containers, and cleanup."""

from __future__ import annotations

import copy
import json
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import docker

from simulator import sample
from simulator.rig.containers import remove_containers
from simulator.rig.processes import Program

UUID_LABEL = "io.rancher.container.uuid"
MARK_LABEL = "cowpoke.bench"
#: Of the other containers one in this many runs.
RUNS_ONE_IN = 10
REMOVERS = 8


class Raw:
    """The containers of one run, all labeled, so that cleanup finds them."""

    def __init__(
        self, environment: Mapping[str, str], image: str, mark: str, *, connections: int
    ) -> None:
        self.client = docker.from_env(
            environment=dict(environment), timeout=300, max_pool_size=connections
        ).api
        self._image = image
        self._mark = mark
        self._numbers = iter(range(1, 1_000_000))
        self._body = self._explained()
        self._others = 0

    def close(self) -> None:
        """Remove every container of this run and close the connections."""
        self.clear(self.marked())
        self.client.close()

    def instance(self) -> sample.Instance:
        """Return a new instance."""
        number = next(self._numbers)
        return sample.Instance(
            uuid=str(uuid.uuid4()),
            name=f"bench-{self._mark}-{number}",
            image=self._image,
            id=number,
        )

    def activate_event(self, instance: sample.Instance) -> sample.SampleEvent:
        """Return the event whose container the floor creates too."""
        return sample.instance_activate(
            instance, command=["/sleep.sh"], labels={MARK_LABEL: self._mark}
        )

    def floor_ms(self) -> tuple[float, str]:
        """Look up, create, start and inspect; return the duration and the id."""
        instance = self.instance()
        body = self._body_of(instance)
        began_s = time.perf_counter()
        label = f"{UUID_LABEL}={instance.uuid}"
        self.client.containers(all=True, filters={"label": label})
        made = self.client.create_container_from_config(  # type: ignore[no-untyped-call]
            body, f"floor-{instance.name}"
        )
        self.client.start(made["Id"])
        self.client.inspect_container(made["Id"])
        return (time.perf_counter() - began_s) * 1000, str(made["Id"])

    def add_others(self, wanted: int) -> None:
        """Create other containers up to a number."""
        for number in range(self._others, wanted):
            instance = self.instance()
            made = self.client.create_container_from_config(  # type: ignore[no-untyped-call]
                self._body_of(instance), f"other-{instance.name}"
            )
            if number % RUNS_ONE_IN == 0:
                self.client.start(made["Id"])
        self._others = max(self._others, wanted)

    def marked(self) -> list[str]:
        """Return the ids of this run's containers."""
        label = f"{MARK_LABEL}={self._mark}"
        return [one["Id"] for one in self.client.containers(all=True, filters={"label": label})]

    def id_of(self, instance: sample.Instance) -> str:
        """Return the container of an instance."""
        label = f"{UUID_LABEL}={instance.uuid}"
        (found,) = self.client.containers(all=True, filters={"label": label})
        return str(found["Id"])

    def clear(self, container_ids: Iterable[str]) -> None:
        """Remove containers, running or not."""
        with ThreadPoolExecutor(REMOVERS) as pool:
            list(pool.map(partial(remove_containers, self.client), container_ids))

    def _body_of(self, instance: sample.Instance) -> dict[str, Any]:
        body = copy.deepcopy(self._body)
        body["Labels"] |= {
            UUID_LABEL: instance.uuid,
            "io.rancher.container.name": instance.name,
        }
        return body

    def _explained(self) -> dict[str, Any]:
        """Return the create body of the worker, so that floor and system create the same."""
        event = self.activate_event(self.instance())
        with tempfile.TemporaryDirectory(prefix="cowpoke-bench-") as folder:
            path = Path(folder) / "event.json"
            known = {"id": "1", "name": event.name, "data": event.data}
            path.write_text(json.dumps(known), encoding="utf-8")
            environment = {
                "CATTLE_HOME": folder,
                # As the worker negotiates it; without this, `explain` warns that it assumes one.
                "CATTLE_DOCKER_API_VERSION": self.client.version()["ApiVersion"],
            }
            with Program("worker", "explain", str(path), environment=environment) as it:
                it.wait(60)
                text = it.output()
        body: dict[str, Any] = json.loads(text)
        return body
