"""Volumes that could not be removed because a container still had them, until the janitor can.

cattle was told that they are gone, so that it does not ask for ever (A 13.8, C 28).
"""

from pathlib import Path

from cowpoke.log import logger
from worker.host.name_store import Records

_log = logger(__name__)

FOLDER = "orphans"


class OrphanVolumes(Records):
    """The orphaned volumes of this host."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir / FOLDER)

    def remember(self, name: str, reason: str = "") -> None:
        """Note a volume that is to go later; a full disk must not block a removal (C 10)."""
        try:
            super().remember(name, reason)
        except OSError as error:
            _log.warning("volume.orphan-not-noted", volume=name, reason=error.strerror)
        _log.warning("volume.orphaned", volume=name, reason=reason, orphans=self.count())
