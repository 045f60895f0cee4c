"""The sections of docs/runbook.md, as the tests and the reference tables read them."""

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "runbook.md"
#: A code is a heading of the third level.
_SECTION = re.compile(r"(?ms)^### (?P<code>[a-z][a-z-]*)\n\n(?P<body>.*?)(?=^##|\Z)")
_POINT = re.compile(r"(?ms)^- \*\*(?P<name>[^*:]+):\*\* (?P<text>.*?)(?=^- |\Z)")


@dataclass(frozen=True)
class Section:
    """What the runbook says about one code."""

    code: str
    #: The first paragraph in one line.
    meaning: str
    #: `Alert`, `Look at`, `Do` and their texts.
    points: dict[str, str]


def sections() -> list[Section]:
    """Return the sections of all codes, in the order of the page."""
    found = []
    for one in _SECTION.finditer(PAGE.read_text(encoding="utf-8")):
        meaning = one["body"].partition("\n\n")[0]
        points = {point["name"]: point["text"].strip() for point in _POINT.finditer(one["body"])}
        found.append(Section(one["code"], " ".join(meaning.split()), points))
    return found
