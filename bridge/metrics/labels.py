"""Values of labels: each one costs memory here, in Prometheus and for years on its disk."""

import re
from collections.abc import Container

OTHER = "other"
#: A host could put anything into an error's code.
_WORD = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Bounded:
    """The first values of a label that are words; all others are `other`."""

    def __init__(self, most: int, *, known: Container[str] | None = None) -> None:
        self._most = most
        self._known = known
        self._seen: set[str] = set()

    def label(self, value: str) -> str:
        """Return the value, or `other`."""
        if value in self._seen:
            return value
        if self._known is not None and value not in self._known:
            return OTHER
        if len(self._seen) >= self._most or not _WORD.fullmatch(value):
            return OTHER
        self._seen.add(value)
        return value
