"""The arguments of `cowpoke doctor`, `cowpoke log-level` and `cowpoke completion`.

Imports stand in the commands that need them: `cowpoke --help` loads this module.
"""

import sys

import click


@click.command("log-level", short_help="Change the log level of the programs that run here.")
@click.argument("level", type=click.Choice(["debug", "default"]))
@click.option("--pid", "pids", type=int, multiple=True, help="Only this program; repeatable.")
def log_level(level: str, pids: tuple[int, ...]) -> None:
    """Change the log level of bridges and workers while they run.

    `debug` logs debug messages too, `default` logs what the settings say. It lasts until the next
    change or the end of the program.

    It concerns the programs of this container, or of this machine outside of containers, and works
    by signals, which only root and the user of a program may send: `kill -USR1 PID` does the same
    as `debug`, `kill -USR2 PID` as `default`.
    """
    from cowpoke.log_level import AS_SET, DEBUG, running_programs, send  # noqa: PLC0415

    number = DEBUG if level == "debug" else AS_SET
    found = [one for one in running_programs() if not pids or one.pid in pids]
    if not found:
        sys.exit(
            "cowpoke log-level: no bridge or worker of this user runs here; run it where the "
            "program runs (in its container), as root or as the user of the program"
        )
    failed = False
    for one in found:
        if not one.listens:
            failed = True
            click.echo(f"{one.kind} {one.pid}: it is starting; try again", err=True)
            continue
        try:
            send(one.pid, number)
        except OSError as error:
            failed = True
            click.echo(f"{one.kind} {one.pid}: {error.strerror}", err=True)
        else:
            click.echo(f"{one.kind} {one.pid}: {level}")
    sys.exit(int(failed))


@click.command(short_help="Print the script that completes `cowpoke` in a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that completes subcommands and options of `cowpoke`.

    \b
    bash: cowpoke completion bash >/etc/bash_completion.d/cowpoke
    zsh:  cowpoke completion zsh >"${fpath[1]}/_cowpoke"
    fish: cowpoke completion fish >~/.config/fish/completions/cowpoke.fish
    """  # noqa: D301 -- click reads \b
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    from cowpoke.cli.main import COMPLETE_VARIABLE, main  # noqa: PLC0415
    from cowpoke.distribution import NAME  # noqa: PLC0415

    found = get_completion_class(shell)
    assert found is not None
    maker = found(main, {}, NAME, COMPLETE_VARIABLE)
    # Not `source()`, which starts the shell to look at its version.
    click.echo(maker.source_template % maker.source_vars())
