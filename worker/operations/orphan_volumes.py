"""Volumes that could not be removed because a container still had them, until the janitor can.

cattle was told that they are gone, so that it does not ask for ever (A 13.8, C 28). One small file
per volume in the state folder; losing one costs a volume that stays.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from worker.log import logger

_log = logger(__name__)

FOLDER = "orphans"


class OrphanVolumes:
    """The orphaned volumes of this host."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / FOLDER

    def remember(self, name: str, reason: str) -> None:
        """Note a volume that is to go later; a full disk must not block a removal (C 10)."""
        record = {"volume": name, "reason": reason, "time_s": int(time.time())}
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path(name).write_text(json.dumps(record), encoding="utf-8")
        except OSError as error:
            _log.warning("volume.orphan-not-noted", volume=name, reason=error.strerror)
        _log.warning("volume.orphaned", volume=name, reason=reason, orphans=self.count())

    def forget(self, name: str) -> None:
        """It is gone, or wanted again."""
        with suppress(OSError):
            self._path(name).unlink()

    def all(self) -> Iterator[tuple[str, float]]:
        """Each volume, and since when it is an orphan (Unix time in s)."""
        for path in sorted(self._folder.glob("*.json")):
            with suppress(OSError, ValueError, KeyError, TypeError):
                record = json.loads(path.read_bytes())
                yield str(record["volume"]), float(record["time_s"])

    def count(self) -> int:
        """How many there are."""
        return sum(1 for _ in self._folder.glob("*.json"))

    def _path(self, name: str) -> Path:
        return self._folder / f"{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}.json"
