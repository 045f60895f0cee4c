"""Links between the documents lead to files and headings that exist."""

import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
PAGES = (*sorted(PROJECT.glob("*.md")), *sorted(DOCS.rglob("*.md")))


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def _links(page: Path) -> list[tuple[str, str]]:
    """Return path and anchor of each link that is no address."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", text)


def test_every_link_leads_somewhere():
    """A renamed file or heading must not leave a dead link."""
    dead, count = [], 0
    for page in PAGES:
        for path, anchor in _links(page):
            count += 1
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor not in _anchors(target)):
                dead.append(f"{page.name}: {path}#{anchor}")
    assert count > 100
    assert dead == []


def test_code_in_a_list_is_code_on_github_and_in_the_site():
    """`1.  text` and 8 spaces: with 7, which are enough on GitHub, the site shows a paragraph."""
    wrong = [
        f"{page.name}: {line}"
        for page in PAGES
        for line in re.sub(r"(?ms)^```.*?^```", "", page.read_text(encoding="utf-8")).split("\n")
        if re.match(r" {5,7}\S", line)
    ]
    assert wrong == []


def test_links_of_the_site_stay_in_it():
    """`make docs` makes a site of docs/ alone; other files are named as code."""
    pages = [page for page in PAGES if DOCS in page.parents and page.parent.name != "private_api"]
    outside = [
        f"{page.name}: {path}"
        for page in pages
        for path, _ in _links(page)
        if path and not (page.parent / path).resolve().is_relative_to(DOCS)
    ]
    assert outside == []
