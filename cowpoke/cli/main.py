"""The group of all subcommands. Programs register theirs as entry points `cowpoke.commands`.

So nothing here imports bridge or worker, and a subcommand is imported only when it is used.
"""

from collections.abc import Mapping
from importlib.metadata import EntryPoint

import click

from cowpoke import distribution

#: The subcommands of this package, as entry points name them.
_SHARED = {
    "acl": "cowpoke.cli.commands:acl",
    "credentials": "cowpoke.cli.commands:credentials",
    "dead-letters": "cowpoke.cli.overview_commands:dead_letters",
    "hosts": "cowpoke.cli.host_commands:hosts",
    "key": "cowpoke.cli.commands:key",
    "status": "cowpoke.cli.overview_commands:status",
    "workers": "cowpoke.cli.overview_commands:workers",
}


class _Commands(click.Group):
    """A group whose commands are loaded by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Return the names of all commands."""
        return sorted(_points())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command of a name; None for an unknown one."""
        point = _points().get(cmd_name)
        if point is None:
            return None
        command: click.Command = point.load()
        return command


def _points() -> Mapping[str, EntryPoint]:
    shared = {
        name: EntryPoint(name, value, distribution.COMMANDS) for name, value in _SHARED.items()
    }
    return {**distribution.commands(), **shared}


@click.group(cls=_Commands)
@click.version_option(distribution.version(), prog_name=distribution.NAME)
def main() -> None:
    """Run Rancher 1.x host events as Celery tasks, and look after them."""
