"""`cowpoke simulate`: let a simulated cattle server start and stop a container, as a person would.

The imports stand in the commands that need them: `cowpoke --help` loads this module.
"""

from __future__ import annotations

import sys
import time
import uuid
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from simulator.client import Call, Cattle
    from simulator.sample import Instance, SampleEvent

#: The server of `docker compose --profile demo up`, in its container and on the machine.
SERVER = "http://127.0.0.1:8080/v1"
#: An image that every registry has, where nobody gives another one.
IMAGE = "nginx:alpine"
#: What a web server needs of an image with Python: no image is pulled in the Compose stack.
SERVE = (
    "mkdir -p /tmp/www && echo 'Served by a container that cowpoke started.' >/tmp/www/index.html"
    " && exec python3 -m http.server --directory /tmp/www {port}"
)
#: A bridge connects, and finds the host of its agent, within seconds.
LISTENS_WITHIN_S = 60.0
_POLL_S = 0.5
#: Below the ports that a machine gives away by itself.
_PORTS = range(30_000, 32_000)
_PORT_TRIES = 5
_IDS = 1_000_000
_IDS_FROM = 10_000

_server = click.option(
    "--server", default=SERVER, show_default=True, metavar="URL", help="The simulated server."
)
_host = click.option(
    "--host",
    metavar="HOST",
    help="On this host: its uuid, the beginning of it, or the name of the machine. Default: the "
    "only one that has an agent.",
)


@click.group(short_help="Start and stop containers by a simulated cattle server.")
def simulate() -> None:
    """Send the events of a container from a simulated cattle server, as Rancher would.

    The server is that of `docker compose --profile demo up`, or `python -m simulator`.
    """


@simulate.command()
@click.argument("name")
@click.option(
    "--image",
    help="Its image; it runs its own program. Default: the image of the Compose stack with a web "
    f"server of Python, elsewhere {IMAGE}.",
)
@click.option("--stack-image", envvar="SIMULATOR_SAMPLE_IMAGE", hidden=True)
@click.option("--port", default=80, show_default=True, help="The port it listens on.")
@click.option("--publish", type=int, help="Port of the host. Default: a free one.")
@_host
@_server
def start(  # noqa: PLR0913, PLR0917 -- click passes the options
    name: str,
    image: str | None,
    stack_image: str | None,
    port: int,
    publish: int | None,
    host: str | None,
    server: str,
) -> None:
    """Let cattle start a container: `cowpoke simulate start nginx-like`.

    Prints the events with their replies, and where the container answers. NAME is the name of the
    instance; the same name is the same container.
    """
    from simulator import sample  # noqa: PLC0415

    command: Sequence[str] | None = None
    if image is None and stack_image:
        image, command = stack_image, ["sh", "-c", SERVE.format(port=port)]
    instance = _instance(name, image or IMAGE)
    with _cattle(server, "start") as cattle:
        _wait_for_bridge(cattle)
        agent = _agent(cattle, host, "start")
        for event in (sample.image_activate(instance), sample.volume_activate(instance)):
            _send(cattle, event, agent, "start")
        for public in [publish] if publish is not None else _ports(instance):
            event = sample.instance_activate(instance, command=command, ports={port: public})
            call = _ask(cattle, event, agent)
            # Another program of the host may have a port that nobody asked for.
            if "port is already allocated" not in (call.message or ""):
                break
        _check(call, event, "start")
    started = sample.after(instance, call.data)
    click.echo(f"container {str(started.external_id)[:12]} runs {instance.image}")
    for published in started.fields.get("dockerPorts") or ():
        # `0.0.0.0:30123:80/tcp`
        click.echo(f"published on the host: {published}")


@simulate.command()
@click.argument("name")
@_host
@_server
def stop(name: str, host: str | None, server: str) -> None:
    """Let cattle stop and remove the container that `start` made."""
    from simulator import sample  # noqa: PLC0415

    instance = _instance(name, IMAGE)
    with _cattle(server, "stop") as cattle:
        _wait_for_bridge(cattle)
        agent = _agent(cattle, host, "stop")
        for event in (sample.instance_deactivate(instance), sample.volume_remove(instance)):
            _send(cattle, event, agent, "stop")
    click.echo(f"{name} is stopped and removed")


def _instance(name: str, image: str) -> Instance:
    """Return the instance of a name; the same one each time."""
    from simulator.sample import Instance  # noqa: PLC0415

    number = _IDS_FROM + zlib.crc32(name.encode()) % _IDS
    identity = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.simulate.cowpoke"))
    return Instance(uuid=identity, name=name, image=image, id=number)


@contextmanager
def _cattle(server: str, command: str) -> Iterator[Cattle]:
    from simulator.client import Cattle, SimulatorError  # noqa: PLC0415

    try:
        cattle = Cattle(server)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    try:
        yield cattle
    except SimulatorError as error:
        sys.exit(f"cowpoke simulate {command}: {server} refuses: {error}")
    except OSError as error:
        sys.exit(
            f"cowpoke simulate {command}: no simulated server answers at {server} ({error}); start "
            "the demo: docker compose --profile demo up --build"
        )
    finally:
        cattle.close()


def _wait_for_bridge(cattle: Cattle) -> None:
    ends_s = time.monotonic() + LISTENS_WITHIN_S
    said = False
    while not sum(cattle.stats()["open_sockets"].values()):
        if not said:
            click.echo("waiting until a bridge has subscribed")
            said = True
        if time.monotonic() > ends_s:
            sys.exit("no bridge has subscribed: check the log of the bridge")
        time.sleep(_POLL_S)


def _ports(instance: Instance) -> Sequence[int]:
    """Return some ports of the host to try; the same ones each time for an instance."""
    return [_PORTS[(instance.id + number) % len(_PORTS)] for number in range(_PORT_TRIES)]


def _agent(cattle: Cattle, name: str | None, command: str) -> str | None:
    """Return the access key of the agent of a host; None for the only agent there is.

    Ends the command when the host is not the one that is meant, or several could be.
    """
    from cowpoke.cli.host_names import hosts_named  # noqa: PLC0415

    keys = {one["id"]: str(one["access_key"]) for one in cattle.agents() if one["kind"] == "agent"}
    if name is None and len(keys) <= 1:
        return None
    hosts = cattle.hosts()
    known = [(host, str(host["reportedUuid"]), str(host["hostname"])) for host in hosts]
    found = hosts if name is None else hosts_named(name, known)
    if len(found) == 1:
        return keys[found[0]["agentId"]]
    listed = ", ".join(f"{uuid} ({machine})" for _, uuid, machine in known) or "none"
    said = "several hosts could be meant" if found else f"no host has the uuid or the name {name!r}"
    sys.exit(f"cowpoke simulate {command}: {said}: give --host one of these: {listed}")


def _send(cattle: Cattle, event: SampleEvent, agent: str | None, command: str) -> None:
    _check(_ask(cattle, event, agent), event, command)


def _ask(cattle: Cattle, event: SampleEvent, agent: str | None) -> Call:
    call = cattle.call(
        event.name,
        event.data,
        resource_type=event.resource_type,
        resource_id=event.resource_id,
        as_process=True,
        agent=agent,
    )
    took = "" if call.elapsed_ms is None else f" in {call.elapsed_ms:.0f} ms"
    click.echo(f"{event.name}: {call.state}{took}")
    return call


def _check(call: Call, event: SampleEvent, command: str) -> None:
    if call.state != "success":
        sys.exit(f"cowpoke simulate {command}: {event.name}: {call.message or 'no reply came'}")
