"""What subcommands print: tables on a terminal, plain text in a pipe, JSON for programs."""

import io
import json
import sys

import pytest

from cowpoke.cli import output
from cowpoke.cli.output import Cell, Tone, cell
from cowpoke.figures import Durations


class Terminal(io.StringIO):
    """Standard output that says it is a terminal."""

    def isatty(self):
        """Say so."""
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Make standard output a terminal of 60 columns, and return it; pytest resets it until then."""

    def begin():
        stream = Terminal()
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setenv("COLUMNS", "60")
        monkeypatch.setenv("TERM", "xterm-256color")
        return stream

    monkeypatch.delenv("NO_COLOR", raising=False)
    return begin


ROWS = [("h-1", Cell("unreachable", Tone.BAD)), ("h-20", "ok")]


def test_a_pipe_gets_aligned_plain_text(capsys):
    """Whole, whatever the width."""
    output.print_table(("host", "engine"), [*ROWS, ("h-3", "x" * 150)], title="hosts: 3")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["hosts: 3", "host  engine", "h-1   unreachable", "h-20  ok"]
    assert lines[4] == f"h-3   {'x' * 150}"


def test_a_terminal_gets_colors_and_its_width(terminal):
    """Long texts are folded, none is lost."""
    stream = terminal()
    output.print_table(("host", "engine"), [*ROWS, ("h-3", "x" * 150)])
    text = stream.getvalue()
    assert "\x1b[31munreachable" in text
    assert text.count("x") == 150
    assert max(map(len, text.splitlines())) < 100


def test_no_color_is_obeyed(terminal, monkeypatch):
    """As https://no-color.org has it."""
    monkeypatch.setenv("NO_COLOR", "1")
    stream = terminal()
    output.print_table(("host", "engine"), ROWS)
    assert "unreachable" in stream.getvalue()
    assert "\x1b[31m" not in stream.getvalue()


@pytest.mark.parametrize("text", ["\x1b[2J", "[red]no markup[/red]", ":warning:", "a\nb"])
def test_text_of_others_is_shown_as_it_is(terminal, text):
    """No cursor moves, no markup and no emoji."""
    stream = terminal()
    output.print_table(("text",), [(cell(text),)])
    shown = text.replace("\x1b", "\\x1b").replace("\n", "\\n")
    assert shown in stream.getvalue()


def test_json_is_ascii_with_dataclasses_as_objects(capsys):
    """At every depth."""
    output.print_json({"calls": {"list": Durations(count=1, buckets=(1,))}, "name": "\xe9"})
    text = capsys.readouterr().out
    assert text.isascii()
    assert json.loads(text) == {
        "calls": {"list": {"count": 1, "errors": 0, "seconds": 0.0, "buckets": [1]}},
        "name": "\xe9",
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (12, "12 s"), (-90, "-90 s"), (600, "10 min"), (9000, "2 h"), (3e5, "3 d")],
)
def test_spans_have_the_unit_that_people_use(seconds, text):
    """Rounded."""
    assert output.span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1536, "1.5 KiB"), (3 * 2**30, "3.0 GiB"), (2**50, "1024.0 TiB")],
)
def test_sizes_have_the_unit_that_people_use(count, text):
    """Rounded."""
    assert output.size(count) == text


def test_moments_that_no_calendar_has_are_marked():
    """Somebody else may have written them."""
    assert output.moment(1_000) == "1970-01-01T00:00:01Z"
    assert (output.moment(None), output.moment(2**60)) == ("-", "?")


@pytest.mark.parametrize(("answer", "is_done"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_what_destroys_asks(monkeypatch, capsys, answer, is_done):
    """Only a yes goes on."""
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    if is_done:
        output.confirm("Remove it?", yes=False, command="cowpoke x")
    else:
        with pytest.raises(SystemExit, match="nothing was changed"):
            output.confirm("Remove it?", yes=False, command="cowpoke x")
    assert "Remove it?" in capsys.readouterr().err


def test_without_a_terminal_yes_must_be_given(monkeypatch):
    """A script that forgot it must not wait for ever."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(SystemExit, match="give --yes"):
        output.confirm("Remove it?", yes=False, command="cowpoke x")
    output.confirm("Remove it?", yes=True, command="cowpoke x")
