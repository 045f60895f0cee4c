"""README says what the code does."""

import re
from pathlib import Path

from tests.readme_table import README, VARIABLES, variables, with_table

PROJECT = README.parent


def test_the_table_of_settings_is_the_codes():
    """Every variable stands in README with its default and meaning."""
    text = README.read_text(encoding="utf-8")
    assert with_table(text) == text, "run: python -m tests.readme_table"


def test_the_list_of_variables_is_the_codes():
    """Programs compare what is set with it, to find misspelt variables."""
    assert VARIABLES.read_text(encoding="ascii") == variables(), "run: python -m tests.readme_table"


def test_every_file_that_readme_names_exists():
    """A path in README's tables leads somewhere."""
    text = README.read_text(encoding="utf-8")
    paths = re.findall(r"`((?:worker|bridge|simulator|tests|docs)/[\w./]*)`", text)
    paths += re.findall(r"\]\(([\w./]+)\)", text)
    assert len(paths) > 10
    missing = [path for path in paths if not (PROJECT / Path(path)).exists()]
    assert missing == []
