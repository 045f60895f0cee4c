"""Every `cowpoke ...` in the documents is a command that exists, with options that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cowpoke.cli.main import main
from worker.join.drop_in import PASSED_ON
from worker.join.old_agent import KEPT_SETTINGS

PROJECT = Path(__file__).parents[2]
MIGRATE = PROJECT / "docs" / "migrate.md"
PAGES = (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")))
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
