"""`make demo`: run the main job once on this machine and show every step.

The demo starts Redis, a simulated cattle server, the bridge and one worker. cattle sends the events
of a container in its own order. The container answers on its published port; then events stop and
remove it. Everything that was started is stopped. A failure names its step and sets the exit code.
"""

import json
import secrets
import signal
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import click
import docker
from cryptography.fernet import Fernet

from simulator import sample
from simulator.client import Call, Cattle
from simulator.rig.docker_engine import DockerEngine
from simulator.rig.engine import find_or_start_engine
from simulator.rig.errors import RigError
from simulator.rig.image import WEB_TEXT, build_image, remove_image
from simulator.rig.loopback_server import free_port
from simulator.rig.processes import Program, ProgramEndedError, wait_until
from simulator.rig.redis_server import RedisServer

#: What of the programs' log lines is shown, and how.
_SHOWN = {
    "event.accepted": "task queued       {event_name} ({resource})",
    "container.started": "container started {container_id}",
    "event.done": "task done         {event_name} in {duration_ms} ms",
    "reply.sent": "reply published   {outcome}",
}
T = TypeVar("T")


class StepFailedError(Exception):
    """A step of the demo failed; the message names the step and the reason."""


class Narrator(threading.Thread):
    """Prints the log lines of the programs between the lines of the demo."""

    def __init__(self, programs: Mapping[str, Program]) -> None:
        super().__init__(daemon=True)
        self._programs = programs
        self._seen = dict.fromkeys(programs, 0)
        self._over = threading.Event()

    def run(self) -> None:
        """Follow until stopped."""
        while not self._over.wait(0.05):
            self.catch_up()

    def catch_up(self) -> None:
        """Print new lines in order of time."""
        facts = [fact for name in self._programs for fact in self._fresh(name)]
        for _, name, line in sorted(facts):
            say(name, line)

    def _fresh(self, name: str) -> list[tuple[str, str, str]]:
        text = self._programs[name].output()
        fresh, self._seen[name] = text[self._seen[name] :], text.rfind("\n") + 1
        facts = []
        for line in fresh[: fresh.rfind("\n") + 1].splitlines():
            try:
                fact = json.loads(line)
            except ValueError:
                continue
            form = _SHOWN.get(fact.get("event", "")) if isinstance(fact, dict) else None
            if form is not None and fact.get("event_name") != "ping":
                facts.append((str(fact.get("timestamp")), name, form.format_map(fact)))
        return facts

    def stop(self) -> None:
        """Stop after the last line is printed."""
        self._over.set()
        self.join()
        self.catch_up()


def say(who: str, what: str) -> None:
    """Print one line."""
    click.echo(f"  {click.style(f'{who:>9}', fg='cyan')}  {what}")


def step(title: str, do: Callable[[], T]) -> T:
    """Run one step; a failure contains its name."""
    click.echo(click.style(title, bold=True))
    try:
        return do()
    except (StepFailedError, AssertionError, OSError, ProgramEndedError) as error:
        raise StepFailedError(f"{title}: {error}") from error


def main() -> int:
    """Run the demo and return the exit code."""
    # Ended like by Ctrl-C, so that everything is taken down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began_s = time.monotonic()
    try:
        with ExitStack() as stack:
            demo = _Demo(stack)
            try:
                demo.play()
            except StepFailedError as failed:
                raise StepFailedError(f"{failed}{demo.who_ended()}") from failed
    except RigError as missing:
        click.echo(f"demo: {missing}", err=True)
        return 1
    except StepFailedError as failed:
        click.echo(click.style(f"\ndemo FAILED at: {failed}", fg="red"), err=True)
        return 1
    except KeyboardInterrupt:
        click.echo("\ndemo: stopped, everything it started is gone", err=True)
        return 130
    seconds = time.monotonic() - began_s
    click.echo(click.style(f"demo passed in {seconds:.1f} s; all it started is gone", fg="green"))
    return 0


class _Demo:
    """The parts of one demo; the exit stack removes all of them in every case."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._programs: list[Program] = []
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

    def who_ended(self) -> str:
        """Return the programs that exited, with their last lines: most failures are theirs."""
        return "".join(
            f"\n  the {program.module} ended with code {program.returncode}; its last words:\n"
            + "\n".join(f"    {line}" for line in program.output().splitlines()[-3:])
            for program in self._programs
            if not program.running
        )

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
            call = _ask_once(cattle, activate)
            # A busy machine may have given the free port away meanwhile, to another demo say.
            if call.state != "error" or "port is already allocated" not in (call.message or ""):
                break
        self._instance = sample.after(self._instance, _checked(call).data)
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
        return _checked(_ask_once(cattle, event))


def _ask_once(cattle: Cattle, event: sample.SampleEvent) -> Call:
    say("cattle", f"event sent        {event.name}")
    call = cattle.call(
        event.name,
        event.data,
        resource_type=event.resource_type,
        resource_id=event.resource_id,
        as_process=True,
    )
    # The bridge's own lines about it come first: they are on their way through a pipe.
    time.sleep(0.12)
    elapsed = "" if call.elapsed_ms is None else f" in {call.elapsed_ms:.0f} ms"
    say("cattle", f"reply received    {event.name}: {call.state}{elapsed}")
    return call


def _checked(call: Call) -> Call:
    if call.state != "success":
        raise StepFailedError(f"the event ended in {call.state}: {call.message or 'no reply'}")
    return call


if __name__ == "__main__":
    sys.exit(main())
