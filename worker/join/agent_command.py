"""`cowpoke agent`: the arguments of the image `rancher/agent`, for the entry of our image."""

import os
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

import click

from cowpoke import log
from cowpoke.cli.shown import shown
from worker.engine.client import Engine
from worker.errors import JoinError, WorkerError
from worker.join.command import command_settings
from worker.join.drop_in import DropIn, environment
from worker.join.long_lived import Places
from worker.join.old_agent import read_old_agent
from worker.join.running import Running

#: Where the old agent's command mounts the host's folder.
_STATE_DIR = "/var/lib/rancher/state"
_USAGE = (
    "wanted the url of Rancher's page for a new host, or `register` with RANCHER_URL, `run`, "
    "`upgrade`, `inspect-host`, `state` or `-- COMMAND`"
)


def run_agent(words: tuple[str, ...], *, wait_s: float, redis_port: int) -> int:
    """Do what the first word says; return the exit code."""
    variables = os.environ  # noqa: TID251 -- the defaults of the container
    variables.setdefault("CATTLE_STATE_DIR", _STATE_DIR)
    first = words[0] if words else ""
    try:
        match first:
            case _ if first.startswith(("http://", "https://")):
                _join(first, wait_s)
            case "register":
                _join(variables.get("RANCHER_URL", ""), wait_s)
            case "run":
                return _run(redis_port)
            case "upgrade":
                _drop_in().upgrade()
            case "inspect-host":
                click.echo("INFO: env CATTLE_BOOT2DOCKER=false")
                click.echo(f"INFO: env CATTLE_VAR_LIB_WRITABLE={str(_is_writable()).lower()}")
            case "state":
                click.echo("this container only holds volumes")
            case _:
                raise click.UsageError(_USAGE)
    except WorkerError as error:
        sys.exit(f"cowpoke agent: {shown(error.message, 2_000)}")
    return 0


def _join(url: str, wait_s: float) -> None:
    if not url:
        raise JoinError("RANCHER_URL is not set")
    _drop_in().run(url, wait_s=wait_s)


def _drop_in() -> DropIn:
    settings = command_settings("cowpoke agent")
    # The process ends with the command; a small leak of one connection is no loss.
    return DropIn(settings, Engine(settings), _places(), given=environment(), say=click.echo)


def _run(redis_port: int) -> int:
    log.set_up_program()
    # Until the programs run; process 1 of a container would ignore the signal otherwise.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    places = _places()
    running = Running(places, environment(), redis_port=redis_port, takes_over=_takes_over(places))
    return running.run()


def _takes_over(places: Places) -> bool:
    """Whether the old agent of this host still works, and this host is to continue as it."""
    if (places.state / ".joined").exists():
        return False
    settings = command_settings("cowpoke agent")
    engine = Engine(settings)
    try:
        return read_old_agent(engine).is_running
    except WorkerError:
        return False
    finally:
        engine.close()


def _places() -> Places:
    variables = os.environ  # noqa: TID251 -- as in run_agent
    socket = urlsplit(variables.get("DOCKER_HOST", "unix:///var/run/docker.sock")).path
    rancher = Path(variables["CATTLE_STATE_DIR"]).parent
    return Places(rancher=rancher, docker_socket=Path(socket))


def _is_writable() -> bool:
    return os.access(_places().rancher, os.W_OK)
