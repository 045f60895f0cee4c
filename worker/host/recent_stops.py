"""The containers that this host stopped a moment ago, for the container list of a ping.

From Docker 26 on, a list may show a container as running for a moment after its stop. Every lane
and worker of the host records its stops here, and a ping inspects these containers.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cowpoke.log import logger
from worker.host.name_store import NameStore

_log = logger(__name__)

FOLDER = "recent-stops"
#: Longer than any observed lag of a list; inspecting later only costs time.
LAG_S = 30.0


class RecentStops:
    """The recent stops on this host, by container id."""

    def __init__(self, state_dir: Path) -> None:
        self._store = NameStore(state_dir / FOLDER)

    @contextmanager
    def recorded(self, container_id: str) -> Iterator[None]:
        """Record a stop from its beginning until `LAG_S` after its end."""
        self._store.add(container_id)
        try:
            yield
        finally:
            # Again, because a container may take minutes to stop.
            self._store.add(container_id)

    def recent(self) -> set[str]:
        """Return the ids of the last `LAG_S` seconds, and delete the older ones."""
        ids: set[str] = set()
        try:
            stored = list(self._store.all())
        except OSError as error:
            _log.warning("record.not_read", reason=error.strerror)
            return ids
        for container_id, stored_s in stored:
            if abs(time.time() - stored_s) <= LAG_S:
                ids.add(container_id)
            else:
                self._store.discard(container_id)
        return ids
