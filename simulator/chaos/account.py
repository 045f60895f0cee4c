"""The result of every event of a chaos run, as a table.

The docstring of the package explains the figures.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulator.chaos.faults import (
    CATTLE,
    ENGINE,
    PUBLISHING,
    REDIS,
    Broken,
    Outage,
    worker_part,
)
from simulator.chaos.ledger_states import Fate, LedgerState
from simulator.chaos.stage import Footprint

#: All parts back for this long, and an event must have been answered.
GRACE_S = 15.0


@dataclass(kw_only=True)
class Account:
    """The figures of one run."""

    events: int = 0
    calls: int = 0
    finals: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    expired: int = 0
    #: Events that expired with all parts well, by where they waited.
    starved: Counter[str] = field(default_factory=Counter)
    #: What the ledger said of events without an answer, by event id.
    ledger: dict[str, LedgerState] = field(default_factory=dict)
    undelivered: int = 0
    late: int = 0
    duplicates_same_id: int = 0
    duplicates_other_id: int = 0
    #: What was lost, in words.
    lost: list[str] = field(default_factory=list)
    #: Uuids of instances that were seen with two containers.
    doubled: set[str] = field(default_factory=set)
    left_over: int = 0
    in_redis: dict[str, int] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    first: Footprint | None = None
    last: Footprint | None = None

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost, doubled or answered twice."""
        return not (self.lost or self.doubled or self.duplicates_other_id or self.left_over)

    def count(self, records: Sequence[Mapping[str, Any]], access_keys: Mapping[str, str]) -> None:
        """Count cattle's records; `access_keys` is access key by agent id."""
        outages = [outage for one in self.broken for outage in one.outages]
        by_id = {record["id"]: record for record in records}
        for record in records:
            self.events += 1
            self.calls += record["retry_of"] is None
            self._count_replies(record)
            if record["state"] == "timeout":
                self._count_unanswered(record, outages, access_keys[record["agent"]])
            if record["retried_as"] is None and record["state"] in {"timeout", "waiting"}:
                self.lost.append(f"call of {_words(record)}: no final reply at all")
        assert len(by_id) == len(records)

    def _count_replies(self, record: Mapping[str, Any]) -> None:
        kinds = [reply["kind"] for reply in record["replies"]]
        self.finals += kinds.count("final")
        self.late += kinds.count("late")
        final_ids = {r["event"].get("id") for r in record["replies"] if r["kind"] == "final"}
        for reply in record["duplicates"]:
            if reply["event"].get("id") in final_ids:
                self.duplicates_same_id += 1
            else:
                self.duplicates_other_id += 1
        if record["state"] == "error":
            (final,) = [reply["event"] for reply in record["replies"] if reply["kind"] == "final"]
            words = str(final.get("transitioningInternalMessage") or "?")
            self.errors[words.partition(" ")[0]] += 1

    def _count_unanswered(
        self, record: Mapping[str, Any], outages: Sequence[Outage], access_key: str
    ) -> None:
        sent_ms = record["sent_ms"][0] if record["sent_ms"] else None
        if sent_ms is None or not record["sockets"] or _in_a_cut(sent_ms, outages):
            self.undelivered += 1
            return
        deadline_ms = sent_ms + record["timeout_ms"]
        needed = {REDIS, CATTLE, PUBLISHING, ENGINE, worker_part(access_key)}
        back_ms = max(
            [sent_ms]
            + [
                outage.until_ms
                for outage in outages
                if outage.part in needed
                and outage.until_ms > sent_ms
                and outage.from_ms < deadline_ms
            ]
        )
        healthy_s = (deadline_ms - back_ms) / 1000
        if healthy_s < GRACE_S:
            self.expired += 1
            return
        seen = self.ledger.get(record["id"], LedgerState(state=""))
        if seen.fate is Fate.STARVED or any(one["kind"] == "late" for one in record["replies"]):
            self.starved[seen.expired_in or "late"] += 1
            return
        self.lost.append(
            f"{_words(record)}: no final reply, though all was back {healthy_s:.0f} s before "
            f"its deadline; in the ledger: {seen.state or 'nothing'} {seen.expired_in}".rstrip()
        )

    def table(self) -> str:
        """Return the figures as text."""
        recoveries = sorted(b.recovery_s for b in self.broken if b.recovery_s is not None)
        unrecovered = sum(b.recovery_s is None for b in self.broken)
        kinds = Counter(one.name for one in self.broken)
        rows = [
            ("events sent", f"{self.events} in {self.calls} calls"),
            ("final replies", f"{self.finals} ({_counted(self.errors, 'no errors')})"),
            ("duplicates, same reply id", str(self.duplicates_same_id)),
            ("duplicates, distinct ids", f"{self.duplicates_other_id}"),
            ("late replies", str(self.late)),
            ("expired while parts were away", str(self.expired)),
            ("expired for want of time", _starved_words(self.starved)),
            ("sent into no websocket", str(self.undelivered)),
            ("lost", str(len(self.lost))),
            ("containers doubled", str(len(self.doubled))),
            ("containers left over", str(self.left_over)),
            ("left in Redis", _counted(self.in_redis, "nothing")),
            ("faults", f"{len(self.broken)}"),
            *((f"  {name}", str(count)) for name, count in sorted(kinds.items())),
            ("recovery p50 / p99 / max", _spread(recoveries, unrecovered)),
            ("memory first -> last", _change(self.first, self.last, "memory_bytes", 1 << 20, "MB")),
            ("file handles first -> last", _change(self.first, self.last, "handles", 1, "")),
        ]
        return "\n".join(f"{name:<32}{value}" for name, value in rows)


def _in_a_cut(sent_ms: float, outages: Sequence[Outage]) -> bool:
    return any(
        outage.part == CATTLE and outage.from_ms <= sent_ms <= outage.until_ms for outage in outages
    )


def _words(record: Mapping[str, Any]) -> str:
    return f"{record['name']} {record['id']} of {record['agent']}"


def _counted(counts: Mapping[str, int], none: str) -> str:
    found = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()) if count)
    return found or none


def _starved_words(starved: Counter[str]) -> str:
    where = _counted(starved, "")
    return f"{starved.total()} ({where})" if where else "0"


def _spread(ordered: Sequence[float], unrecovered: int) -> str:
    if not ordered:
        return "-"
    p50, p99 = (ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 99))
    missing = f", {unrecovered} without" if unrecovered else ""
    return f"{p50:.1f} / {p99:.1f} / {ordered[-1]:.1f} s{missing}"


def _change(
    first: Footprint | None, last: Footprint | None, name: str, unit: int, unit_name: str
) -> str:
    if first is None or last is None:
        return "-"
    before, after = getattr(first, name) / unit, getattr(last, name) / unit
    return f"{before:.0f} -> {after:.0f} {unit_name}".rstrip()
