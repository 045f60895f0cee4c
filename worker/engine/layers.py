"""The progress of a pull, computed from the Engine's progress lines.

Row numbers (A) refer to docs/parity.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.engine.progress import MOST_UNFINISHED_PERCENT

#: The share of a layer's work that is done at the beginning and at the end of a status. Texts that
#: are no status of a layer (`Digest: ...`) are not listed.
_SHARE: Mapping[str, tuple[float, float]] = {
    "Pulling fs layer": (0.0, 0.0),
    "Waiting": (0.0, 0.0),
    "Downloading": (0.0, 0.7),
    "Verifying Checksum": (0.7, 0.7),
    "Download complete": (0.7, 0.7),
    "Extracting": (0.7, 1.0),
    "Pull complete": (1.0, 1.0),
}
_DOWNLOADED_SHARE = 0.7
#: A layer that another image brought and that is not part of this pull.
_NOT_PULLED = "Already exists"


@dataclass(slots=True)
class _Layer:
    size_bytes: int = 0
    downloaded_bytes: int = 0
    #: The share of its work that is done, 0 to 1.
    share: float = 0.0


class Layers:
    """The progress of a pull: a text, and a percentage of all bytes that never falls."""

    def __init__(self) -> None:
        self.text = ""
        self.percent: int | None = None
        self._layers: dict[str, _Layer] = {}
        self._seen: dict[str, tuple[str, int]] = {}

    @property
    def downloaded_bytes(self) -> int:
        """The bytes of layers that were downloaded, as far as the Engine reported them."""
        return sum(layer.downloaded_bytes for layer in self._layers.values())

    def read(self, line: Mapping[str, Any]) -> bool:
        """Read one line; return whether it has a new status or more bytes (A 12.8)."""
        status = str(line.get("status") or "")
        layer_id = str(line.get("id") or "")
        if not status:
            return False
        detail = line.get("progressDetail")
        current, total = _numbers(detail if isinstance(detail, Mapping) else {})
        if self._seen.get(layer_id) == (status, current):
            return False
        self._seen[layer_id] = (status, current)
        self.text = status
        if layer_id and status == _NOT_PULLED:
            self._layers.pop(layer_id, None)
        elif layer_id and status in _SHARE:
            self._advance(self._layers.setdefault(layer_id, _Layer()), status, current, total)
        return True

    def _advance(self, layer: _Layer, status: str, current: int, total: int) -> None:
        start, end = _SHARE[status]
        layer.size_bytes = layer.size_bytes or total
        if status == "Downloading":
            layer.downloaded_bytes = max(layer.downloaded_bytes, current)
        elif start >= _DOWNLOADED_SHARE:
            layer.downloaded_bytes = max(layer.downloaded_bytes, layer.size_bytes)
        layer.share = start + (end - start) * (min(current / total, 1) if total else 0)
        self.percent = max(self.percent or 0, min(self._percent_now(), MOST_UNFINISHED_PERCENT))

    def _percent_now(self) -> int:
        """Return the percentage of all bytes; a layer of unknown size counts as the mean."""
        sizes = [layer.size_bytes for layer in self._layers.values() if layer.size_bytes]
        mean = sum(sizes) / len(sizes) if sizes else 1.0
        weights = [layer.size_bytes or mean for layer in self._layers.values()]
        shares = [layer.share for layer in self._layers.values()]
        done = sum(weight * share for weight, share in zip(weights, shares, strict=True))
        return int(100 * done / sum(weights))


def _numbers(detail: Mapping[str, Any]) -> tuple[int, int]:
    current, total = detail.get("current"), detail.get("total")
    return (
        int(current) if isinstance(current, int | float) else 0,
        int(total) if isinstance(total, int | float) else 0,
    )
