"""How far a pull is, read from the Engine's progress lines."""

from collections.abc import Mapping
from typing import Any

#: How much of a layer's work is done when its status is this; the pair says from where to where
#: its own bytes carry it. What is no layer's status (`Digest: ...`) is not in it.
_SHARE: Mapping[str, tuple[float, float]] = {
    "Pulling fs layer": (0.0, 0.0),
    "Waiting": (0.0, 0.0),
    "Downloading": (0.0, 0.7),
    "Verifying Checksum": (0.7, 0.7),
    "Download complete": (0.7, 0.7),
    "Extracting": (0.7, 1.0),
    "Pull complete": (1.0, 1.0),
    "Already exists": (1.0, 1.0),
}


class Layers:
    """The state of a pull: a sentence, a percentage that never falls, the bytes moved."""

    def __init__(self) -> None:
        self.text = ""
        self.percent: int | None = None
        self.bytes = 0
        self._done: dict[str, float] = {}
        self._seen: dict[str, tuple[str, int]] = {}

    def read(self, line: Mapping[str, Any]) -> bool:
        """Take one line in; whether it says anything that was not known (A 12.8)."""
        status = str(line.get("status") or "")
        layer = str(line.get("id") or "")
        if not status:
            return False
        detail = line.get("progressDetail")
        current, total = _numbers(detail if isinstance(detail, Mapping) else {})
        before, moved_before = self._seen.get(layer, ("", 0))
        if (before, moved_before) == (status, current):
            return False
        if before == status:
            self.bytes += max(0, current - moved_before)
        self._seen[layer] = (status, current)
        self.text = status
        if layer and status in _SHARE:
            start, end = _SHARE[status]
            self._done[layer] = start + (end - start) * (min(current / total, 1) if total else 0)
            percent = int(100 * sum(self._done.values()) / len(self._done))
            self.percent = max(self.percent or 0, percent)
        return True


def _numbers(detail: Mapping[str, Any]) -> tuple[int, int]:
    current, total = detail.get("current"), detail.get("total")
    return (
        int(current) if isinstance(current, int | float) else 0,
        int(total) if isinstance(total, int | float) else 0,
    )
