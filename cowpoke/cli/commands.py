"""The arguments of the subcommands that belong to no program.

Imports stand in the commands that need them: `cowpoke --help` loads this module.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cowpoke.cli.output import json_option, print_json

if TYPE_CHECKING:
    from cowpoke.acl import Rules


@click.group(invoke_without_command=True, short_help="Make, show and rotate keys.")
@click.pass_context
def key(context: click.Context) -> None:
    """Print a new key for QUEUE_KEY, or what is made of the one there is."""
    from cowpoke.seal import new_key  # noqa: PLC0415

    if context.invoked_subcommand is None:
        click.echo(new_key())


@key.command("host")
@click.argument("host_uuid", metavar="UUID")
def key_host(host_uuid: str) -> None:
    """Print the HOST_KEY of a host, derived from QUEUE_KEY.

    Of several keys in QUEUE_KEY, it has one for each, in their order.
    """
    from cowpoke.keys import is_host_uuid  # noqa: PLC0415
    from cowpoke.seal import host_key  # noqa: PLC0415

    if not is_host_uuid(host_uuid):
        raise click.BadParameter("not a host uuid: letters, digits and . _ - only")
    click.echo(",".join(host_key(one, host_uuid) for one in _cluster_keys("cowpoke key host")))


@key.command("fingerprints")
@click.argument("host_uuids", metavar="[UUID]...", nargs=-1)
@json_option
def key_fingerprints(host_uuids: tuple[str, ...], *, as_json: bool) -> None:
    """Print the fingerprints of QUEUE_KEY and of the host keys, as logs and metrics show them.

    The line `bridge` is what bridges show for QUEUE_KEY. A line `host` is what the workers of that
    host show, with HOST_KEY or with QUEUE_KEY. The key that seals comes first.
    """
    from cowpoke.key_usage import fingerprints_text  # noqa: PLC0415
    from cowpoke.seal import ClusterKeyring  # noqa: PLC0415

    keyring = ClusterKeyring(*_cluster_keys("cowpoke key fingerprints"))
    if as_json:
        hosts = {one: keyring.host(one).fingerprints for one in host_uuids}
        print_json({"bridge": keyring.fingerprints, "hosts": hosts})
    else:
        click.echo(fingerprints_text(keyring, host_uuids))


@key.command("usage")
@json_option
def key_usage(*, as_json: bool) -> None:
    """Show which keys of QUEUE_KEY are in use: whether a round of a key rotation is complete.

    The exit code is 0 if all live programs have these keys and only the first one is in use.
    """
    from cowpoke.cli.redis_session import redis_session  # noqa: PLC0415
    from cowpoke.key_usage import key_usage, usage_json, usage_text  # noqa: PLC0415

    _cluster_keys("cowpoke key usage")
    with redis_session("cowpoke key usage") as (client, settings):
        found = key_usage(client, settings.cluster_keyring())
    if as_json:
        print_json(usage_json(found))
    else:
        click.echo(usage_text(found))
    sys.exit(0 if found.is_round_complete else 1)


@key.command("reseal")
def key_reseal() -> None:
    """Seal what waits in Redis again, with the first key of QUEUE_KEY.

    Bridges do this when they start. It changes open events, kept answers, the remembered hosts of
    agents and the keys of joined hosts, if another key of QUEUE_KEY opens them.
    """
    from cowpoke.cli.redis_session import redis_session  # noqa: PLC0415
    from cowpoke.ledger.resealing import Resealing  # noqa: PLC0415

    _cluster_keys("cowpoke key reseal")
    with redis_session("cowpoke key reseal") as (client, settings):
        counts = Resealing(client, settings.cluster_keyring()).everything()
    click.echo(
        f"resealed: texts of events {counts['texts']}, hosts {counts['remembered_hosts']}, "
        f"joined hosts {counts['joined_hosts']}"
    )


def _cluster_keys(command: str) -> tuple[str, ...]:
    from cowpoke.environment import read_or_exit  # noqa: PLC0415
    from cowpoke.seal import key_list  # noqa: PLC0415
    from cowpoke.settings import BrokerSettings  # noqa: PLC0415

    queue_key = read_or_exit(BrokerSettings, command).queue_key
    if queue_key is None:
        sys.exit(f"{command}: QUEUE_KEY is not set; make a key with: cowpoke key")
    return key_list(queue_key.get_secret_value())


@click.group(short_help="Print Redis ACL rules.")
def acl() -> None:
    """Print Redis ACL rules: a line for the server's ACL file.

    Without a password file the line has no password, and the user cannot log in with it.
    """


def _version(_: click.Context, __: click.Parameter, text: str) -> tuple[int, int]:
    try:
        major, minor = (int(part) for part in text.split(".")[:2])
    except ValueError:
        raise click.BadParameter("must be two numbers, such as 7.2") from None
    return major, minor


redis_version = click.option(
    "--redis-version",
    "redis",
    default="7.0",
    metavar="MAJOR.MINOR",
    callback=_version,
    show_default=True,
    help="The server's version: Redis refuses rules that it does not know.",
)
_database = click.option(
    "--database", default=0, show_default=True, help="The number of the database in REDIS_URL."
)


def _rule_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--user", metavar="NAME", help="The user's name, if another one is wanted."),
        click.option(
            "--password-file",
            type=click.File(encoding="utf-8"),
            help="A file with the password, - is standard input; the line has its SHA-256.",
        ),
        redis_version,
    ):
        command = option(command)
    return command


@acl.command("bridge")
@_rule_options
def acl_bridge(**options: Any) -> None:  # noqa: ANN401 -- click passes the options
    """Print the rules for bridges, and for `cowpoke status` and other commands of operators."""
    from cowpoke.acl import bridge_rules  # noqa: PLC0415

    _print_rules(bridge_rules, **options)


@acl.command("host")
@click.argument("host_uuid", metavar="UUID")
@_database
@_rule_options
def acl_host(host_uuid: str, **options: Any) -> None:  # noqa: ANN401
    """Print the rules for the workers of one host."""
    from cowpoke.acl import host_rules  # noqa: PLC0415

    _print_rules(host_rules, host_uuid, **options)


@acl.command("flower")
@_database
@_rule_options
def acl_flower(**options: Any) -> None:  # noqa: ANN401
    """Print the rules for Flower and `celery inspect`."""
    from cowpoke.acl import flower_rules  # noqa: PLC0415

    _print_rules(flower_rules, **options)


def _print_rules(
    make: Callable[..., "Rules"],
    *arguments: str,
    user: str | None,
    password_file: Any,  # noqa: ANN401 -- an open file
    **options: Any,  # noqa: ANN401
) -> None:
    password = None if password_file is None else password_file.read().rstrip("\r\n")
    if password == "":
        raise click.BadParameter("the password file is empty")
    try:
        rules = make(*arguments, **options, **({} if user is None else {"user": user}))
        click.echo(rules.line(password=password))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(short_help="Make the keys and Redis users of a machine.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--host",
    "host_uuid",
    metavar="UUID",
    help="This machine's uuid, if it is a host.",
)
@click.option("--redis", "address", required=True, metavar="HOST:PORT", help="Where Redis is.")
@_database
@redis_version
def credentials(
    folder: Path, host_uuid: str | None, address: str, database: int, redis: tuple[int, int]
) -> None:
    """Make the keys, the logins and the Redis ACL file of an installation on one machine.

    Writes one file per setting into FOLDER/bridge, FOLDER/worker and FOLDER/flower, and the ACL
    file into FOLDER/redis. Without --host there is no FOLDER/worker: the machine is a hub alone,
    and `cowpoke hosts add` adds its hosts. What exists is kept. A QUEUE_KEY in the environment is
    used instead of the one in the folder. A running Redis reads a changed ACL file at once.
    """
    from cowpoke.cli.credentials import (  # noqa: PLC0415
        Installation,
        RedisRefusedError,
        write_credentials,
    )
    from cowpoke.environment import read_or_exit  # noqa: PLC0415
    from cowpoke.settings import BrokerSettings  # noqa: PLC0415

    configured = read_or_exit(BrokerSettings, "cowpoke credentials").queue_key
    installation = Installation(
        folder=folder,
        host_uuid=host_uuid,
        address=address,
        database=database,
        redis=redis,
        queue_key=configured.get_secret_value() if configured else None,
    )
    try:
        written = write_credentials(installation)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    except OSError as error:
        sys.exit(f"cowpoke credentials: cannot write {error.filename or folder}: {error.strerror}")
    except RedisRefusedError as error:
        sys.exit(f"cowpoke credentials: Redis refuses the ACL file, check --redis-version: {error}")
    for path in written:
        click.echo(f"written: {path}")
