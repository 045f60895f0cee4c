"""docs/development.md describes the source tree as it is."""

import re
import tomllib

from tests.readme_table import PROJECT

PAGE = PROJECT / "docs" / "development.md"
_BEGIN, _END = "<!-- tree:", "<!-- /tree -->"


def _text() -> str:
    return PAGE.read_text(encoding="utf-8")


def _listed() -> set[str]:
    """Return the folders in the first column of the tree table."""
    table = _text().partition(_BEGIN)[2].partition(_END)[0]
    return set(re.findall(r"(?m)^\| `([\w/]+)/` ", table))


def _packages() -> set[str]:
    """Return every Python package of product code; the roots are those of the import linter."""
    config = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    roots = config["tool"]["importlinter"]["root_packages"]
    return {
        str(path.parent.relative_to(PROJECT))
        for root in roots
        for path in (PROJECT / root).rglob("__init__.py")
    }


def test_every_package_is_in_the_tree_table():
    """A new package of product code needs a row, so that a newcomer finds it."""
    packages = _packages()
    assert len(packages) > 10
    assert packages - _listed() == set()


def test_every_listed_folder_exists():
    """A renamed or removed folder must leave the table."""
    missing = {folder for folder in _listed() if not (PROJECT / folder).is_dir()}
    assert missing == set()


def test_every_named_path_of_the_code_exists():
    """The tables name files and folders that exist, those of the shared package too."""
    pattern = r"`((?:cowpoke|bridge|worker|simulator|tests|docs|scripts)/[\w./]*|celeryconfig\.py)`"
    paths = set(re.findall(pattern, _text()))
    assert len(paths) > 40
    missing = {path for path in paths if not (PROJECT / path).exists()}
    assert missing == set()


def test_every_kind_of_change_has_a_row():
    """The table answers where the usual additions go."""
    table = _text().partition("### Where does a new … go?")[2].partition("###")[0]
    kinds = set(re.findall(r"(?m)^\| ([\w ]+?) \| `?", table))
    wanted = {"event", "operation of an event", "container field", "Redis key"}
    wanted |= {"metric", "setting", "log event", "CLI command"}
    assert wanted - kinds == set()
