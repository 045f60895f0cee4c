"""Sets of names that outlast a process: one small file per name, in the state folder.

    temporary-tags    second names of pulled images, until the second event of the pull removes them
    orphans           volumes that a container still used when cattle removed them; cattle was
                      answered that they are gone, so that it does not repeat the event for ever
                      (A 13.8, C 28)
    recent-stops      containers that were stopped a moment ago, see `recent_stops`

The janitor removes what is left of the first two. Losing a record leaves something behind on the
host, so a full disk does not fail an event (C 10). Row numbers (A, C) refer to docs/parity.md.
"""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cowpoke.log import logger
from cowpoke.scrubbing import scrub
from worker.host.files import hashed_path, paths_in, write_whole

_log = logger(__name__)


class NameStore:
    """The names in one folder; shared by all workers of the host."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, name: str, reason: str = "") -> None:
        """Store a name with the current time; a failure is logged only."""
        record = {"name": name, "reason": scrub(reason), "time_s": int(time.time())}
        try:
            write_whole(hashed_path(self._folder, name), json.dumps(record))
        except OSError as error:
            _log.warning(
                "record.not_written", store=self._folder.name, record=name, reason=error.strerror
            )

    def discard(self, name: str) -> None:
        """Delete a name, if it is stored."""
        with suppress(OSError):
            hashed_path(self._folder, name).unlink()

    def all(self) -> Iterator[tuple[str, float]]:
        """Yield each name and the time at which it was stored (Unix time in s).

        Errors: OSError when the folder exists and cannot be read.
        """
        for path in paths_in(self._folder):
            with suppress(OSError, ValueError, KeyError, TypeError):
                if path.suffix == ".json":
                    record = json.loads(path.read_bytes())
                    yield str(record["name"]), float(record["time_s"])

    def count(self) -> int:
        """Return the number of names."""
        return sum(1 for _ in self._folder.glob("*.json"))

    def __contains__(self, name: str) -> bool:
        return any(name == stored for stored, _ in self.all())


def temporary_tags(state_dir: Path) -> NameStore:
    """Return the temporary image tags of this host."""
    return NameStore(state_dir / "temporary-tags")


def orphan_volumes(state_dir: Path) -> NameStore:
    """Return the volumes of this host that still have to be removed."""
    return NameStore(state_dir / "orphans")
