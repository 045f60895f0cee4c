"""Which programs a changed file belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Folder or file of the checkout -> the programs that read it when they start.
_READERS = {
    "cowpoke": ("worker", "bridge"),
    "worker": ("worker",),
    "celeryconfig.py": ("worker",),
    "bridge": ("bridge",),
    "pyproject.toml": ("worker", "bridge"),
}
_ENDINGS = frozenset({".py", ".lua", ".toml", ".txt"})


def watched(checkout: Path) -> list[Path]:
    """Return what of a checkout is watched."""
    return [checkout / name for name in (*_READERS, "simulator")]


def is_source(path: str) -> bool:
    """Whether a file is part of a program."""
    return Path(path).suffix in _ENDINGS and "__pycache__" not in path


def readers(checkout: Path, paths: Iterable[str]) -> list[str]:
    """Return the programs that have to be replaced after a change, the worker first."""
    tops = {Path(path).relative_to(checkout).parts[0] for path in paths}
    found = {program for top in tops for program in _READERS.get(top, ())}
    return sorted(found, reverse=True)
