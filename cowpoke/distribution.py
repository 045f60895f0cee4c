"""What the distribution `cowpoke` says of itself: its version, and the commands of its programs.

`pyproject.toml` is the one source. A checkout reads the file itself, also when it is installed in
editable mode or beside another release; an installed package reads the metadata made from it.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

NAME = "cowpoke"
#: Command name -> where its click command is; see `cowpoke/cli/main.py`.
COMMANDS = f"{NAME}.commands"
#: Part of `cowpoke doctor` -> the function that looks; see `cowpoke/doctor/`.
DOCTOR = f"{NAME}.doctor"

_PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def version() -> str:
    """Return the version, such as `0.2.0`."""
    project = _checkout()
    if project is not None:
        return str(project["version"])
    try:
        return distribution(NAME).version
    except PackageNotFoundError:
        # The packages were copied without pyproject.toml. They still run.
        return "0+unknown"


def commands() -> Mapping[str, EntryPoint]:
    """Return the commands that programs register, by name."""
    return _points(COMMANDS)


def doctor_parts() -> Mapping[str, EntryPoint]:
    """Return the parts of the doctor that programs register, by name."""
    return _points(DOCTOR)


def _points(group: str) -> Mapping[str, EntryPoint]:
    project = _checkout()
    if project is not None:
        listed = project.get("entry-points", {}).get(group, {})
        return {name: EntryPoint(name, value, group) for name, value in listed.items()}
    try:
        points = distribution(NAME).entry_points
    except PackageNotFoundError:
        return {}
    return {point.name: point for point in points if point.group == group}


@cache
def _checkout() -> Mapping[str, Any] | None:
    """The table `project` of the checkout this package is in; None for an installed package."""
    try:
        content = tomllib.loads(_PYPROJECT.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    project: Mapping[str, Any] = content.get("project", {})
    return project if project.get("name") == NAME else None
