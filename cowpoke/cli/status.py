"""What goes on in one Redis: read by a few round trips, and nothing is changed.

An entry that cannot be read becomes a line in `problems`, and the rest is shown.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import redis

from cowpoke import keys
from cowpoke.cli.agent_status import AgentStatus, agents_of, joined_hosts
from cowpoke.cli.dead_letters import known_hosts
from cowpoke.lease import Lease, read_lease
from cowpoke.ledger.states import State
from cowpoke.overview.answers import ask, is_unreadable, number, texts
from cowpoke.routes import Lane, queue_for
from cowpoke.seal import ClusterKeyring, SealBrokenError, Sealer

#: The consumer group of the bridges; its consumers are the bridges' ids.
_GROUP = "bridges"
#: What else `state` may hold is shown under this name.
UNREADABLE = "unreadable"


@dataclass(frozen=True, kw_only=True, slots=True)
class BridgeStatus:
    """A bridge that lives, or that outcomes are still assigned to."""

    bridge_id: str
    alive: bool
    #: Outcomes it has read and that cattle did not acknowledge yet.
    outcomes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerStatus:
    """A live worker; `lease` is None when QUEUE_KEY does not open it."""

    worker_id: str
    #: How long its lease lasts if it is not renewed.
    lease_ms: int
    lease: Lease | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class HostStatus:
    """One host. A number is None where its key holds something else."""

    host_uuid: str
    workers: list[WorkerStatus]
    #: Messages by lane.
    queues: dict[str, int | None]
    #: Events without an answer, by state.
    open_events: dict[str, int]
    #: Outcomes that no bridge has collected.
    outbox: int | None
    dead_letters: int | None
    #: None for a host whose agent is in the settings of a bridge, if it has one.
    agent: AgentStatus | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """What goes on in one Redis."""

    bridges: list[BridgeStatus]
    hosts: list[HostStatus]
    #: Outcomes that wait for cattle's acknowledgement, by stream.
    outcomes: dict[str, int | None]
    #: Those of the bridges; each host has its own.
    dead_letters: int | None
    problems: list[str] = field(default_factory=list)


def read_status(client: "redis.Redis", keyring: ClusterKeyring) -> Status:
    """Return what goes on in a Redis.

    Errors: redis.RedisError when Redis does not answer, or the user may not ask.
    """
    problems: list[str] = []
    lengths = _checked(
        client,
        {
            **{stream: ("XLEN", stream) for stream in keys.OUTCOME_STREAMS},
            keys.BRIDGE_DEAD_LETTERS: ("LLEN", keys.BRIDGE_DEAD_LETTERS),
        },
        problems,
    )
    uuids = sorted({*known_hosts(client), *joined_hosts(client)})
    agents = agents_of(client, list(filter(keys.is_host_uuid, uuids)), keyring, problems)
    problems += [f"no host uuid: {one}" for one in uuids if not keys.is_host_uuid(one)]
    hosts = [
        replace(
            _host(client, host_uuid, keyring.host(host_uuid), problems),
            agent=agents.get(host_uuid),
        )
        for host_uuid in uuids
        if keys.is_host_uuid(host_uuid)
    ]
    return Status(
        bridges=_bridges(client, [host.host_uuid for host in hosts]),
        hosts=hosts,
        outcomes={stream: number(lengths[stream]) for stream in keys.OUTCOME_STREAMS},
        dead_letters=number(lengths[keys.BRIDGE_DEAD_LETTERS]),
        problems=problems,
    )


def _checked(
    client: "redis.Redis", commands: dict[str, tuple[str | int, ...]], problems: list[str]
) -> dict[str, Any]:
    """The answers by key; of one that Redis refuses, a problem is noted."""
    answers = dict(zip(commands, ask(client, commands.values()), strict=True))
    problems += is_unreadable(answers)
    return answers


def _host(client: "redis.Redis", host_uuid: str, sealer: Sealer, problems: list[str]) -> HostStatus:
    queues = {lane: queue_for(host_uuid, lane) for lane in Lane}
    workers, opened = keys.workers(host_uuid), keys.open_events(host_uuid)
    outbox, dead = keys.outbox(host_uuid), keys.dead_letters(host_uuid)
    answers = _checked(
        client,
        {
            workers: ("SMEMBERS", workers),
            opened: ("ZRANGE", opened, 0, -1),
            outbox: ("XLEN", outbox),
            dead: ("LLEN", dead),
            **{queue: ("LLEN", queue) for queue in queues.values()},
        },
        problems,
    )
    return HostStatus(
        host_uuid=host_uuid,
        workers=_workers(client, host_uuid, texts(answers[workers]), sealer, problems),
        queues={str(lane): number(answers[queue]) for lane, queue in queues.items()},
        open_events=_states(client, host_uuid, texts(answers[opened]), problems),
        outbox=number(answers[outbox]),
        dead_letters=number(answers[dead]),
    )


def _workers(
    client: "redis.Redis",
    host_uuid: str,
    worker_ids: Sequence[str],
    sealer: Sealer,
    problems: list[str],
) -> list[WorkerStatus]:
    leases = [keys.lease(host_uuid, worker_id) for worker_id in worker_ids]
    answers = ask(client, [*(("GET", key) for key in leases), *(("PTTL", key) for key in leases)])
    found = []
    for worker_id, key, text, lease_ms in zip(
        worker_ids, leases, answers[: len(leases)], answers[len(leases) :], strict=True
    ):
        if text is None:
            continue  # it is dead; whoever reads leases to use them forgets its id
        lease = None
        try:
            lease = read_lease(str(text), sealer, host_uuid=host_uuid, worker_id=worker_id)
        except SealBrokenError as problem:
            problems.append(f"{key}: {problem}")
        found.append(
            WorkerStatus(worker_id=worker_id, lease_ms=max(number(lease_ms) or 0, 0), lease=lease)
        )
    return found


def _states(
    client: "redis.Redis", host_uuid: str, event_ids: Sequence[str], problems: list[str]
) -> dict[str, int]:
    """How many of the open events are in each state."""
    names = [keys.event(host_uuid, event_id) for event_id in event_ids]
    answers = _checked(client, {name: ("HGET", name, "state") for name in names}, problems)
    counts: Counter[str] = Counter()
    for name, state in answers.items():
        if state in {State.ANSWERED, State.EXPIRED, None}:
            continue  # it was answered since, or lost; the sweeper removes its id
        known = isinstance(state, str) and state in set(State)
        if not known and not isinstance(state, Exception):
            problems.append(f"{name}: no state of ours: {state}")
        counts[str(state) if known else UNREADABLE] += 1
    return dict(sorted(counts.items()))


def _bridges(client: "redis.Redis", hosts: Sequence[str]) -> list[BridgeStatus]:
    """Those that read outcomes, and those that left a note for a host."""
    answers = ask(
        client,
        [
            *(("XINFO", "CONSUMERS", stream, _GROUP) for stream in keys.OUTCOME_STREAMS),
            *(("HKEYS", keys.host_keys(host_uuid)) for host_uuid in hosts),
        ],
    )
    outcomes: Counter[str] = Counter()
    for answer in answers[: len(keys.OUTCOME_STREAMS)]:
        for consumer in _rows(answer):
            outcomes[str(consumer.get("name"))] += int(consumer.get("pending") or 0)
    for answer in answers[len(keys.OUTCOME_STREAMS) :]:
        outcomes.update(dict.fromkeys(texts(answer), 0))
    ids = sorted(outcomes)
    alive = ask(client, [("EXISTS", keys.bridge(bridge_id)) for bridge_id in ids])
    return [
        BridgeStatus(bridge_id=bridge_id, alive=is_alive == 1, outcomes=outcomes[bridge_id])
        for bridge_id, is_alive in zip(ids, alive, strict=True)
        # One that is gone and has nothing left is forgotten soon.
        if is_alive == 1 or outcomes[bridge_id]
    ]


def _rows(answer: object) -> list[dict[str, Any]]:
    if not isinstance(answer, list):
        return []  # the stream or the group does not exist yet
    return [
        row if isinstance(row, dict) else dict(zip(row[::2], row[1::2], strict=True))
        for row in answer
    ]
