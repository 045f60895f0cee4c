"""Names that somebody has to come back for: one small file each, in a folder of the state folder.

Losing one costs something that stays on the host; so a full disk is no reason to fail an event.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cowpoke.scrubbing import scrub
from worker.host.files import write_whole


class Records:
    """The names in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def remember(self, name: str, reason: str = "") -> None:
        """Note a name, and when that was.

        Errors: OSError when it cannot be written.
        """
        record = {"name": name, "reason": scrub(reason), "time_s": int(time.time())}
        write_whole(self._path(name), json.dumps(record))

    def forget(self, name: str) -> None:
        """Nobody has to come back for it any more."""
        with suppress(OSError):
            self._path(name).unlink()

    def all(self) -> Iterator[tuple[str, float]]:
        """Return each name, and when it was noted (Unix time in s).

        Errors: OSError when the folder is there and cannot be read.
        """
        with suppress(FileNotFoundError):
            for path in sorted(self._folder.iterdir()):
                with suppress(OSError, ValueError, KeyError, TypeError):
                    if path.suffix == ".json":
                        record = json.loads(path.read_bytes())
                        yield str(record["name"]), float(record["time_s"])

    def count(self) -> int:
        """How many there are."""
        return sum(1 for _ in self._folder.glob("*.json"))

    def _path(self, name: str) -> Path:
        return self._folder / f"{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}.json"
