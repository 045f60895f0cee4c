"""Values of labels: each one costs memory here, in Prometheus and for years on its disk."""

import re
from collections.abc import Container, Sequence

OTHER = "other"
#: A host could put anything into an error's code.
_WORD = re.compile(r"[A-Za-z0-9._-]{1,64}")


def cumulative(counts: Sequence[int], limits_s: Sequence[float]) -> list[tuple[str, float]]:
    """Return the buckets of a histogram as Prometheus has them: label `le`, count up to there.

    Args:
        counts: Durations between two limits; the last one are those above all limits.
        limits_s: Upper limits in seconds, ascending.
    """
    found, so_far = [], 0
    for limit, number in zip((*map(str, limits_s), "+Inf"), counts, strict=True):
        so_far += number
        found.append((limit, float(so_far)))
    return found


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
