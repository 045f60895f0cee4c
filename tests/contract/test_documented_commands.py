"""Every `cowpoke ...` in the documents is a command that exists, with options that exist."""

import re
from collections.abc import Iterator

import click
import pytest

from cowpoke.cli.main import main
from tests.documented_commands import PAGES, PROJECT, commands
from worker.join.drop_in import PASSED_ON
from worker.join.old_agent import KEPT_SETTINGS

MIGRATE = PROJECT / "docs" / "migrate.md"
CLI = PROJECT / "docs" / "cli.md"
#: Not the image `cowpoke:latest`, nor names such as `cowpoke-agent`.
_CALL = re.compile(r"(?<![\w./:@*-])cowpoke (?=[a-z-])([^`|;&]*)")


def _code(text: str) -> Iterator[str]:
    """Yield the lines of code blocks and the spans of code, without comments."""
    text = text.replace("\\\n", " ")
    for line in re.findall(r"(?m)^ {4,}(?![-*] )(\S.*)$", text):
        yield line.partition(" #")[0]
    for fence in re.findall(r"(?ms)^```\w*\n(.*?)^```", text):
        yield from (line.partition(" #")[0] for line in fence.splitlines())
    yield from re.findall(r"`(cowpoke [^`\n]+)`", text)


def _calls(text: str) -> list[str]:
    return [call.strip() for line in _code(text) for call in _CALL.findall(line)]


def _problem(call: str) -> str | None:
    """Return what of a call does not exist."""
    words = [
        word for text in re.split(r"\s\d?[<>]", call)[0].split() if (word := text.strip("\"'$()"))
    ]
    command: click.Command = main
    context = click.Context(main)
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None:
            # `worker run` and `key` are commands with subcommands; anything else is a mistake.
            return f"no command {words[0]!r}"
        command, words = found, words[1:]
    known = {
        name for one in command.get_params(context) for name in (*one.opts, *one.secondary_opts)
    }
    wrong = [
        word for word in words if word.startswith("--") and word.partition("=")[0] not in known
    ]
    return f"no option {wrong[0]!r}" if wrong else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_documented_command_exists(page):
    """With its subcommands and long options."""
    calls = _calls(page.read_text(encoding="utf-8"))
    assert [(call, why) for call in calls if (why := _problem(call))] == []


def _rows_of(command: click.Command, path: str = "") -> Iterator[str]:
    """Yield the subcommands that a person may call; `bridge` and `worker` repeat others."""
    if not isinstance(command, click.Group) or path in {"bridge", "worker"}:
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        whole = f"{path} {name}".strip()
        yield whole
        yield from _rows_of(found, whole)


def test_every_subcommand_is_in_the_table_of_the_page_once():
    """docs/cli.md lists what `cowpoke` can do; a group may be one row."""
    table = CLI.read_text(encoding="utf-8").partition("| subcommand |")[2].partition("\n\n")[0]
    cells = re.findall(r"(?m)^\| (`.+?) \|", table)
    assert len(cells) == len(set(cells))
    names = [name for cell in cells for name in re.findall(r"`([a-z][a-z -]*[a-z])", cell)]
    text = table.replace("`", "")
    missing = [
        one for one in _rows_of(main) if one not in names and one.rpartition(" ")[2] not in text
    ]
    assert missing == []


def test_the_guide_to_migration_has_its_commands():
    """So that the test above reads them at all."""
    found = "\n".join(_calls(MIGRATE.read_text(encoding="utf-8")))
    for command in ("join --take-over", "leave --give-back", "hosts add", "hosts remove", "worker"):
        assert command in found
    assert _problem("join --take-back") == "no option '--take-back'"
    assert _problem("hosts bring") == "no command 'bring'"


def test_the_guide_to_migration_names_each_setting_that_carries_over():
    """What is read of the old agent, and what the command passes on."""
    settings = MIGRATE.read_text(encoding="utf-8").partition("\n## Settings\n")[2]
    assert {name for name in (*KEPT_SETTINGS, *PASSED_ON) if f"`{name}`" not in settings} == set()


def test_every_command_has_a_rule():
    """A new kind of command needs a line in tests/documented_commands.py."""
    found = commands()
    assert len(found) > 200
    assert [(one.page, one.text) for one in found if one.rule is None] == []


def test_every_test_that_is_named_exists():
    """It is the proof that a command works."""
    named = {one.rule.how for one in commands() if one.rule}
    paths = {how for how in named if how != "run" and not how.startswith("no: ")}
    assert len(paths) > 10
    assert {path for path in paths if not (PROJECT / path).is_file()} == set()


def test_commands_of_operators_are_run():
    """What an operator is told to type when something is wrong is not only looked at."""
    run = {one.inside for one in commands() if one.rule and one.rule.how == "run"}
    assert len(run) > 40
    for command in ("cowpoke status", "cowpoke events show ID", "cowpoke key usage"):
        assert command in run
