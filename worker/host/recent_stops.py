"""The containers that this host stopped a moment ago, for the list of a ping.

From Docker 26 on a list may show a container as running for a moment after its stop. Every lane and
worker of the host notes its stops here, and a ping inspects these containers.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cowpoke.log import logger
from worker.host.name_store import Records

_log = logger(__name__)

FOLDER = "recent-stops"
#: Longer than any list was seen to lag; an inspect after it costs time for nothing.
LAG_S = 30.0


class RecentStops(Records):
    """The recent stops on this host, by the containers' ids."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir / FOLDER)

    @contextmanager
    def noted(self, container_id: str) -> Iterator[None]:
        """Note a stop from its begin until a while after its end."""
        self.remember(container_id)
        try:
            yield
        finally:
            # Anew, because a container may take minutes to stop.
            self.remember(container_id)

    def remember(self, name: str, reason: str = "") -> None:
        """Note a stop; a full disk must not keep a container running (C 10)."""
        try:
            super().remember(name, reason)
        except OSError as error:
            _log.warning("stop.not_noted", container_id=name[:12], reason=error.strerror)

    def recent(self) -> set[str]:
        """Return the ids of the last seconds, and forget the older ones."""
        ids: set[str] = set()
        try:
            noted = list(self.all())
        except OSError as error:
            # A ping goes on without what cannot be read.
            _log.warning("stops.unreadable", reason=error.strerror)
            return ids
        for container_id, noted_s in noted:
            if abs(time.time() - noted_s) <= LAG_S:
                ids.add(container_id)
            else:
                self.forget(container_id)
        return ids
