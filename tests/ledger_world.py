"""Who takes part in a ledger, as a model: workers, bridges, cattle, and what must be true of Redis.

The processes here do nothing but keep in memory what real ones would. `View` reads all of Redis in
one call. The rules are in `tests/ledger_rules.py` and `tests/redis/test_ledger_machine.py`.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from cowpoke import keys
from cowpoke.ledger.execution import WorkerLedger
from cowpoke.ledger.outcome_stream import Delivery, OutcomeStream
from cowpoke.ledger.replies import ReplyLedger
from cowpoke.routes import Lane
from tests.ledgers import ACTIVATE, Ledgers, lease

HOSTS = ("host-1", "host-2")
OPEN = ("recorded", "queued", "claimed")
FIRST_START = {"instanceHostMap": {"instance": {"startCount": 0}}}

#: The events that cattle sends, again and again: id -> its host and its fields.
EVENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "a1": ("host-1", {"name": ACTIVATE, "resourceId": "1i1"}),
    "a2": ("host-1", {"name": "compute.instance.deactivate", "resourceId": "1i1"}),
    "a3": ("host-1", {"name": "compute.instance.remove", "resourceId": "1i1"}),
    "b1": ("host-1", {"name": ACTIVATE, "resourceId": "1i2", "data": FIRST_START}),
    "b2": ("host-1", {"name": "compute.instance.force.stop", "resourceId": "1i2", "replyTo": None}),
    "p1": ("host-1", {"name": "ping", "resourceType": "agent", "resourceId": "1a1"}),
    "c1": ("host-2", {"name": ACTIVATE, "resourceId": "1i3", "data": FIRST_START}),
    "c2": ("host-2", {"name": "storage.volume.remove", "resourceId": "1i3"}),
    "p2": ("host-2", {"name": "ping", "resourceType": "agent", "resourceId": "1a2"}),
}
PINGS = frozenset({"p1", "p2"})

#: The table of all our keys, as patterns.
KEY_PATTERNS = [
    re.compile(re.sub(r"<[^>]*>", "[^ ]+", name))
    for row in (keys.__doc__ or "").splitlines()
    if row.startswith("| `cowpoke:")
    for name in re.findall(r"`(cowpoke:[^`]*)`", row.split("|")[1])
]
QUEUES = frozenset(queue for host in HOSTS for queue in keys.queues(host))
#: Keys that may be there for ever, because somebody looks after them; see the table.
OWNED = re.compile(r"cowpoke:(open:.*|workers:.*|outbox:.*|outcomes|outcomes\.control|due|hosts)")

_READ = """
local found = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, content = redis.call('TYPE', key).ok, ''
  if string.find(key, '^cowpoke:event:') then content = redis.call('HGETALL', key)
  elseif kind == 'zset' then content = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif string.find(key, '^host%.') then content = redis.call('LLEN', key)
  elseif string.find(key, 'fifo') then content = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'stream' then
    content = {}
    for i, entry in ipairs(redis.call('XRANGE', key, '-', '+')) do content[i] = entry[2] end
  elseif kind == 'string' then content = redis.call('GET', key)
  end
  found[#found + 1] = {key, redis.call('PTTL', key), content}
end
local time = redis.call('TIME')
return cjson.encode({time[1] * 1000 + math.floor(time[2] / 1000), found})
"""


def _pairs(flat: list[Any]) -> dict[Any, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


@dataclass
class View:
    """All of Redis at one moment."""

    now_ms: int
    ttl_ms: dict[str, int] = field(default_factory=dict)
    #: id -> the hash
    events: dict[str, dict[str, str]] = field(default_factory=dict)
    open_ids: set[str] = field(default_factory=set)
    #: id -> the time of its next check
    due_ms: dict[str, float] = field(default_factory=dict)
    fifos: dict[str, list[str]] = field(default_factory=dict)
    #: Lengths of the queues.
    queued: dict[str, int] = field(default_factory=dict)
    #: (event id, kind, content) in outboxes and streams
    outcomes: list[tuple[str, str, str]] = field(default_factory=list)
    #: Texts of the leases.
    leases: list[str] = field(default_factory=list)

    def is_open(self, event_id: str) -> bool:
        """Whether an event has no answer yet."""
        return self.events.get(event_id, {}).get("state") in OPEN

    def all_open(self) -> list[str]:
        """The ids of all open events."""
        # Sorted: Redis has its own order of keys, and a seed must give the same steps again.
        return [event_id for event_id in sorted(self.events) if self.is_open(event_id)]

    def is_live(self, boot_id: str) -> bool:
        """Whether a lease names a process."""
        return any(f'"{boot_id}"' in text for text in self.leases)


def look(ledgers: Ledgers) -> View:
    """Read all of Redis."""
    now_ms, rows = json.loads(ledgers.client.eval(_READ, 0))
    view = View(now_ms=now_ms)
    for key, ttl_ms, content in rows:
        view.ttl_ms[key] = ttl_ms
        if key.startswith(keys.EVENT_PREFIX):
            view.events[key.rpartition(":")[2]] = _pairs(content)
        elif key.startswith("cowpoke:open:"):
            view.open_ids |= set(_pairs(content))
        elif key == keys.DUE:
            view.due_ms = {m.split(" ")[1]: float(at) for m, at in _pairs(content).items()}
        elif key.startswith("cowpoke:fifo:"):
            view.fifos[key] = content
        elif key in QUEUES:
            view.queued[key] = content
        elif key.startswith(keys.LEASE_PREFIX):
            view.leases.append(content)
        elif key.startswith("cowpoke:out"):
            entries = [_pairs(fields) for fields in content]
            view.outcomes += [(one["id"], one["kind"], one["content"]) for one in entries]
    return view


@dataclass
class Process:
    """A process of a worker: the messages it popped, the events it claimed."""

    boot_id: str
    host: str
    lane: Lane
    ledger: WorkerLedger
    messages: list[str] = field(default_factory=list)
    #: event id -> the token of its claim
    holds: dict[str, str] = field(default_factory=dict)
    #: Events of `holds` that others may have got: its lease was away, or Redis lost data.
    stale: set[str] = field(default_factory=set)


class Worker:
    """A worker of a host, with one process per lane."""

    def __init__(self, ledgers: Ledgers, host: str, number: int) -> None:
        self.ledgers = ledgers
        self.host = host
        self.worker_id = f"w{number}"
        self._starts = 0
        self.processes: dict[Lane, Process] = {}
        for lane in Lane:
            self.start(lane)

    def start(self, lane: Lane) -> None:
        """Start the process of a lane, in place of the one before."""
        self._starts += 1
        boot_id = f"{self.worker_id}.{lane}.{self._starts}"
        ledger = self.ledgers.worker(boot_id, self.host)
        self.processes[lane] = Process(boot_id, self.host, lane, ledger)
        self.renew()

    def renew(self) -> None:
        """Write the lease anew."""
        boot_ids = [process.boot_id for process in self.processes.values()]
        sealer = self.ledgers.keyring.host(self.host)
        self.ledgers.leases.renew(lease(*boot_ids, host=self.host), sealer)

    def prolong(self) -> None:
        """What a worker does every few seconds."""
        for _ in range(4):
            if not self.ledgers.leases.prolong(self.host, self.worker_id):
                self.renew()


class Bridge:
    """A bridge: what it read of the streams, and the progress that is on its way to cattle."""

    def __init__(self, ledgers: Ledgers, number: int) -> None:
        self.bridge_id = f"b{number}"
        self.replies = ReplyLedger(ledgers.client, self.bridge_id)
        self.streams = {
            key: OutcomeStream(ledgers.client, self.bridge_id, key=key, missed_after_ms=0)
            for key in keys.OUTCOME_STREAMS
        }
        #: (stream, delivery), the oldest first
        self.in_hand: list[tuple[str, Delivery]] = []
        self.posting: list[tuple[str, Delivery]] = []
        self.set_up()

    def set_up(self) -> None:
        """Make what a bridge needs in Redis."""
        for stream in self.streams.values():
            stream.set_up()

    def take(self, key: str, deliveries: list[Delivery]) -> None:
        """Hold what was read, once."""
        held = {(stream, one.outcome_id) for stream, one in [*self.in_hand, *self.posting]}
        self.in_hand += [(key, one) for one in deliveries if (key, one.outcome_id) not in held]

    def read(self, most: int) -> None:
        """Read new outcomes."""
        for key, stream in self.streams.items():
            self.take(key, stream.read(most, 0))

    def ids_in_hand(self, key: str) -> list[str]:
        """The ids in a stream of what this bridge holds."""
        held = [*self.in_hand, *self.posting]
        return [one.outcome_id for stream, one in held if stream == key]

    def finish(self, key: str, delivery: Delivery) -> None:
        """An outcome is over."""
        self.streams[key].done([delivery.outcome_id])


@dataclass
class Cattle:
    """What cattle got."""

    #: Final outcomes, by their sealed content.
    finals: set[str] = field(default_factory=set)
    #: Events whose final reply arrived, and that were not sent anew since.
    answered: set[str] = field(default_factory=set)
