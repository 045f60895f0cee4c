"""The parts of the demo while it runs, and what its steps do with them."""

from __future__ import annotations

import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator import sample
from simulator.join_rig import ADDRESS, JoinRig
from simulator.narration import SHOWN, Narrator, StepFailedError, ask, checked, say
from simulator.plugin_manager.program import plugin_manager, start
from simulator.rig.redis_server import RedisServer
from simulator.storage_driver import StorageDriver

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import ExitStack

    import docker

    from simulator.networks import Network
    from simulator.rig.docker_engine import DockerEngine
    from simulator.rig.processes import Program
    from simulator.volumes import DataVolume

DRIVER = "rancher-nfs"
COMMAND_TIMEOUT_S = 60.0
_LINES = {
    **SHOWN,
    "container.stopped": "container stopped {container_id}",
    "network_wait.written": "volume filled     {volume}, with the program that waits",
    "volume.mounted": "volume mounted    {volume} at {mount_point}",
}


class Stage:
    """Redis, cattle, bridge, worker and stand-ins; the exit stack removes all of them."""

    def __init__(
        self,
        stack: ExitStack,
        programs: list[Program],
        engine: DockerEngine,
        client: docker.APIClient,
    ) -> None:
        self._stack = stack
        self._programs = programs
        self._engine = engine
        self.client = client
        self.mark = uuid.uuid4().hex[:8]
        self.image = f"cowpoke-demo-host-{self.mark}:latest"
        self.instances: list[sample.Instance] = []
        #: Number of the host in cattle, once it joined.
        self.host_id = 0
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cowpoke-demo-"))
        self.folder = Path(folder)

    def open(self) -> None:
        """Start everything but the container of the old agent."""
        redis_server = self._stack.enter_context(RedisServer())
        say("redis", f"port {redis_server.port}")
        cni_dir = self.folder / "rancher" / "state" / "cni"
        manager = plugin_manager(self._engine.host, cni_dir)
        self._stack.callback(manager.stop)
        self._keep(start(manager))
        say("network", f"process {manager.pid}, the stand-in for plugin-manager")
        self.driver = StorageDriver(self.folder / "storage", DRIVER, volumes=self.folder / "nfs")
        self.driver.on_call = lambda one: say("storage", f"{one.action} {one.name}")
        self._stack.enter_context(self.driver)
        say("storage", f"a stand-in for {DRIVER} listens")
        self.rig = self._stack.enter_context(
            JoinRig(
                redis=redis_server,
                folder=self.folder / "rancher",
                engine_environment=self._engine.environment,
                simulator={"SIMULATOR_AGENTS": "[]"},
                host={
                    "WORKER_STORAGE_DIR": str(self.driver.socket.parent),
                    "WORKER_NETWORK_STATE_DIR": str(cni_dir),
                },
            )
        )
        self._keep(self.rig.simulator)
        self.cattle = self.rig.cattle
        say("cattle", f"{self.rig.cattle_url} (registration refuses 127.0.0.1, so {ADDRESS})")
        self.rig.start()
        for program in (self.rig.bridge, self.rig.worker):
            self._keep(program)
            say(program.module, f"process {program.pid}")
        say("bridge", "has no agent in its settings and waits for hosts")
        narrator = Narrator({"bridge": self.rig.bridge, "worker": self.rig.worker}, _LINES)
        narrator.start()
        self._stack.callback(narrator.stop)
        self.narrator = narrator

    def run_command(self, *arguments: str, shown: str = "") -> None:
        """Run `cowpoke ...` on the host as a process of its own and show its lines.

        `shown` replaces the arguments where they contain a token.
        Errors: StepFailedError when it fails.
        """
        line = shown or " ".join(arguments)
        say("you", f"cowpoke {line}")
        deadline_s = time.monotonic() + COMMAND_TIMEOUT_S
        printed = 0
        with self.rig.command(*arguments) as program:
            while True:
                ended = not program.running  # asked before reading: the last lines are still read
                lines = program.output().splitlines(keepends=True)
                for text in lines[printed:]:
                    if not (text.endswith("\n") or ended):
                        break
                    printed += 1
                    if not text.startswith("{"):  # log lines are for operators
                        say("cowpoke", text.rstrip())
                if ended:
                    break
                if time.monotonic() >= deadline_s:
                    raise StepFailedError(
                        f"`cowpoke {line}` did not end within {COMMAND_TIMEOUT_S:g} s"
                    )
                time.sleep(0.05)
            if program.returncode != 0:
                raise StepFailedError(f"`cowpoke {line}` ended with code {program.returncode}")

    def stop_worker(self) -> None:
        """Stop the worker, as `cowpoke leave` advises."""
        say("you", "stop the worker")
        self.rig.worker.terminate()

    def start_worker(self) -> None:
        """Start the worker again, with the same state folder."""
        self.rig.worker.start()
        say("you", f"start the worker: process {self.rig.worker.pid}")

    def new_instance(self, name: str, network: Network) -> sample.Instance:
        """Return an instance that cattle has not started yet."""
        return sample.Instance(
            uuid=str(uuid.uuid4()),
            name=f"{name}-{self.mark}",
            image=self.image,
            id=50 + len(self.instances),
            host_id=self.host_id,
            network=network,
        )

    def activate(
        self,
        instance: sample.Instance,
        script: str,
        *,
        labels: Mapping[str, str] | None = None,
        volumes: tuple[DataVolume, ...] = (),
    ) -> sample.Instance:
        """Let cattle start an instance that runs a script and stays; return it with its reply."""
        command = ["sh", "-c", f"{script}; exec /sleep.sh"]
        event = sample.instance_activate(instance, command=command, labels=labels, volumes=volumes)
        started = sample.after(instance, checked(ask(self.cattle, event)).data)
        self.instances.append(started)
        return started

    def inspect(self, instance: sample.Instance) -> dict[str, Any]:
        """Return what the Engine says of an instance's container."""
        found: dict[str, Any] = self.client.inspect_container(str(instance.external_id))
        return found

    def printed(self, instance: sample.Instance) -> str:
        """Return what the program of an instance has printed so far."""
        return self.client.logs(str(instance.external_id)).decode().strip()

    def states(self) -> dict[str, str]:
        """Return when each container of the stack was started."""
        found = [self.inspect(one) for one in self.instances]
        return {one["Id"]: one["State"]["StartedAt"] for one in found}

    def _keep(self, program: Program) -> None:
        self._programs.append(program)
