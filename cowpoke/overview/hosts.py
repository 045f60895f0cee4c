"""The hosts of an overview: one script call per `AT_ONCE` hosts, then their seals are opened."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from cowpoke import keys
from cowpoke.envelopes import UnknownVersionError
from cowpoke.figures import EngineState, LaneFigures, opened_figures
from cowpoke.joined import agent_hash, opened_note
from cowpoke.lease import Lease, read_lease
from cowpoke.ledger.states import State
from cowpoke.overview.answers import number, texts
from cowpoke.overview.conditions import Problem, problem
from cowpoke.overview.views import AgentView, EventView, HostView, QueueView, WorkerView
from cowpoke.removed import opened_removal
from cowpoke.routes import Lane, queue_for
from cowpoke.seal import ClusterKeyring, SealBrokenError, Sealer

#: Hosts of one call: Redis does nothing else meanwhile.
AT_ONCE = 100
#: Open events of one host whose state is read.
MOST_STATES = 1_000
#: What else than a state of ours is counted as.
UNREADABLE = "unreadable"
#: More is nothing of ours: a lease is the longest text.
_MOST_TEXT = 64 * 1024

_LANES = tuple(Lane)
_SCRIPT = (Path(__file__).parent / "hosts.lua").read_text(encoding="utf-8")


@dataclass(kw_only=True, slots=True)
class HostsRead:
    """What the script found."""

    now_ms: int = 0
    hosts: list[HostView] = field(default_factory=list)
    #: Bridges that left a note for a host.
    bridge_ids: set[str] = field(default_factory=set)
    #: Entries that could not be read.
    problems: list[Problem] = field(default_factory=list)


def read_hosts(client: "redis.Redis", keyring: ClusterKeyring, uuids: Sequence[str]) -> HostsRead:
    """Return what Redis keeps of some hosts.

    Errors: redis.RedisError.
    """
    script = client.register_script(_SCRIPT)
    suffixes = json.dumps([queue_for("", lane).removeprefix("host.") for lane in _LANES])
    found = HostsRead()
    for start in range(0, len(uuids), AT_ONCE):
        some = uuids[start : start + AT_ONCE]
        now_ms, rows = script(keys=[], args=[MOST_STATES, _MOST_TEXT, suffixes, *some])
        found.now_ms = int(now_ms)
        for row in rows:
            reader = _HostReader(keyring, found, int(now_ms))
            found.hosts.append(reader.view(row))
            found.bridge_ids |= reader.bridge_ids
    return found


class _HostReader:
    """Reads the answer about one host; what cannot be read becomes a problem."""

    def __init__(self, keyring: ClusterKeyring, found: HostsRead, now_ms: int) -> None:
        self._keyring = keyring
        self._problems = found.problems
        self._now_ms = now_ms
        self.bridge_ids: set[str] = set()
        #: What the machine was called when the host joined.
        self._hostname = ""

    def view(self, row: Sequence[Any]) -> HostView:
        """Return the host; `hosts.lua` defines the row."""
        uuid, errors, workers, queues, opened, states, oldest, outbox, dead = row[:9]
        joined, removed, served, bridge_ids, seen_s = row[9:]
        host_uuid = str(uuid)
        for key, reason in zip(errors[::2], errors[1::2], strict=True):
            self._problems.append(problem("entry-unreadable", str(key), str(reason)))
        self.bridge_ids = set(texts(bridge_ids))
        sealer = self._keyring.host(host_uuid)
        found = tuple(
            sorted(
                (self._worker(host_uuid, sealer, *one) for one in workers),
                key=lambda worker: worker.worker_id,
            )
        )
        agent = self._agent(host_uuid, sealer, *map(_text, (joined, removed, served)))
        return HostView(
            host_uuid=host_uuid,
            hostname=next((one.lease.hostname for one in found if one.lease), self._hostname),
            workers=found,
            engine=_engine(found),
            queues={str(lane): self._queue(*one) for lane, one in zip(_LANES, queues, strict=True)},
            open_events=number(opened),
            open_states=self._states(host_uuid, states),
            oldest_event=self._event(oldest),
            outbox=number(outbox),
            dead_letters=number(dead),
            agent=agent,
            last_seen_ms=_milliseconds(seen_s),
        )

    def _worker(  # noqa: PLR0913, PLR0917 -- the members of the row
        self,
        host_uuid: str,
        sealer: Sealer,
        worker_id: str,
        lease_ms: int,
        text: str | None,
        figures: Sequence[str | None],
    ) -> WorkerView:
        lease: Lease | None = None
        try:
            lease = read_lease(text or "", sealer, host_uuid=host_uuid, worker_id=worker_id)
        except SealBrokenError as broken:
            subject, said = host_uuid, f"the lease of worker {worker_id} cannot be opened: {broken}"
            self._problems.append(problem("keys-differ", subject, said))
        return WorkerView(
            worker_id=worker_id,
            lease_ms=max(lease_ms, 0),
            lease=lease,
            figures={} if lease is None else self._figures(host_uuid, sealer, worker_id, figures),
        )

    def _figures(
        self, host_uuid: str, sealer: Sealer, worker_id: str, found: Sequence[str | None]
    ) -> dict[str, LaneFigures]:
        read = {}
        for lane, text in zip(_LANES, found, strict=True):
            if not text:
                continue
            try:
                read[str(lane)] = opened_figures(
                    sealer, text, host_uuid=host_uuid, worker_id=worker_id, lane=lane
                )
            except SealBrokenError as broken:
                name = f"{keys.figures(host_uuid, worker_id)} {lane}"
                self._problems.append(problem("entry-unreadable", name, str(broken)))
        return read

    def _queue(self, length: object, queued_ms: object) -> QueueView:
        since_ms = _number(queued_ms)
        waited_ms = None if since_ms is None else max(self._now_ms - since_ms, 0)
        return QueueView(
            length=number(length), oldest_s=None if waited_ms is None else waited_ms / 1000
        )

    def _states(self, host_uuid: str, states: Sequence[Any]) -> dict[str, int]:
        counts: dict[str, int] = {}
        for state, count in sorted(zip(map(str, states[::2]), states[1::2], strict=True)):
            if state not in set(State):
                key = keys.open_events(host_uuid)
                said = f"{count} open events have no state of ours: {state}"
                self._problems.append(problem("entry-unreadable", key, said))
                state = UNREADABLE  # noqa: PLW2901 -- counted under one name
            counts[state] = counts.get(state, 0) + int(count)
        return counts

    def _event(self, row: Sequence[Any] | None) -> EventView | None:
        if not row:
            return None
        event_id, state, received_ms, deadline_ms, name, lane = row
        received, deadline = _number(received_ms), _number(deadline_ms)
        if received is None or deadline is None:
            return None
        return EventView(
            event_id=str(event_id),
            name=str(name or ""),
            state=str(state) if state in set(State) else UNREADABLE,
            lane=str(lane or ""),
            age_s=max(self._now_ms - received, 0) / 1000,
            left_s=(deadline - self._now_ms) / 1000,
        )

    def _agent(
        self, host_uuid: str, sealer: Sealer, note: str, removed: str, served: str
    ) -> AgentView | None:
        removal = opened_removal(sealer, removed, host_uuid=host_uuid) if removed else None
        if not note:
            if removal is None:
                return None
            return AgentView(joined=False, removed_since_ms=removal.since_ms)
        try:
            agent = opened_note(sealer, note, host_uuid=host_uuid)
        except (SealBrokenError, UnknownVersionError) as broken:
            said = f"the keys that the host joined with cannot be opened: {broken}"
            self._problems.append(problem("keys-differ", host_uuid, said))
            return AgentView(joined=True)
        self._hostname = agent.hostname
        its_hash = agent_hash(agent.access_key)
        # A note about the keys that the host had before says nothing of these.
        is_removed = removal is not None and removal.agent_hash == its_hash
        return AgentView(
            joined=True,
            access_key=agent.access_key,
            cattle_url=agent.cattle_url,
            joined_ms=agent.joined_ms,
            served=served == its_hash,
            removed_since_ms=removal.since_ms if removal is not None and is_removed else None,
        )


def _engine(workers: Sequence[WorkerView]) -> EngineState | None:
    """Return the Engine as the worker that started last sees it; all share one Engine."""
    return next(
        (
            figures.engine
            for worker in sorted(workers, key=_started_ms, reverse=True)
            for figures in worker.figures.values()
            if figures.engine is not None
        ),
        None,
    )


def _started_ms(worker: WorkerView) -> int:
    return worker.lease.started_ms if worker.lease else 0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int | None:
    try:
        found = int(str(value))
    except ValueError:
        return None
    return found if abs(found) < 2**53 else None


def _milliseconds(value: object) -> int | None:
    try:
        return round(float(str(value)) * 1000)
    except (ValueError, OverflowError):
        return None
