"""Which test proves which behaviour: writes docs/parity.md with `python -m tests.parity`.

A test cites rows in its docstring, its name or its parameters' ids: `A 8.12`, `A 10.1 to 10.8`,
`A.18 WORKERS`, `A.19`, `B.6`, `B.6 cloud`, `C 11`, `W 3`. The rows are in `parity_rows.tsv`.
"""

import argparse
import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parent
ROWS = TESTS / "parity_rows.tsv"
PAGE = TESTS.parent / "docs" / "parity.md"
#: Its examples of citations prove nothing about the rows they name.
NO_WITNESS = "test_parity.py"

_AND = r"\s*(?:,\s*and|,|-|to|and)\s*"
_NUMBERED = re.compile(rf"\bA[ .](\d+\.\d+(?:{_AND}\d+\.\d+)*)")
_IN_A_NAME = re.compile(r"_A_?(\d+)_(\d+)(?=_|$)")
_VARIABLE = re.compile(r"\bA\.18 (\w+)")
_SECTION = re.compile(r"\b(A[ .]19|B[ .]\d+)\b(?!\.\d)")
#: Rows of their own within a section.
_PART = re.compile(r"\bB\.6 (register|hostKey|cloud)\b")
#: Rows with one number: what hurt users (C), what real servers, Engines and users showed (W).
_PLAIN = re.compile(rf"\b([CW]) (\d+(?:{_AND}(?:\1 )?\d+)*)\b(?!\.\d)")

_HEAD = """# Parity with the old agents

Each behavior of the old agents, and the tests that check it. `scripts/parity` writes this page
from the citations in the tests, and a test checks that it is current.

| section | source of the behavior |
|---|---|
| A | python-agent; A.18 lists its `CATTLE_*` variables |
| B | additions of the Go agent |
| C | problems that users of both agents reported |
| W | a real cattle 1.6 server, Docker Engines up to 29 and public bug reports |

A `must` row without a test fails the suite.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One behaviour."""

    number: str
    priority: str
    behaviour: str
    reason: str

    def state(self, tests: list[str]) -> str:
        """Whether it is held by a test."""
        if tests:
            return "covered"
        return f"skipped: {self.reason}" if self.priority == "skip" else "missing"


def rows() -> list[Row]:
    """Every behaviour, in order."""
    found = []
    for line in ROWS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            number, priority, behaviour, *reason = line.split("\t")
            found.append(
                Row(number=number, priority=priority, behaviour=behaviour, reason="".join(reason))
            )
    return found


def cited(text: str) -> set[str]:
    """The numbers of the rows that a text cites; ranges are spelt out."""
    words = " ".join(text.split())
    found = {f"A.18 {name.removeprefix('CATTLE_')}" for name in _VARIABLE.findall(words)}
    found |= {f"B.6 {name}" for name in _PART.findall(words)}
    words = _PART.sub("", words)
    found |= {section.replace(" ", ".") for section in _SECTION.findall(words)}
    found |= {f"A {major}.{minor}" for major, minor in _IN_A_NAME.findall(text)}
    for group in _NUMBERED.findall(words):
        found |= {f"A {number}" for number in _spelt_out(group, r"\d+\.\d+")}
    for section, group in _PLAIN.findall(words):
        found |= {f"{section} {number}" for number in _spelt_out(group, r"\d+")}
    return found


def _spelt_out(group: str, number: str) -> Iterator[str]:
    steps = re.split(rf"({number})", group)
    before = ""
    for link, found in zip(steps[::2], steps[1::2], strict=False):
        section, dot, last = found.rpartition(".")
        if before and re.search(r"-|\bto\b", link) and before.rpartition(".")[0] == section:
            first = int(before.rpartition(".")[2])
            yield from (f"{section}{dot}{between}" for between in range(first, int(last)))
        yield found
        before = found


@functools.cache
def citations() -> dict[str, list[str]]:
    """Row number -> the tests that cite it, as `file: test`."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        if path.name == NO_WITNESS:
            continue
        for name, text in _tests(path):
            for number in cited(text):
                found.setdefault(number, []).append(f"{path.relative_to(TESTS)}: {name}")
    return found


def _tests(path: Path) -> Iterator[tuple[str, str]]:
    """Each test of a file with all words in which it may cite."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    values = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_function and node.name.startswith("test_"):
            texts = [node.name, ast.get_docstring(node) or ""]
            for decorator in node.decorator_list:
                texts += _strings(decorator)
                for one in ast.walk(decorator):
                    if isinstance(one, ast.Name) and one.id in values:
                        texts += _strings(values[one.id])
            yield node.name, "\n".join(texts)


def _strings(node: ast.AST) -> list[str]:
    return [
        one.value
        for one in ast.walk(node)
        if isinstance(one, ast.Constant) and isinstance(one.value, str)
    ]


def page() -> str:
    """Return the text of docs/parity.md."""
    found = citations()
    parts = [_HEAD]
    section = ""
    for row in rows():
        if (now := _section(row.number)) != section:
            section = now
            parts.append(
                f"\n## {section}\n\n| row | behaviour | priority | state | tests |\n"
                "|---|---|---|---|---|\n"
            )
        tests = found.get(row.number, [])
        shown = "<br>".join(f"`{test}`" for test in tests)
        parts.append(
            f"| {row.number} | {row.behaviour.replace('|', '/')} | {row.priority} "
            f"| {row.state(tests)} | {shown} |\n"
        )
    return "".join(parts)


def _section(number: str) -> str:
    if number.startswith("A "):
        return f"A.{number[2:].partition('.')[0]}"
    return number.partition(" ")[0] if number.startswith("A") else number[0]


def missing(section: str = "A", priority: str = "must") -> list[str]:
    """The rows of a section that must have a test and have none."""
    found = citations()
    return [
        f"{row.number} ({row.behaviour})"
        for row in rows()
        if row.number.startswith(section) and row.priority == priority and row.number not in found
    ]


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    PAGE.write_text(page(), encoding="utf-8")
