"""Writes docs/reference/metrics.md from what a bridge tells: `python -m tests.metrics_table`."""

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import Metric

from bridge.agents.registry import Agents
from bridge.inbound.standing import Standing
from bridge.metrics.collector import Metrics
from bridge.metrics.finished import FinishedCounts
from bridge.metrics.own import OwnMetrics
from bridge.web.readiness import Health
from bridge.web.watched import Seen
from cowpoke.seal import ClusterKeyring
from tests.page_views import NOW_MS, host, overview

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "metrics.md"
_BEGIN = (
    "<!-- metrics: written by `python -m tests.metrics_table`, held against the code by a test -->"
)
_END = "<!-- /metrics -->"
_COUNTS = ("events", "replies", "swept", "container_events", "container_events_refused")
#: The labels of one host or agent.
_PER_HOST = {"host", "agent"}


class _NoPresence:
    """No worker lives."""

    def by_host(self) -> list[object]:
        """Return no host."""
        return []


def families() -> list[Metric]:
    """Return all families that a bridge can have."""
    own = OwnMetrics(
        {name: Counter(x=1) for name in _COUNTS},
        agents=Agents(),
        unused={},
        standing=Standing(()),
        presence=_NoPresence(),
        keyring=ClusterKeyring(),
    )
    metrics = Metrics(own, FinishedCounts(), watched=None, readiness=None, most_hosts=10)
    seen = Seen(overview(host()), at_ms=NOW_MS)
    return list(metrics.families(seen, Health(ready=True, reasons=(), notes=())))


def series() -> set[str]:
    """Return the names that a query may use."""
    ends = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",)}
    return {one.name + end for one in families() for end in ends.get(one.type, ("",))}


def table() -> str:
    """One row per metric, sorted by name."""
    rows = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    return "\n".join([*rows, *sorted(_rows())])


def _rows() -> Iterator[str]:
    for one in families():
        name = one.name + ("_total" if one.type == "counter" else "")
        labels = getattr(one, "_labelnames", ())
        mark = " ¹" if _PER_HOST & set(labels) else ""
        told = ", ".join(f"`{label}`" for label in labels)
        yield f"| `{name}`{mark} | {one.type} | {told} | {one.documentation} |"


def written() -> str:
    """Return the table that the page has."""
    return PAGE.read_text(encoding="utf-8").partition(_BEGIN)[2].partition(_END)[0].strip()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    PAGE.write_text(
        f"{head}{_BEGIN}\n\n{table()}\n\n{_END}{rest.partition(_END)[2]}", encoding="utf-8"
    )
