"""`make demo`: run the main job once on this machine and show every step.

The demo starts Redis, a simulated cattle server, the bridge and one worker. cattle sends the events
of a container in its own order. The container answers on its published port; then events stop and
remove it. Everything that was started is stopped. A failure names its step and sets the exit code.
"""

import json
import secrets
import sys
import tempfile
import urllib.request
import uuid
from contextlib import ExitStack
from pathlib import Path

import click
import docker
from cryptography.fernet import Fernet

from simulator import sample
from simulator.client import Call, Cattle
from simulator.narration import Narrator, StepFailedError, ask, checked, perform, say, step
from simulator.rig.docker_engine import DockerEngine
from simulator.rig.engine import find_or_start_engine
from simulator.rig.image import WEB_TEXT, build_image, remove_image
from simulator.rig.loopback_server import free_port
from simulator.rig.processes import Program, wait_until
from simulator.rig.redis_server import RedisServer


@click.command()
def main() -> None:
    """Run the main job once on this machine and show every step."""
    sys.exit(perform("demo", lambda stack, programs: _Demo(stack, programs).play()))


class _Demo:
    """The parts of one demo; the exit stack removes all of them in every case."""

    def __init__(self, stack: ExitStack, programs: list[Program]) -> None:
        self._stack = stack
        self._programs = programs
        self._mark = uuid.uuid4().hex[:8]
        self._image = f"cowpoke-demo-{self._mark}:latest"
        self._instance = sample.Instance(
            uuid=str(uuid.uuid4()), name=f"demo-{self._mark}", image=self._image
        )

    def play(self) -> None:
        engine = step("Finding a Docker Engine", self._engine)
        client = engine.client()
        self._stack.callback(client.close)
        step("Building the demo's small image", lambda: self._build(client))
        cattle, narrator = step(
            "Starting Redis, cattle, bridge, worker", lambda: self._start(engine)
        )
        port = step("cattle asks for a container", lambda: self._ask(cattle))
        step("The container runs and answers", lambda: self._look(client, port))
        step("cattle stops and removes it", lambda: self._remove(cattle))
        narrator.stop()
        step("Nothing is left of it", lambda: self._gone(client))

    def _engine(self) -> DockerEngine:
        engine = self._stack.enter_context(find_or_start_engine())
        whose = "private, ends with the demo" if engine.private else "yours"
        say("docker", f"{engine.host} ({whose})")
        return engine

    def _build(self, client: docker.APIClient) -> None:
        build_image(client, self._image)
        self._stack.callback(remove_image, client, self._image)
        say("docker", f"image {self._image}")

    def _start(self, engine: DockerEngine) -> tuple[Cattle, Narrator]:
        redis_server = self._stack.enter_context(RedisServer())
        say("redis", f"port {redis_server.port}")
        state = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="cowpoke-demo-")))
        secret = secrets.token_urlsafe(16)
        agents = [{"access_key": "demo-agent", "secret_key": secret, "kind": "agent"}]
        cattle_program = Program("simulator", environment={"SIMULATOR_AGENTS": json.dumps(agents)})
        self._stack.enter_context(cattle_program)
        self._programs.append(cattle_program)
        line = cattle_program.wait_for_line(r"^simulator: http", timeout_s=30)
        url = line.split(" ", 1)[1].strip()
        say("cattle", url)
        shared = {
            "REDIS_URL": redis_server.url,
            "QUEUE_KEY": Fernet.generate_key().decode(),
            "CATTLE_URL": url,
        }
        worker = Program(
            "worker",
            environment={
                **shared,
                **engine.environment,
                "CATTLE_HOME": str(state),
                "CATTLE_AGENT_IP": "127.0.0.1",
            },
        )
        bridge = Program(
            "bridge",
            environment={
                **shared,
                "CATTLE_ACCESS_KEY": "demo-agent",
                "CATTLE_SECRET_KEY": secret,
            },
        )
        for program in (worker, bridge):
            self._stack.enter_context(program)
            self._programs.append(program)
            say(program.module, f"process {program.pid}")
        bridge.wait_for_line(r"stream\.opened", timeout_s=30)
        narrator = Narrator({"bridge": bridge, "worker": worker})
        narrator.catch_up()
        narrator.start()
        cattle = Cattle(url)
        self._stack.callback(cattle.close)
        return cattle, narrator

    def _ask(self, cattle: Cattle) -> int:
        self._call(cattle, sample.image_activate(self._instance))
        self._call(cattle, sample.volume_activate(self._instance))
        for _ in range(5):
            port = free_port()
            activate = sample.instance_activate(
                self._instance, command=["/web.sh", "80"], ports={80: port}
            )
            call = ask(cattle, activate)
            # A busy machine may have given the free port away meanwhile, to another demo say.
            if call.state != "error" or "port is already allocated" not in (call.message or ""):
                break
        self._instance = sample.after(self._instance, checked(call).data)
        ports = self._instance.fields["dockerPorts"]
        say("cattle", f"container {str(self._instance.external_id)[:12]}, ports {ports}")
        return port

    def _look(self, client: docker.APIClient, port: int) -> None:
        found = client.containers(
            filters={"label": f"io.rancher.container.uuid={self._instance.uuid}"}
        )
        if len(found) != 1 or found[0]["State"] != "running":
            raise StepFailedError(f"wanted one running container, the Engine has {found}")
        say("docker", f"{found[0]['Names'][0]} is {found[0]['Status']}")

        def answer() -> str:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2) as page:
                    text: str = page.read().decode()
                    return text
            except OSError:
                return ""

        text = wait_until(answer, 10, f"an answer on port {port}")
        if text != WEB_TEXT:
            raise StepFailedError(f"wanted {WEB_TEXT!r} from port {port}, found {text!r}")
        say("you", f"GET http://127.0.0.1:{port}/ -> {text.strip()!r}")

    def _remove(self, cattle: Cattle) -> None:
        self._call(cattle, sample.instance_deactivate(self._instance))
        self._call(cattle, sample.volume_remove(self._instance))

    def _gone(self, client: docker.APIClient) -> None:
        label = f"io.rancher.container.uuid={self._instance.uuid}"
        left = client.containers(all=True, filters={"label": label})
        if left:
            raise StepFailedError(f"wanted no container any more, the Engine has {left}")
        say("docker", "no container of that instance")

    @staticmethod
    def _call(cattle: Cattle, event: sample.SampleEvent) -> Call:
        return checked(ask(cattle, event))


if __name__ == "__main__":
    main()
