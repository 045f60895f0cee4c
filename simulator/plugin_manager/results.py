"""The state files: the result of CNI for each start of a container."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any


class Results:
    """The folder that the host agent reads; one file per start, named like the start."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    def write(self, container_id: str, started_at: str, result: dict[str, Any]) -> None:
        """Write a result: complete under another name first, then renamed."""
        folder = self._state_dir / container_id
        folder.mkdir(mode=0o644, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{started_at}-", dir=folder)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(result, file)
        Path(name).rename(folder / started_at)

    def remove(self, container_id: str) -> None:
        """Remove what is known about a container that ended."""
        shutil.rmtree(self._state_dir / container_id, ignore_errors=True)
