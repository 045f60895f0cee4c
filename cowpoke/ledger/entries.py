"""Open events as a sweeper reads them from Redis."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cowpoke import keys
from cowpoke.ledger.states import State
from cowpoke.lengths import bounded_int
from cowpoke.offline import Offline
from cowpoke.version import CONTRACT_VERSION

OPEN_STATES = frozenset({State.RECORDED, State.QUEUED, State.CLAIMED})
_TEXTS = ("state", "name", "lane", "queue", "fifo", "boot", "offline")
_COUNTS = (
    *("received_ms", "deadline_ms", "queued_ms", "retry_at_ms", "rejected_ms", "sends", "deaths"),
    "v",
)
#: The fields of the hash that an entry needs, as `entry_of` wants their values.
FIELDS = (*_TEXTS, *_COUNTS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What a sweeper needs to know of an open event."""

    event_id: str
    state: str
    name: str
    lane: str
    queue: str
    fifo: str
    boot: str
    received_ms: int
    deadline_ms: int
    queued_ms: int
    #: 0 where no retry waits.
    retry_at_ms: int = 0
    #: When a worker first could not read it; 0 where none tried in vain.
    rejected_ms: int = 0
    sends: int = 0
    deaths: int = 0
    #: How it ends when its host has no worker until the deadline.
    offline: Offline = Offline.EXPIRE
    #: The contract version of the program that recorded it.
    version: int = CONTRACT_VERSION


def entry_of(host_uuid: str, event_id: str, values: Sequence[Any]) -> Entry | None:
    """Return the entry in a hash; None for what no program of ours wrote for this host.

    A missing counter is 0, a missing version is 1.
    """
    state, name, lane, queue, fifo, boot, offline, *numbers = values
    try:
        counts = dict(zip(_COUNTS, (bounded_int(number) for number in numbers), strict=True))
    except (TypeError, ValueError):
        return None
    if not state or not queue or not counts["deadline_ms"]:
        return None
    if not keys.is_queue_of(host_uuid, str(queue)) or not keys.is_fifo_of(host_uuid, fifo or ""):
        return None
    version = counts.pop("v") or 1
    if state not in OPEN_STATES and version <= CONTRACT_VERSION:
        return None
    return Entry(
        event_id=event_id,
        state=str(state),
        name=str(name or ""),
        lane=str(lane or ""),
        queue=str(queue),
        fifo=str(fifo or ""),
        boot=str(boot or ""),
        offline=Offline.ERROR if offline == Offline.ERROR else Offline.EXPIRE,
        version=version,
        **counts,
    )
