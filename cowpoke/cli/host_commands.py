"""The arguments of `cowpoke host add` and `cowpoke host remove`.

Imports stand in the commands that need them: `cowpoke --help` loads this module.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cowpoke.cli.commands import redis_version

if TYPE_CHECKING:
    from cowpoke.cli.hosts import Hub

_MODE = 0o600


@click.group(short_help="Add hosts to this hub, and remove them.")
def host() -> None:
    """Give hosts what they need to work for the bridges of this hub, and take it away."""


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


@host.command("add")
@_hub_options
@click.option("--host", "host_uuid", metavar="UUID", help="The host's uuid. Default: a new one.")
@click.option(
    "--redis",
    "redis_url",
    required=True,
    metavar="URL",
    help="Redis as the host reaches it, without a login: rediss://hub.example.org:6379/0.",
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

    with _errors("cowpoke host add"):
        hub = _hub(credentials, redis, "cowpoke host add")
        new = NewHost(redis_ca=redis_ca.read() if redis_ca else None, **options)
        bundle = add_host(hub, new, _say)
        text = bundle_text(bundle)
        _say(f"added host {bundle.host_uuid}")
        if output is None:
            click.echo(text)
        else:
            replace_file(output, f"{text}\n", _MODE)


@host.command("remove")
@_hub_options
@click.argument("host_uuid", metavar="UUID")
def host_remove(credentials: Path | None, redis: tuple[int, int], host_uuid: str) -> None:
    """Remove the Redis user of a host; it cannot work for the bridges of this hub any more.

    Run `cowpoke leave` on the host before, if it still lives. Its containers are not touched, and
    Rancher keeps the host until it is removed there.
    """
    from cowpoke.cli.hosts import remove_host  # noqa: PLC0415

    with _errors("cowpoke host remove"):
        remove_host(_hub(credentials, redis, "cowpoke host remove"), host_uuid, _say)
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
