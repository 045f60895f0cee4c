"""What `read_overview` returns: Redis, bridges, hosts, and the problems found in them.

All times are in ms since 1970 by the Redis server's clock, ages in seconds. A number is None where
its key contains something else than expected.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cowpoke.bridge_lease import BridgeError, WebsocketReport
from cowpoke.figures import EngineState, LaneFigures
from cowpoke.lease import Lease
from cowpoke.overview.conditions import Problem


@dataclass(frozen=True, kw_only=True, slots=True)
class RedisView:
    """The Redis server, and what it keeps for all hosts."""

    version: str
    now_ms: int
    uptime_s: int
    role: str
    clients: int
    used_memory_bytes: int
    #: 0 without a limit.
    max_memory_bytes: int
    memory_policy: str
    #: Whether it keeps an append-only file.
    appends: bool
    #: Why it takes no writes; empty when it does.
    refuses_writes: str = ""
    #: Outcomes that wait for cattle's acknowledgement, by stream.
    outcomes: Mapping[str, int | None] = field(default_factory=dict)
    #: How long the oldest of them has waited; None without one.
    oldest_outcome_s: float | None = None
    #: Those of the bridges; each host has its own.
    dead_letters: int | None = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class BridgeView:
    """A bridge that lives, or that outcomes are still assigned to."""

    bridge_id: str
    alive: bool
    #: Outcomes it has read and that cattle did not acknowledge yet.
    outcomes: int = 0
    #: Whether QUEUE_KEY opens its lease; the fields below are empty if not.
    readable: bool = True
    fingerprints: tuple[str, ...] = ()
    version: str = ""
    hostname: str = ""
    #: The url of cattle, without credentials.
    server: str = ""
    started_ms: int = 0
    #: The newest first.
    errors: tuple[BridgeError, ...] = ()
    websockets: tuple[WebsocketReport, ...] = ()

    def count(self, state: str) -> int:
        """Return the number of its agents whose websocket is in a state."""
        return sum(one.state == state for one in self.websockets)


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueView:
    """The queue of one lane of a host."""

    #: Messages that no slot has taken yet.
    length: int | None = 0
    #: How long the oldest of them has waited; None without one, or if that is not known.
    oldest_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EventView:
    """One open event of a host."""

    event_id: str
    name: str
    state: str
    lane: str
    age_s: float
    #: Negative when its deadline is over.
    left_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerView:
    """A live worker; `lease` is None when QUEUE_KEY does not open it."""

    worker_id: str
    #: How long its lease lasts if it is not renewed.
    lease_ms: int
    lease: Lease | None = None
    #: What its lanes count, by lane; empty when there is nothing readable.
    figures: Mapping[str, LaneFigures] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentView:
    """The agent of a host that joined, or that cattle does not know any more."""

    #: Whether the host joined; else its agent is in the settings of a bridge.
    joined: bool
    #: None where the note cannot be opened, or is in settings.
    access_key: str | None = None
    cattle_url: str | None = None
    #: When the host got its keys, by its own clock.
    joined_ms: int | None = None
    #: Whether a bridge serves the host with these keys now.
    served: bool = False
    #: Since when cattle refuses them; None while it does not.
    removed_since_ms: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class HostView:
    """One host."""

    host_uuid: str
    #: Empty when no worker says it.
    hostname: str = ""
    workers: tuple[WorkerView, ...] = ()
    #: As the worker that watches it says; None if no worker does.
    engine: EngineState | None = None
    #: By lane.
    queues: Mapping[str, QueueView] = field(default_factory=dict)
    #: Events without an answer; of more than `MOST_STATES` only that many are in `open_states`.
    open_events: int | None = 0
    open_states: Mapping[str, int] = field(default_factory=dict)
    oldest_event: EventView | None = None
    #: Outcomes that no bridge has collected.
    outbox: int | None = 0
    dead_letters: int | None = 0
    #: None for a host whose agent is in the settings of a bridge, if it has one.
    agent: AgentView | None = None
    #: What each live bridge says of the websocket of its agent; the open ones first.
    websockets: tuple[WebsocketReport, ...] = ()
    #: When a bridge last noted a live worker; up to an hour too early. None if no bridge did.
    last_seen_ms: int | None = None

    @property
    def is_alive(self) -> bool:
        """Whether a worker of the host lives."""
        return bool(self.workers)

    @property
    def websocket(self) -> WebsocketReport | None:
        """The websocket of its agent: an open one if there is one."""
        return next(iter(self.websockets), None)

    def lanes(self) -> dict[str, int]:
        """Return the number of live processes that take events, by lane."""
        counts = dict.fromkeys(self.queues, 0)
        for worker in self.workers:
            for process in worker.lease.lanes if worker.lease else ():
                counts[process.lane] = counts.get(process.lane, 0) + process.consumes
        return counts


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """What goes on in one Redis."""

    redis: RedisView
    bridges: tuple[BridgeView, ...] = ()
    hosts: tuple[HostView, ...] = ()
    #: Those that need a person first.
    problems: tuple[Problem, ...] = ()

    @property
    def needs_person(self) -> bool:
        """Whether a problem needs a person; `cowpoke status` exits with 1 then."""
        return any(problem.needs_person for problem in self.problems)
