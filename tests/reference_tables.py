"""Writes the tables of events and of error codes in docs/reference from the code.

Run `python -m tests.reference_tables` after a change.
"""

import argparse
import inspect
import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from cowpoke import offline
from cowpoke.routes import LANES
from tests.error_codes import error_codes
from tests.runbook import sections
from worker.operations import OPERATIONS

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
_BEGIN = (
    "<!-- table: written by `python -m tests.reference_tables`, held against the code by a test -->"
)
_END = "<!-- /table -->"
#: The rows of the behavior that an operation keeps, which are for readers of the source.
_CITATION = re.compile(r" \([A-Z] ?\d[^)]*\)")
_GROUPS = {
    "worker": "worker",
    "bridge": "bridge",
    "history": "history",
    "retry": "reason of a retry",
    "command": "command",
}


def events() -> str:
    """One row per event: lane, what a worker does, its end without a worker."""
    rows = ["| event | lane | a worker does | without a worker | cattle then |"]
    rows += ["|---|---|---|---|---|"]
    for name, lane in LANES.items():
        does = _CITATION.sub("", (inspect.getdoc(OPERATIONS[name]) or "").partition("\n")[0])
        ends = [row for row in _offline_rows() if _names(row[0], name)]
        end = "<br>".join(f"{one[1]}{_of(one[0])}" if len(ends) > 1 else one[1] for one in ends)
        then = "<br>".join(one[2] for one in ends)
        rows.append(f"| `{name}` | {lane} | {does.rstrip('.')} | {end} | {then} |")
    return "\n".join(rows)


def _offline_rows() -> list[tuple[str, str, str]]:
    """Return the table in the docstring of `cowpoke/offline.py`."""
    rows = re.findall(r"(?m)^\| (`.+?) \| (.+?) \| (.+?) \|$", offline.__doc__ or "")
    return [(str(events), str(end), str(then)) for events, end, then in rows]


def _names(cell: str, event: str) -> bool:
    """Whether a cell such as "`storage.*`" or "`a.deactivate`, `.remove`" names an event."""
    first, *others = re.findall(r"`([^`]+)`", cell)
    prefix = first.rpartition(".")[0]
    return any(fnmatchcase(event, one) for one in (first, *(prefix + other for other in others)))


def _of(cell: str) -> str:
    """Return what a cell says besides the name: " (first start)"."""
    said = cell.rpartition("`")[2].strip(", ")
    return f" ({said})" if said else ""


def codes() -> str:
    """One row per error code: meaning, who answers with it, whether it is tried again."""
    meanings = {one.code: one.meaning.removesuffix(" Tried again.") for one in sections()}
    rows = ["| code | from | tried again | meaning |", "|---|---|---|---|"]
    for group, said in _GROUPS.items():
        rows += [
            f"| [`{one.code}`](../runbook.md#{one.code}) | {said} | "
            f"{'yes' if one.is_retried else ''} | {meanings.get(one.code, '')} |"
            for one in error_codes()
            if one.group == group
        ]
    return "\n".join(rows)


#: Page and table.
TABLES: Mapping[str, Callable[[], str]] = {"events.md": events, "error-codes.md": codes}


def with_table(page: str) -> str:
    """Return the text of a page with the table as it should be."""
    head, _, rest = (FOLDER / page).read_text(encoding="utf-8").partition(_BEGIN)
    return f"{head}{_BEGIN}\n\n{TABLES[page]()}\n\n{_END}{rest.partition(_END)[2]}"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    for name in TABLES:
        (FOLDER / name).write_text(with_table(name), encoding="utf-8")
