"""Run the system until Ctrl-C, and take over each change of its sources: `make dev`."""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click
import watchfiles
from cryptography.fernet import Fernet

from cowpoke.routes import Lane
from simulator.dev.reloading import Reloadable
from simulator.dev.showing import Shower, say
from simulator.dev.sources import is_source, readers, watched
from simulator.narration import perform, step
from simulator.rig.engine import find_or_start_engine
from simulator.rig.image import build_image, remove_image
from simulator.rig.processes import PROJECT_DIR, Program
from simulator.rig.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Editors write a file in several steps; `git checkout` writes many.
_SETTLED_MS = 400
_LOOK_MS = 500
#: For `cowpoke status` and others in another terminal.
_ENVIRONMENT_FILE = PROJECT_DIR / "build" / "dev.env"
#: A reload must not wait long for an old program.
_DRAIN_S = "10"


@click.command()
@click.option("--without-engine", is_flag=True, help="Start no Docker Engine: no containers.")
def main(*, without_engine: bool) -> None:
    """Run the whole system on this machine; a change of its sources restarts bridge and worker.

    No event is lost by that: the new program is ready before the old one leaves. Ctrl-C ends it.
    """
    sys.exit(perform("dev", lambda stack, programs: _Dev(stack, programs).play(without_engine)))


class _Dev:
    """The parts of one run; the exit stack removes all of them in every case."""

    def __init__(self, stack: ExitStack, programs: list[Program]) -> None:
        self._stack = stack
        self._programs = programs
        self._shower = Shower()

    def play(self, without_engine: bool) -> None:  # noqa: FBT001 -- the option
        """Start everything, then reload until Ctrl-C."""
        engine = {"CATTLE_DOCKER_ENABLED": "false"}
        image = ""
        if not without_engine:
            engine, image = step("Finding a Docker Engine", self._engine)
        reloadables = step("Starting Redis, cattle, bridge, worker", lambda: self._start(engine))
        if image:
            say(
                "dev",
                f"a container: cowpoke simulate start web --image {image} --server {self._url}",
            )
        say("dev", "ready: change a source; Ctrl-C ends")
        for changed in self._changes(reloadables):
            chosen = [one for one in reloadables if one.module in changed]
            for one in chosen:
                one.begin()
            for one in chosen:
                one.reload()

    def _engine(self) -> tuple[dict[str, str], str]:
        engine = self._stack.enter_context(find_or_start_engine())
        whose = "private, ends with this run" if engine.private else "yours"
        say("docker", f"{engine.host} ({whose})")
        image = f"cowpoke-dev-{uuid.uuid4().hex[:8]}:latest"
        client = engine.client()
        self._stack.callback(client.close)
        build_image(client, image)
        self._stack.callback(remove_image, client, image)
        return engine.environment, image

    def _start(self, engine: dict[str, str]) -> list[Reloadable]:
        redis_server = self._stack.enter_context(RedisServer())
        state = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="cowpoke-dev-")))
        agent = {"access_key": "dev-agent", "secret_key": secrets.token_urlsafe(16)}
        cattle = Program("simulator", environment={"SIMULATOR_AGENTS": json.dumps([agent])})
        self._stack.enter_context(cattle)
        self._programs.append(cattle)
        self._url = cattle.wait_for_line(r"^simulator: http", 30).split(" ", 1)[1].strip()
        say("cattle", self._url)
        shared = {
            "REDIS_URL": redis_server.url,
            "QUEUE_KEY": Fernet.generate_key().decode(),
            "CATTLE_URL": self._url,
        }
        self._write_environment(shared)
        self._stack.callback(self._shower.stop)
        self._shower.start()
        worker = {
            **shared,
            **engine,
            "CATTLE_HOME": str(state),
            "CATTLE_AGENT_IP": "127.0.0.1",
            "WORKER_DRAIN_TIMEOUT_S": _DRAIN_S,
        }
        bridge = {
            **shared,
            "CATTLE_ACCESS_KEY": agent["access_key"],
            "CATTLE_SECRET_KEY": agent["secret_key"],
        }
        lanes = tuple(rf'"lane": "{lane}".*"lane\.ready"' for lane in Lane)
        # The worker first: a bridge opens no websocket for a host without one.
        reloadables = [
            Reloadable("worker", worker, lanes, self._shower),
            Reloadable("bridge", bridge, (r"stream\.opened",), self._shower),
        ]
        for one in reloadables:
            self._stack.callback(one.stop)
            one.start()
        return reloadables

    def _write_environment(self, shared: dict[str, str]) -> None:
        lines = "".join(f"{name}={value}\n" for name, value in shared.items())
        _ENVIRONMENT_FILE.parent.mkdir(exist_ok=True)
        _ENVIRONMENT_FILE.touch(mode=0o600)
        _ENVIRONMENT_FILE.write_text(lines, encoding="ascii")
        self._stack.callback(_ENVIRONMENT_FILE.unlink, missing_ok=True)
        path = _ENVIRONMENT_FILE.relative_to(PROJECT_DIR)
        say("dev", f"in another terminal: set -a; . {path}; .venv/bin/python -m cowpoke status")

    @staticmethod
    def _changes(reloadables: list[Reloadable]) -> Iterator[list[str]]:
        """Yield the programs to replace after each change; look after all of them meanwhile."""
        changes = watchfiles.watch(
            *watched(PROJECT_DIR),
            watch_filter=lambda _, path: is_source(path),
            debounce=_SETTLED_MS,
            rust_timeout=_LOOK_MS,
            yield_on_timeout=True,
        )
        for changed in changes:
            for one in reloadables:
                one.look()
            paths = sorted(path for _, path in changed)
            if not paths:
                continue
            names = [str(Path(path).relative_to(PROJECT_DIR)) for path in paths]
            say("dev", f"changed: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}")  # noqa: PLR2004
            found = readers(PROJECT_DIR, paths)
            if not found:
                say("dev", "the simulator does not reload: start make dev again for its changes")
            yield found


if __name__ == "__main__":
    main()
