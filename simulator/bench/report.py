"""Reports of the figures: tables for terminal and docs/performance.md, and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.bench.figures import Compared, Figures

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

DOCS = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
BEGIN = "<!-- figures: written by `python -m simulator.bench --write-docs` -->"
END = "<!-- end of figures -->"
MIB = 1024 * 1024

Row = Sequence[str]


def write_json(figures: DataclassInstance, path: Path) -> None:
    """Write all figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(figures), indent=2)
    path.write_text(f"{text}\n", encoding="utf-8")


def write_docs(figures: Figures, path: Path = DOCS) -> None:
    """Replace the figures between the marks in the document; keep the text around them.

    Errors: ValueError if the document has no marks.
    """
    replace_between(BEGIN, END, tables(figures), path)


def replace_between(begin_mark: str, end_mark: str, text: str, path: Path) -> None:
    """Replace the text between two marks in a document.

    Errors: ValueError if the document has no such marks.
    """
    document = path.read_text(encoding="utf-8")
    before, begin, rest = document.partition(begin_mark)
    _, end, after = rest.partition(end_mark)
    if not begin or not end:
        raise ValueError(f"no marks {begin_mark!r} and {end_mark!r} in {path}")
    path.write_text(f"{before}{begin}\n\n{text}\n{end}{after}", encoding="utf-8")


def tables(figures: Figures) -> str:
    """Return all tables as Markdown that is readable on a terminal too."""
    machine = ", ".join(f"{name} {value}" for name, value in figures.machine.items())
    parts = [f"Made on: {machine}.", "### Targets", _targets(figures)]
    parts += ["### Activate beside the floor", _activates(figures.activates)]
    parts += ["### Plain ping", _pings(figures), "### Where the time goes", _stages(figures)]
    parts += ["### Docker calls per operation", _calls(figures.calls)]
    parts += [f"### Memory, and CPU at rest over {figures.idle_s:g} s", _footprints(figures)]
    return "\n\n".join(parts) + "\n"


def _targets(figures: Figures) -> str:
    rows = [(wanted, found, "yes" if met else "**no**") for wanted, found, met in figures.targets()]
    return table(("wanted", "found", "met"), rows)


def _activates(compared: Sequence[Compared]) -> str:
    head = ("others", "at once", "floor p50", "floor p95", "system p50", "system p95", "ratio")
    rows = [
        (
            str(one.others),
            str(one.at_once),
            *(_ms(one.floor.p50_ms), _ms(one.floor.p95_ms)),
            *(_ms(one.system.p50_ms), _ms(one.system.p95_ms)),
            f"{one.ratio:.2f}",
        )
        for one in compared
    ]
    return table(head, rows)


def _pings(figures: Figures) -> str:
    found = figures.pings.round_trip
    row = (str(found.times), _ms(found.p50_ms), _ms(found.p95_ms))
    return table(("times", "p50", "p95"), [row])


def _stages(figures: Figures) -> str:
    shown = {"ping": figures.pings.stages_ms} | {
        f"activate, {one.others} others": one.stages_ms
        for one in figures.activates
        if one.stages_ms
    }
    head = ("event", *figures.pings.stages_ms)
    rows = [(name, *map(_ms, stages.values())) for name, stages in shown.items()]
    return table(head, rows)


def _calls(calls: Mapping[int, Mapping[str, Mapping[str, int]]]) -> str:
    levels = sorted(calls)
    head = ("operation", *(f"{others} others" for others in levels), "which")
    rows = [
        (
            operation,
            *(str(sum(calls[others][operation].values())) for others in levels),
            ", ".join(f"{times} x {kind}" for kind, times in kinds.items()) or "none",
        )
        for operation, kinds in calls[levels[-1]].items()
    ]
    return table(head, rows)


def _footprints(figures: Figures) -> str:
    rows = [
        (
            one.process,
            f"{one.rss_bytes / MIB:.1f} MiB",
            f"{one.pss_bytes / MIB:.1f} MiB",
            f"{one.cpu_percent:.2f} %",
        )
        for one in figures.footprints
    ]
    return table(("process", "RSS", "PSS", "CPU"), rows)


def _ms(value_ms: float) -> str:
    return f"{value_ms:.1f} ms" if value_ms < 100 else f"{value_ms:.0f} ms"  # noqa: PLR2004


def table(head: Row, rows: Sequence[Row]) -> str:
    """Return a Markdown table with columns of equal width."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [_line(head, widths), _line(["-" * width for width in widths], widths)]
    return "\n".join([*lines, *(_line(row, widths) for row in rows)])


def _line(row: Row, widths: Sequence[int]) -> str:
    return f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
