"""docs/reference/logs.md lists every event that the programs log, and nothing else."""

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "logs.md"
PROGRAMS = ("bridge", "cowpoke", "worker")
LEVELS = frozenset({"debug", "info", "warning", "error", "critical", "exception"})
SPELLING = re.compile(r"[a-z_]+\.[a-z_]+")
_ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| [^|]+ \| ([^|]*) \| [^|]* \|$", re.MULTILINE)

#: The levels and the keys of an event.
Facts = tuple[set[str], set[str]]


def listed() -> dict[str, Facts]:
    """The events of the page."""
    rows = _ROW.findall(PAGE.read_text(encoding="utf-8"))
    return {
        event: (set(levels.split(", ")), set(re.findall(r"`([^`]+)`", keys)))
        for event, levels, keys in rows
    }


@functools.cache
def logged() -> dict[str, Facts]:
    """The events of the source; `reply.*` stands for a name that is composed."""
    found: dict[str, Facts] = {}
    for program in PROGRAMS:
        for path in sorted((ROOT / program).rglob("*.py")):
            for event, levels, keys in _calls(ast.parse(path.read_text(encoding="utf-8"))):
                known_levels, known_keys = found.setdefault(event, (set(), set()))
                known_levels |= levels
                known_keys |= keys
    return found


def _calls(tree: ast.AST) -> Iterator[tuple[str, set[str], set[str]]]:
    chosen = dict(_chosen_levels(tree))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        levels = _levels(node.func, chosen)
        keys = {key.arg for key in node.keywords if key.arg} - {"exc_info", "extra"}
        for event in _names(node.args[0]) if levels else ():
            yield event, levels, keys


def _chosen_levels(tree: ast.AST) -> Iterator[tuple[str, set[str]]]:
    """Variables that hold a method of a logger: `level = _log.debug if ... else _log.info`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            levels = {one.attr for one in ast.walk(node.value) if _is_method(one)}
            if levels:
                yield node.targets[0].id, levels


def _levels(function: ast.expr, chosen: dict[str, set[str]]) -> set[str]:
    if isinstance(function, ast.Name):
        return chosen.get(function.id, set())
    if not _is_method(function):
        return set()
    return {"error" if function.attr == "exception" else function.attr}


def _is_method(node: ast.AST) -> bool:
    """A method of a logger: `_log.info`, `self._log.info`, `logger(__name__).info`."""
    if not isinstance(node, ast.Attribute) or node.attr not in LEVELS:
        return False
    owner = node.value.func if isinstance(node.value, ast.Call) else node.value
    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    return name in {"_log", "log", "logger"}


def _names(node: ast.expr) -> list[str]:
    match node:
        case ast.Constant(value=str(name)):
            return [name]
        case ast.IfExp():
            return [*_names(node.body), *_names(node.orelse)]
        case ast.JoinedStr():
            return ["".join(p.value if isinstance(p, ast.Constant) else "*" for p in node.values)]
    return []


def _rows_of(event: str, rows: Iterable[str]) -> list[str]:
    """The rows of an event; of a composed name those that no other event has."""
    others = logged() if "*" in event else {}
    return [row for row in rows if fnmatchcase(row, event) and row not in others]


def test_every_logged_event_is_listed():
    """A new event needs a row in docs/reference/logs.md."""
    rows = listed()
    assert [event for event in logged() if not _rows_of(event, rows)] == []


def test_every_listed_event_is_logged():
    """The row of an event that is logged no more is removed."""
    events = logged()
    assert [row for row in listed() if not any(_rows_of(event, [row]) for event in events)] == []


def test_rows_have_the_levels_and_keys_of_the_source():
    """The expected row is the second one of each pair."""
    rows, wrong = listed(), {}
    for event, facts in logged().items():
        wrong |= {row: (rows[row], facts) for row in _rows_of(event, rows) if rows[row] != facts}
    assert wrong == {}


def test_events_are_spelled_alike():
    """Lower case, one dot, underscores between words."""
    assert [event for event in listed() if not SPELLING.fullmatch(event)] == []


def test_rows_are_sorted_and_unique():
    """Rows are easy to find, and none is there twice."""
    names = [event for event, *_ in _ROW.findall(PAGE.read_text(encoding="utf-8"))]
    assert names == sorted(set(names))
