"""The arguments of `cowpoke status`, `cowpoke workers` and `cowpoke dead-letters`.

Imports stand in the commands that need them: `cowpoke --help` loads this module.
"""

import sys

import click

from cowpoke.cli.output import confirm, json_option, print_json, yes_option


@click.command(short_help="Show the state of an installation, and what is wrong.")
@json_option
def status(*, as_json: bool) -> None:
    """Show bridges, websockets, hosts, queues and problems of one Redis on one screen.

    It changes nothing. The exit code is 1 when something needs a person. QUEUE_KEY is needed to
    read what bridges and workers report.
    """
    from cowpoke.cli.redis_session import redis_session  # noqa: PLC0415
    from cowpoke.cli.status import print_status  # noqa: PLC0415
    from cowpoke.overview import Problem, read_overview  # noqa: PLC0415

    def print_failure(found: Problem) -> None:
        if as_json:
            print_json({"needs_person": True, "problems": [found]})

    with redis_session("cowpoke status", on_failure=print_failure) as (client, settings):
        found = read_overview(client, settings.cluster_keyring())
    if as_json:
        print_json({"needs_person": found.needs_person, **_fields(found)})
    else:
        print_status(found)
    sys.exit(1 if found.needs_person else 0)


def _fields(view: object) -> dict[str, object]:
    names = ("problems", "redis", "bridges", "hosts")
    return {name: getattr(view, name) for name in names}


@click.command(short_help="List the live workers of all hosts.")
@json_option
def workers(*, as_json: bool) -> None:
    """List the live workers of all hosts, with their lanes and their calls to the Docker Engine."""
    from cowpoke.cli.redis_session import redis_session  # noqa: PLC0415
    from cowpoke.cli.workers import print_workers, workers_json  # noqa: PLC0415
    from cowpoke.overview import read_overview  # noqa: PLC0415

    with redis_session("cowpoke workers") as (client, settings):
        found = read_overview(client, settings.cluster_keyring())
    if as_json:
        print_json(workers_json(found))
    else:
        print_workers(found)


@click.group("dead-letters", invoke_without_command=True, short_help="Show what nobody could read.")
@click.pass_context
def dead_letters(context: click.Context) -> None:
    """Show and remove messages and outcomes that could not be read and were put aside."""
    if context.invoked_subcommand is None:
        context.invoke(letters_list)


@dead_letters.command("list")
@click.argument("host_uuid", metavar="[HOST]", required=False)
@json_option
def letters_list(*, host_uuid: str | None = None, as_json: bool = False) -> None:
    """List dead letters, the newest first (the default).

    Without a host: those of the bridges and of all hosts.
    """
    from cowpoke.cli.dead_letters import print_letters, read_dead_letters  # noqa: PLC0415
    from cowpoke.cli.redis_session import redis_session  # noqa: PLC0415

    with redis_session("cowpoke dead-letters") as (client, _):
        found = read_dead_letters(client, host_uuid)
    if as_json:
        print_json([letter.as_json() for letter in found])
    else:
        print_letters(found)


@dead_letters.command("show")
@click.argument("letter_id", metavar="ID")
@json_option
def letters_show(*, letter_id: str, as_json: bool) -> None:
    """Show all of one dead letter; `list` shows the ids."""
    from cowpoke.cli.dead_letters import (  # noqa: PLC0415
        find_letter,
        print_letter,
        read_dead_letters,
    )
    from cowpoke.cli.redis_session import redis_session  # noqa: PLC0415

    command = "cowpoke dead-letters show"
    with redis_session(command) as (client, _):
        letter = find_letter(read_dead_letters(client, None), letter_id, command)
    if as_json:
        print_json(letter.as_json())
    else:
        print_letter(letter)


@dead_letters.command("drop")
@click.argument("letter_ids", metavar="[ID]...", nargs=-1)
@click.option("--host", "host_uuid", metavar="UUID", help="All of this host.")
@click.option("--all", "everything", is_flag=True, help="All of the bridges and of all hosts.")
@yes_option
def letters_drop(
    *, letter_ids: tuple[str, ...], host_uuid: str | None, everything: bool, yes: bool
) -> None:
    """Remove dead letters; asks before."""
    from cowpoke.cli.dead_letters import drop, find_letter, read_dead_letters  # noqa: PLC0415
    from cowpoke.cli.redis_session import redis_session  # noqa: PLC0415

    if bool(letter_ids) + bool(host_uuid) + everything != 1:
        raise click.UsageError("give the ids of letters, --host UUID or --all")
    command = "cowpoke dead-letters drop"
    with redis_session(command) as (client, _):
        found = read_dead_letters(client, host_uuid)
        if letter_ids:
            found = [find_letter(found, letter_id, command) for letter_id in letter_ids]
        if found:
            confirm(f"Remove {len(found)} dead letters?", yes=yes, command=command)
            drop(client, found)
    click.echo(f"{len(found)} dead letters removed")
