"""What a subcommand prints: tables for a terminal, plain text for pipes, JSON for programs.

- On a terminal: tables and colors by rich, cut to its width.
- Otherwise, or with NO_COLOR: the same text without colors; in a pipe nothing is cut.
- With `--json`: one JSON object, ASCII only.

Text that somebody else may have written goes through `cell` or `shown` first. Libraries are
imported when something is printed: `cowpoke --help` loads this module.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 24 * 3600
_KILO = 1024
#: Between the columns of plain text.
_GAP = "  "


class Tone(StrEnum):
    """How a cell is to be read; on a terminal its color."""

    PLAIN = ""
    GOOD = "green"
    WARNING = "yellow"
    BAD = "red"
    FAINT = "bright_black"
    STRONG = "bold"


@dataclass(frozen=True, slots=True)
class Cell:
    """One text of a table, printable."""

    text: str
    tone: Tone = Tone.PLAIN


def cell(value: object, tone: Tone = Tone.PLAIN, *, most: int = 200) -> Cell:
    """Return a value that somebody else may have written as a cell; `-` for nothing."""
    from cowpoke.cli.shown import shown  # noqa: PLC0415 -- it imports libraries

    text = "" if value is None else shown(value, most)
    return Cell(text or "-", tone if text else Tone.FAINT)


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Cell | str]], *, title: str = ""
) -> None:
    """Print a table; nothing without rows but its title."""
    if title:
        print_line(title, Tone.STRONG)
    if not rows:
        return
    cells = [[one if isinstance(one, Cell) else cell(one) for one in row] for row in rows]
    console = _console()
    if console is None:
        _print_plain(columns, cells)
        return
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*(Text(one.text, style=one.tone.value) for one in row))
    console.print(table)


def print_line(text: str = "", tone: Tone = Tone.PLAIN) -> None:
    """Print one line; `text` is printable, see `shown`."""
    console = _console()
    if console is None:
        click.echo(text)
        return
    from rich.text import Text  # noqa: PLC0415

    console.print(Text(text, style=tone.value))


def print_json(value: object) -> None:
    """Print a value as indented JSON; dataclasses become objects, also inside of others."""
    click.echo(json.dumps(plain(value), indent=2))


def print_json_line(value: object) -> None:
    """Print a value as one line of JSON, for streams."""
    click.echo(json.dumps(plain(value), separators=(",", ":")))


def plain(value: object) -> Any:  # noqa: ANN401 -- whatever JSON has
    """Return a value as JSON knows it."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    return value


def confirm(question: str, *, yes: bool, command: str) -> None:
    """Ask before something is destroyed; the command ends with 1 unless the answer is yes.

    Without a terminal nobody can answer, so `--yes` is needed there.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        click.echo(question, err=True)
        sys.exit(f"{command}: nothing was changed; there is no terminal to ask on, give --yes")
    if not click.confirm(question, err=True):
        sys.exit(f"{command}: nothing was changed")


def moment(at_ms: int | None) -> str:
    """Return a time in ms since 1970 as `2026-01-31T12:00:00Z`."""
    if at_ms is None:
        return "-"
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "?"


def span(seconds: float | None) -> str:
    """Return a duration for people: `0.4 s`, `12 s`, `3 min`, `5 h`, `2 d`."""
    if seconds is None:
        return "-"
    sign, seconds = ("-" if seconds < 0 else ""), abs(seconds)
    if seconds < 10:  # noqa: PLR2004 -- one digit more
        return f"{sign}{seconds:.1f} s"
    for limit_s, unit_s, name in (
        (2 * _MINUTE_S, 1, "s"),
        (2 * _HOUR_S, _MINUTE_S, "min"),
        (2 * _DAY_S, _HOUR_S, "h"),
    ):
        if seconds < limit_s:
            return f"{sign}{seconds / unit_s:.0f} {name}"
    return f"{sign}{seconds / _DAY_S:.0f} d"


def size(count_bytes: float) -> str:
    """Return a number of bytes for people: `512 B`, `3.4 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count_bytes < _KILO:
            return f"{count_bytes:.0f} B" if unit == "B" else f"{count_bytes:.1f} {unit}"
        count_bytes /= _KILO
    return f"{count_bytes:.1f} TiB"


def _print_plain(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    listed = [list(columns), *([one.text for one in row] for row in rows)]
    widths = [max(len(row[i]) for row in listed) for i in range(len(columns))]
    for row in listed:
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        click.echo(_GAP.join(cells).rstrip())


def _console() -> "Console | None":
    """Return the console of a terminal; None where output is no terminal."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console  # noqa: PLC0415

    # It reads NO_COLOR, TERM and COLUMNS itself.
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
