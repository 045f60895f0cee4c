"""What cattle said of each instance that runs here, one file per container, for Rancher's host-api.

`containers/DOCKER_ID` in the state folder, where python-agent had it (A 3.12), but for the owner
only and without the secrets that `cowpoke.secrets` lists. Nothing of ours reads it back: a
file that cannot be written is no reason to fail an event.
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

_log = logger(__name__)

FOLDER = "containers"

_UNFINISHED = "tmp-"
# A name that cattle gave must not lead out of the folder.
_NAME = re.compile(rf"(?:{_UNFINISHED})?[0-9a-f]{{64}}")


class StateFiles:
    """The state files of this host."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / FOLDER

    def write(self, container_id: str, data: Mapping[str, Any]) -> None:
        """Keep the instance of an `instanceHostMap` event; a full disk is only logged (C 10)."""
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

    def forget(self, container_id: str) -> None:
        """The container is gone."""
        if _NAME.fullmatch(container_id):
            with suppress(OSError):
                (self._folder / container_id).unlink()

    def all(self) -> Iterator[tuple[str, float]]:
        """Each file's name, which is its container's id, and when it was written (Unix time in s).

        What a crash left unfinished is among them, under a name that is no container's.
        Errors: OSError when the folder is there and cannot be read.
        """
        with suppress(FileNotFoundError):
            for path in sorted(self._folder.iterdir()):
                with suppress(OSError):
                    if _NAME.fullmatch(path.name):
                        yield path.name, path.stat().st_mtime


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
