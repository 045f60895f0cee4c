"""The status of one Redis as a table for people, or as JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from cowpoke.cli.agent_status import AgentStatus
from cowpoke.cli.shown import shown
from cowpoke.cli.status import HostStatus, Status, WorkerStatus

_MOST_PROBLEMS = 20
_HOST_COLUMNS = ("host", "workers", "queued", "open", "outbox", "dead")
_AGENT_COLUMNS = ("host", "agent", "cattle", "joined", "state")
_WORKER_COLUMNS = ("worker", "host", "version", "lanes", "lease", "keys")


def as_json_text(status: Status) -> str:
    """Return all of it as one JSON object; ASCII only."""
    return json.dumps(asdict(status), indent=2) + "\n"


def as_text(status: Status) -> str:
    """Return it as tables, each line printable."""
    return "".join(f"{line}\n" for line in _lines(status))


def _lines(status: Status) -> Iterator[str]:
    live = [bridge for bridge in status.bridges if bridge.alive]
    yield f"bridges: {len(live)} live"
    for bridge in status.bridges:
        state = "live" if bridge.alive else "dead"
        yield f"  {shown(bridge.bridge_id, 60)}  {state}, {bridge.outcomes} outcomes in hand"
    waiting = ", ".join(f"{_count(n)} in {stream}" for stream, n in status.outcomes.items())
    yield f"outcomes waiting: {waiting}"
    yield f"dead letters of bridges: {_count(status.dead_letters)}"
    yield ""
    yield f"hosts: {len(status.hosts)}"
    yield from _table(_HOST_COLUMNS, [_host_row(host) for host in status.hosts])
    yield ""
    yield from _agents(status.hosts)
    workers = [(host, worker) for host in status.hosts for worker in host.workers]
    yield ""
    yield f"workers: {len(workers)}"
    yield from _table(_WORKER_COLUMNS, [_worker_row(host, worker) for host, worker in workers])
    if status.problems:
        yield ""
        yield f"unreadable entries: {len(status.problems)}"
        yield from (f"  {shown(problem)}" for problem in status.problems[:_MOST_PROBLEMS])
        if len(status.problems) > _MOST_PROBLEMS:
            yield f"  ... and {len(status.problems) - _MOST_PROBLEMS} more; --json lists them"


def _host_row(host: HostStatus) -> Sequence[str]:
    return (
        shown(host.host_uuid, 60),
        str(len(host.workers)),
        " ".join(f"{lane}={_count(length)}" for lane, length in host.queues.items()),
        _counts(host.open_events),
        _count(host.outbox),
        _count(host.dead_letters),
    )


def _agents(hosts: Sequence[HostStatus]) -> Iterator[str]:
    """The hosts that joined, and all that were removed in Rancher."""
    joined = sum(host.agent is not None and host.agent.joined for host in hosts)
    yield f"joined hosts: {joined}" + ("" if joined else "; no host has joined (cowpoke join)")
    rows = [_agent_row(host.host_uuid, host.agent) for host in hosts if host.agent is not None]
    yield from _table(_AGENT_COLUMNS, rows)


def _agent_row(host_uuid: str, agent: AgentStatus) -> Sequence[str]:
    if agent.removed_since_ms is not None:
        state = f"removed in Rancher, noticed {_moment(agent.removed_since_ms)}"
    elif agent.joined and agent.access_key is None:
        state = "unreadable: sealed with another key?"
    else:
        state = "served" if agent.served else "not served; see cowpoke_agent_waiting of the bridges"
    return (
        shown(host_uuid, 60),
        "in the settings of a bridge" if not agent.joined else shown(agent.access_key or "?", 60),
        shown(agent.cattle_url or "?", 80),
        "-" if agent.joined_ms is None else _moment(agent.joined_ms),
        state,
    )


def _moment(at_ms: int) -> str:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "?"


def _worker_row(host: HostStatus, worker: WorkerStatus) -> Sequence[str]:
    lease = worker.lease
    lanes = () if lease is None else lease.lanes
    return (
        shown(worker.worker_id, 60),
        shown(host.host_uuid, 60),
        "?" if lease is None else shown(lease.version or "-", 20),
        "sealed with another key"
        if lease is None
        else " ".join(shown(one.lane, 20) + ("" if one.consumes else "(waits)") for one in lanes),
        f"{worker.lease_ms / 1000:.1f} s",
        "?" if lease is None else " ".join(shown(name, 20) for name in lease.fingerprints),
    )


def _count(number: int | None) -> str:
    return "?" if number is None else str(number)


def _counts(counts: Mapping[str, int]) -> str:
    return " ".join(f"{name}={number}" for name, number in counts.items()) or "0"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    listed = [columns, *rows]
    widths = [max(len(row[i]) for row in listed) for i in range(len(columns))]
    for row in listed:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()
