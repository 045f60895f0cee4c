"""The arguments of `cowpoke hosts`: list, show, forget, add, remove.

Imports stand in the commands that need them: `cowpoke --help` loads this module.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cowpoke.cli.commands import redis_version
from cowpoke.cli.output import confirm, json_option, print_json, yes_option

if TYPE_CHECKING:
    from cowpoke.cli.hosts import Hub

_MODE = 0o600


@click.group(short_help="List, show, add, remove and forget hosts.")
def hosts() -> None:
    """List and show hosts; give them what they need to work for this hub, and take it away."""


@hosts.command("list")
@json_option
def hosts_list(*, as_json: bool) -> None:
    """List the hosts that this Redis knows."""
    from cowpoke.cli.hosts_table import print_hosts  # noqa: PLC0415
    from cowpoke.cli.redis_session import redis_session  # noqa: PLC0415
    from cowpoke.overview import read_overview  # noqa: PLC0415

    with redis_session("cowpoke hosts list") as (client, settings):
        found = read_overview(client, settings.cluster_keyring())
    if as_json:
        print_json(found.hosts)
    else:
        print_hosts(found)


@hosts.command("show")
@click.argument("name", metavar="HOST")
@json_option
def hosts_show(*, name: str, as_json: bool) -> None:
    """Show all of one host; HOST is its uuid, the beginning of it, or the name of the machine."""
    from cowpoke.cli.hosts_table import find_host, print_host  # noqa: PLC0415
    from cowpoke.cli.redis_session import redis_session  # noqa: PLC0415
    from cowpoke.overview import read_overview  # noqa: PLC0415

    with redis_session("cowpoke hosts show") as (client, settings):
        found = read_overview(client, settings.cluster_keyring())
    one = find_host(found, name, "cowpoke hosts show")
    if as_json:
        problems = [problem for problem in found.problems if problem.subject == one.host_uuid]
        print_json({"problems": problems, "host": one})
    else:
        print_host(found, one)


@hosts.command("forget")
@click.argument("host_uuid", metavar="UUID")
@click.option("--force", is_flag=True, help="Also a host whose workers live or with open events.")
@yes_option
def hosts_forget(*, host_uuid: str, force: bool, yes: bool) -> None:
    """Remove what a host that is gone left in Redis: events, queues, keys, notes; asks before.

    Bridges do so 30 days after the last worker. Refuses a host with live workers or open events. A
    host with a Redis user of its own keeps it: see `cowpoke hosts remove`.
    """
    from cowpoke.cli.hosts_table import find_host, forget, why_not_forgotten  # noqa: PLC0415
    from cowpoke.cli.redis_session import redis_session  # noqa: PLC0415
    from cowpoke.overview import read_overview  # noqa: PLC0415

    command = "cowpoke hosts forget"
    with redis_session(command) as (client, settings):
        found = read_overview(client, settings.cluster_keyring())
        one = find_host(found, host_uuid, command)
        reason = why_not_forgotten(one)
        if reason and not force:
            sys.exit(f"{command}: host {one.host_uuid} is in use: {reason}; stop its workers first")
        question = f"Remove all that Redis keeps of host {one.host_uuid}?"
        confirm(f"{reason}. {question}" if reason else question, yes=yes, command=command)
        forget(client, one)


def _hub_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "--credentials",
            type=click.Path(file_okay=False, exists=True, path_type=Path),
            help="A folder of `cowpoke credentials`. Default: REDIS_URL of an administrator, and "
            "QUEUE_KEY.",
        ),
        redis_version,
    ):
        command = option(command)
    return command


@hosts.command("add")
@_hub_options
@click.option("--host", "host_uuid", metavar="UUID", help="The host's uuid. Default: a new one.")
@click.option(
    "--redis",
    "redis_url",
    required=True,
    metavar="URL",
    help="Redis as the host reaches it, without a login: rediss://hub.example.org:6380/0.",
)
@click.option(
    "--redis-ca",
    type=click.File(encoding="ascii"),
    help="PEM file of the authority behind the certificate of Redis.",
)
@click.option(
    "--cattle-url",
    envvar="CATTLE_URL",
    metavar="URL",
    help="cattle's API, as the bridges have it in CATTLE_URL (the default).",
)
@click.option("--again", is_flag=True, help="Give a known host another password.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file for the bundle (mode 0600). Default: standard output.",
)
def host_add(
    credentials: Path | None,
    redis: tuple[int, int],
    output: Path | None,
    redis_ca: Any,  # noqa: ANN401 -- an open file
    **options: Any,  # noqa: ANN401 -- click passes the options
) -> None:
    """Make the Redis user of a host and print its bundle: one line with all that the host needs.

    The bundle is secret. Store it on the host with `cowpoke join --bundle FILE URL`, or give it to
    standard input: `cowpoke join --bundle - URL`.
    """
    from cowpoke.bundle import bundle_text  # noqa: PLC0415
    from cowpoke.cli.hosts import NewHost, add_host  # noqa: PLC0415
    from cowpoke.files import replace_file  # noqa: PLC0415

    with _errors("cowpoke hosts add"):
        hub = _hub(credentials, redis, "cowpoke hosts add")
        new = NewHost(redis_ca=redis_ca.read() if redis_ca else None, **options)
        bundle = add_host(hub, new, _say)
        text = bundle_text(bundle)
        _say(f"added host {bundle.host_uuid}")
        if output is None:
            click.echo(text)
        else:
            replace_file(output, f"{text}\n", _MODE)


@hosts.command("remove")
@_hub_options
@click.argument("host_uuid", metavar="UUID")
@yes_option
def host_remove(
    *, credentials: Path | None, redis: tuple[int, int], host_uuid: str, yes: bool
) -> None:
    """Remove the Redis user of a host, which cannot work for this hub any more; asks before.

    Run `cowpoke leave` on the host before, if it still lives. Its containers are not touched, and
    Rancher keeps the host until it is removed there.
    """
    from cowpoke.cli.hosts import remove_host  # noqa: PLC0415

    command = "cowpoke hosts remove"
    with _errors(command):
        hub = _hub(credentials, redis, command)
        question = f"Remove the Redis user of host {host_uuid}, and cut its workers off?"
        confirm(question, yes=yes, command=command)
        remove_host(hub, host_uuid, _say)
        _say(f"removed host {host_uuid}")


def _hub(folder: Path | None, version: tuple[int, int], command: str) -> "Hub":
    from cowpoke.cli.hosts import HostError, Hub, hub_of_folder  # noqa: PLC0415
    from cowpoke.environment import read_or_exit  # noqa: PLC0415
    from cowpoke.settings import BrokerSettings  # noqa: PLC0415

    if folder is not None:
        return hub_of_folder(folder, version=version)
    settings = read_or_exit(BrokerSettings, command)
    if settings.queue_key is None:
        raise HostError("QUEUE_KEY is not set: give it, or a folder with --credentials")
    return Hub(
        settings=settings,
        queue_key=settings.queue_key.get_secret_value(),
        redis=version,
    )


@contextmanager
def _errors(command: str) -> Iterator[None]:
    """End the command with a sentence for what went wrong."""
    import redis  # noqa: PLC0415

    from cowpoke.cli.hosts import HostError  # noqa: PLC0415
    from cowpoke.cli.shown import shown  # noqa: PLC0415

    try:
        yield
    except (HostError, ValueError) as error:
        sys.exit(f"{command}: {error}")
    except OSError as error:
        sys.exit(f"{command}: cannot write {error.filename}: {error.strerror}")
    except redis.exceptions.NoPermissionError as error:
        sys.exit(f"{command}: the Redis user of REDIS_URL may not administrate users: {error}")
    except redis.RedisError as error:
        sys.exit(f"{command}: Redis refused: {shown(error)}")


def _say(line: str) -> None:
    # Standard output is for the bundle.
    click.echo(line, err=True)
