"""README, the page of settings and the generated tables say what the code does."""

import re
from pathlib import Path

import pytest

from tests import reference_tables
from tests.readme_table import PAGE, PROJECT, VARIABLES, variables, with_table

README = PROJECT / "README.md"
#: A page of a usual screen has about 60 lines; tables of links are read at a glance.
MOST_LINES = 130


def test_the_table_of_settings_is_the_codes():
    """Every variable stands in docs/reference/settings.md with its default and meaning."""
    text = PAGE.read_text(encoding="utf-8")
    assert with_table(text) == text, "run: python -m tests.readme_table"


def test_the_list_of_variables_is_the_codes():
    """Programs compare what is set with it, to find misspelt variables."""
    assert VARIABLES.read_text(encoding="ascii") == variables(), "run: python -m tests.readme_table"


@pytest.mark.parametrize("page", reference_tables.TABLES)
def test_the_tables_of_events_and_error_codes_are_the_codes(page):
    """The meaning of a code is the first paragraph of its section in the runbook."""
    text = (reference_tables.FOLDER / page).read_text(encoding="utf-8")
    assert reference_tables.with_table(page) == text, "run: python -m tests.reference_tables"
    assert "|  |\n" not in reference_tables.TABLES[page]()


def test_every_file_that_readme_names_exists():
    """A path in README leads somewhere."""
    text = README.read_text(encoding="utf-8")
    paths = re.findall(r"`((?:worker|bridge|simulator|tests|docs|deploy)/[\w./]*)`", text)
    paths += re.findall(r"\]\(([\w./-]+)\)", text)
    assert len(paths) > 10
    missing = [path for path in paths if not (PROJECT / Path(path)).exists()]
    assert missing == []


def test_readme_is_one_page_with_the_commands_of_a_newcomer():
    """What grows belongs to docs/."""
    text = README.read_text(encoding="utf-8")
    assert text.count("\n") < MOST_LINES
    for command in ("make demo", "make demo-host", "make test", "docker build -t cowpoke:latest ."):
        assert f"    {command}" in text


def test_the_picture_of_the_demo_is_of_one_that_passed_and_loads_nothing():
    """`make pictures` makes it from the real output."""
    drawn = (PROJECT / "docs" / "pictures" / "demo.svg").read_text(encoding="utf-8")
    assert "demo&#160;passed" in drawn
    assert "url(http" not in drawn.replace('"', "")


def test_every_page_is_listed_in_readme_and_in_the_site():
    """A page that nobody finds is not read."""
    readme = README.read_text(encoding="utf-8")
    site = (PROJECT / "mkdocs.yml").read_text(encoding="utf-8")
    docs = PROJECT / "docs"
    pages = {str(page.relative_to(docs)) for page in docs.rglob("*.md")}
    pages -= {"private_api/README.md"}
    assert {page for page in pages - {"index.md"} if f"(docs/{page})" not in readme} == set()
    assert {page for page in pages if f": {page}\n" not in site} == set()
