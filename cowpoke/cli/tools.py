"""The arguments of `cowpoke doctor`, `cowpoke log-level` and `cowpoke completion`.

Imports stand in the commands that need them: `cowpoke --help` loads this module.
"""

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cowpoke.doctor.finding import Finding

#: Lines of details that a table shows.
_MOST_DETAILS = 20


@click.command(short_help="Look at this installation, and say what to do.")
@click.option(
    "--part",
    "chosen",
    multiple=True,
    metavar="NAME",
    help="Only redis, bridge or worker; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(chosen: tuple[str, ...], *, as_json: bool) -> None:
    """Look at the installation from this machine, and say what to do about what is wrong.

    Checks Redis (version, settings, persistence), the clock, the keys of all programs, and
    misspelt variables. With the settings of a bridge also cattle and the keys of agents, with those
    of a worker the state folder, the Docker Engine and the lanes. It changes nothing, and prints no
    secret.

    The exit code is 1 if something needs a person.
    """
    from cowpoke import log  # noqa: PLC0415
    from cowpoke.cli.output import print_json, print_line  # noqa: PLC0415
    from cowpoke.doctor.examination import examine, parts  # noqa: PLC0415
    from cowpoke.doctor.finding import Level  # noqa: PLC0415
    from cowpoke.version import VERSION  # noqa: PLC0415

    unknown = set(chosen) - set(parts())
    if unknown:
        raise click.BadParameter(f"no part {', '.join(sorted(unknown))}; {', '.join(parts())}")
    # Warnings of libraries are no part of the answer.
    log.set_up(stream=sys.stderr)
    found = list(examine(chosen))
    problems = sum(one.level is Level.PROBLEM for one in found)
    if as_json:
        print_json({"version": VERSION, "problems": problems, "findings": found})
    else:
        _print_findings(found)
        counted = {0: "no problem found", 1: "1 problem found"}
        print_line(counted.get(problems, f"{problems} problems found"))
    sys.exit(1 if problems else 0)


def _print_findings(found: "list[Finding]") -> None:
    from cowpoke.cli.output import Cell, Tone, print_line, print_table  # noqa: PLC0415
    from cowpoke.doctor.finding import Level  # noqa: PLC0415

    tones = {
        Level.GOOD: Tone.GOOD,
        Level.NOTE: Tone.WARNING,
        Level.PROBLEM: Tone.BAD,
        Level.SKIPPED: Tone.FAINT,
    }
    rows = [
        (Cell(one.level.value, tones[one.level]), one.part, one.check, Cell(one.message))
        for one in found
    ]
    print_table(("", "part", "check", "found"), rows)
    for one in found:
        if one.advice or one.details:
            print_line()
            print_line(f"{one.part}, {one.check}: {one.message}", tones[one.level])
        for line in one.details[:_MOST_DETAILS]:
            print_line(f"  {line}")
        if len(one.details) > _MOST_DETAILS:
            print_line(f"  and {len(one.details) - _MOST_DETAILS} more, see --json")
        if one.advice:
            print_line(f"  do: {one.advice}")
    print_line()


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
