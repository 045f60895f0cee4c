"""The temporary second names that pulls gave images, until their second event takes them away.

A pull onto many hosts comes in two events; when the second never comes, the janitor finds the name
here.
"""

from pathlib import Path

from cowpoke.log import logger
from worker.host.name_store import Records

_log = logger(__name__)

FOLDER = "temporary-tags"


class TemporaryTags(Records):
    """The temporary names on this host."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir / FOLDER)

    def remember(self, name: str, reason: str = "") -> None:
        """Note a name that is to be taken away again; a full disk must not stop a pull."""
        try:
            super().remember(name, reason)
        except OSError as error:
            _log.warning("tag.not_remembered", image=name, reason=error.strerror)
