"""docs/reliability.md cites tests that exist."""

import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def _citations() -> list[tuple[str, str]]:
    """Return (file, test) pairs; the test is empty where a whole file is cited.

    `::test_name` alone belongs to the file cited before it.
    """
    text = (PROJECT / "docs" / "reliability.md").read_text(encoding="utf-8")
    found: list[tuple[str, str]] = []
    for path, test in re.findall(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`", text):
        if path or test:
            found.append((path or found[-1][0], test))
    return found


def test_every_cited_test_exists():
    """A renamed test must not leave a guarantee without proof."""
    citations = _citations()
    assert len(citations) > 60
    missing = [
        f"{path}::{test}"
        for path, test in citations
        if not (PROJECT / path).is_file()
        or (test and f"def {test}(" not in (PROJECT / path).read_text(encoding="utf-8"))
    ]
    assert missing == []
