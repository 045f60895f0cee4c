"""The temporary second names that pulls gave images, until their second event takes them away.

A pull onto many hosts comes in two events; when the second never comes, the janitor finds the name
here. One small file per name in the state folder; losing one costs a tag that stays.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from worker.log import logger

_log = logger(__name__)

FOLDER = "temporary-tags"


class TemporaryTags:
    """The temporary names on this host."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / FOLDER

    def remember(self, name: str) -> None:
        """Note a name that is to be taken away again; a full disk must not stop a pull."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path(name).write_text(name, encoding="utf-8")
        except OSError as error:
            _log.warning("tag.not_remembered", image=name, reason=error.strerror)

    def forget(self, name: str) -> None:
        """The name was taken away."""
        with suppress(OSError):
            self._path(name).unlink()

    def all(self) -> Iterator[tuple[str, float]]:
        """Each name, and when it was given (Unix time in s)."""
        for path in sorted(self._folder.glob("*.tag")):
            with suppress(OSError):
                age_s = time.time() - path.stat().st_mtime
                yield path.read_text(encoding="utf-8"), time.time() - age_s

    def _path(self, name: str) -> Path:
        return self._folder / f"{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}.tag"
