"""The instance of each container as cattle sent it, one file per container, for Rancher's host-api.

The file is `containers/DOCKER_ID` in the state folder, where python-agent wrote it (A 3.12), but
readable by its owner only and without the secrets that `cowpoke.secrets` lists. cowpoke does not
read it back, so a failed write does not fail an event.

A second file notes which event started a container. If the event waits for more, its next try must
not start the container again whose program ended meanwhile.

Row numbers (A, C) refer to docs/parity.md.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cowpoke.log import logger
from cowpoke.secrets import without_secrets
from worker.host.files import paths_in

_log = logger(__name__)

FOLDER = "containers"

_UNFINISHED = "tmp-"
_STARTED = "started-"
# The id comes from cattle and must not lead out of the folder.
_NAME = re.compile(rf"(?:{_UNFINISHED}|{_STARTED})?[0-9a-f]{{64}}")


class StateFiles:
    """The state files of this host."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / FOLDER

    def note_start(self, container_id: str, event_id: str) -> None:
        """Note that the event started the container; the janitor removes old notes."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self._folder / f"{_STARTED}{container_id}").write_text(event_id, encoding="utf-8")
        except OSError as error:
            _log.warning(
                "state_file.not_written", container_id=container_id[:12], reason=str(error)
            )

    def was_started_by(self, container_id: str, event_id: str) -> bool:
        """Return whether an earlier try of the event started the container."""
        path = self._folder / f"{_STARTED}{container_id}"
        try:
            return path.read_text(encoding="utf-8", errors="replace") == event_id
        except OSError:
            return False

    def write(self, container_id: str, data: Mapping[str, Any]) -> None:
        """Write the instance of an `instanceHostMap` event; a full disk is only logged (C 10)."""
        path = self._folder / container_id
        unfinished = self._folder / f"{_UNFINISHED}{container_id}"
        try:
            instance = without_secrets(data["instanceHostMap"]["instance"])
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(unfinished, "w", encoding="utf-8", opener=_owner_only) as file:
                json.dump(instance, file)
            unfinished.replace(path)
        except (OSError, RecursionError) as error:
            with suppress(OSError):
                unfinished.unlink()
            _log.warning(
                "state_file.not_written", container_id=container_id[:12], reason=str(error)
            )

    def discard(self, container_id: str) -> None:
        """Delete the files of a container, if there are any."""
        if _NAME.fullmatch(container_id):
            for name in (container_id, f"{_STARTED}{container_id}"):
                with suppress(OSError):
                    (self._folder / name).unlink()

    def all(self) -> Iterator[tuple[str, float]]:
        """Yield each file's name, the container id, and when it was written (Unix time in s).

        Files that a crash left unfinished, and notes of starts, are included; their names are no
        container ids.
        Errors: OSError when the folder exists and cannot be read.
        """
        for path in paths_in(self._folder):
            with suppress(OSError):
                if _NAME.fullmatch(path.name):
                    yield path.name, path.stat().st_mtime


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
