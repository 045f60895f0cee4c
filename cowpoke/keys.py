"""All Redis keys: content, writer and lifetime.

All begin with `cowpoke:` so that a shared Redis shows whose they are. Keys that a worker needs carry
its host, so that the Redis user of a host can be kept to them. Beside them stand the queues
`host.<uuid>[.control|.images]` (lists; Celery consumes them, the ledger pushes to them) and
answers to remote control (`<uuid>.reply.celery.pidbox`, lists, one minute). Lanes use no other key of
kombu's.

| key | type | written by | lifetime |
|---|---|---|---|
| `cowpoke:event:<host uuid>:<event id>` | hash | bridge, accept; workers | until answered, then `ANSWERED_TTL_MS` (pings `ANSWERED_PING_TTL_MS`); never longer than `OPEN_TTL_MS` after its deadline |
| `cowpoke:open:<host uuid>` | zset, id by deadline | bridge, accept; workers | an id leaves it when its event is answered or expired; empty = gone |
| `cowpoke:fifo:<host uuid>:<type>:<id>` | list of ids | bridge, accept; workers | an id leaves it when its event is over; empty = gone |
| `cowpoke:outbox:<host uuid>` | stream | complete, progress and fail | a bridge moves its entries to the streams of outcomes; empty = gone |
| `cowpoke:lease:<host uuid>:<worker id>` | string, JSON | worker | expires when not renewed (`LEASE_TTL_MS`) |
| `cowpoke:figures:<host uuid>:<worker id>` | hash, lane to sealed JSON: the Engine, calls to it, pulls | worker | `FIGURES_TTL_MS` after a lane last wrote or renewed it |
| `cowpoke:workers:<host uuid>` | set of worker ids | worker | whoever reads it removes ids without a lease |
| `cowpoke:started:<host uuid>` | string, ms | complete of an activate | `STARTED_TTL_MS` |
| `cowpoke:dead:<host uuid>` | list, JSON | worker, for messages nobody can read | `DEAD_MOST` entries, `DEAD_TTL_MS` after the last one |
| `cowpoke:wake:<host uuid>:<id>` | list | a lane that stops, to end its own BRPOP | seconds |
| `cowpoke:container-events:<host uuid>` | stream | worker that follows the Engine's events | a bridge removes an entry when it is over; at most `CONTAINER_EVENTS_MOST`, and `CONTAINER_EVENTS_TTL_MS` after the last one |
| `cowpoke:keys:<host uuid>` | hash, bridge id to sealed JSON | bridge | `OPEN_TTL_MS` after the last bridge |
| `cowpoke:outcomes`, `cowpoke:outcomes.control` | streams | bridge | an outcome leaves when cattle answered the POST |
| `cowpoke:due` | zset, `<host uuid> <event id>` by the time of its next check | bridge | the sweeper removes events that are over |
| `cowpoke:hosts` | set of host uuids | bridge, accept | the sweeper removes a host without open events |
| `cowpoke:alive` | zset, `<host uuid> <worker id>` by the time its lease may end | bridge | a bridge removes workers without a lease |
| `cowpoke:seen` | zset, host uuid by Unix time in s | bridge | a bridge removes a host that is gone for good |
| `cowpoke:posting:<event id>` | set of bridge ids | bridge, sending progress | that bridge leaves it, else `POSTING_TTL_MS` |
| `cowpoke:bridge:<bridge id>` | string, sealed JSON: the fingerprints of its keys, what it is, its last errors | bridge | expires when not renewed |
| `cowpoke:websockets:<bridge id>` | hash, host uuid or `agent:<hash>` to sealed JSON: the websocket of an agent | bridge | `WEBSOCKETS_TTL_MS` after the bridge last renewed it |
| `cowpoke:agent:<hash of an agent's keys>` | string, sealed JSON: its host's uuid | bridge that learned the host | `AGENT_TTL_MS` after a bridge last served the agent |
| `cowpoke:served:<host uuid>` | string, the hash of the agent that a bridge serves for the host | bridge | expires when not renewed (`SERVED_TTL_MS`) |
| `cowpoke:joined:<host uuid>` | string, sealed JSON: the API keys of the host's agent | `cowpoke join` on the host; `cowpoke leave` deletes it | no end |
| `cowpoke:removed:<host uuid>` | string, sealed JSON: cattle does not know the host's agent any more | bridge | `REMOVED_TTL_MS` after a bridge last asked cattle |
| `cowpoke:reporting:<host uuid>` | string, bridge id | bridge that POSTs the container events of the host | until none is left, else `REPORTING_TTL_MS` |
| `cowpoke:dead` | list, JSON | bridge, for outcomes it cannot read | as above |

The channel `cowpoke:doorbell:<host uuid>` tells bridges what of a host changed: `outbox`, `lease`,
`joined` or `container-events`. A message that gets lost costs the time to the next look at all
hosts.
"""  # noqa: E501 -- a table row is one line

import re

from cowpoke.routes import Lane, queue_for

ANSWERED_TTL_MS = 10 * 60_000
#: An answered ping keeps no content; it only stops a second frame of the same id.
ANSWERED_PING_TTL_MS = 30_000
#: Upper limit of the lifetime of every key after its deadline.
OPEN_TTL_MS = 24 * 3_600_000

#: A little more than the longest POST to cattle.
POSTING_TTL_MS = 70_000

#: Longer than any pong waits for cattle.
STARTED_TTL_MS = 60_000

#: A bridge that is down for a while still finds the host of its agent.
AGENT_TTL_MS = 90 * 24 * 3_600_000
#: Longer than any restart of a bridge: another agent must not take the host meanwhile.
SERVED_TTL_MS = 120_000

#: A little more than two renewals: a dead bridge must not be shown for long.
WEBSOCKETS_TTL_MS = 12_000
#: Three renewals of a lane at rest.
FIGURES_TTL_MS = 90_000

#: Three times as long as a bridge waits before it tries such an agent again.
REMOVED_TTL_MS = 30 * 60_000

#: Dead letters are for people: the last ones of each host, for a while.
DEAD_MOST = 100
DEAD_TTL_MS = 7 * 24 * 3_600_000

#: Container events are worth nothing after a minute.
CONTAINER_EVENTS_TTL_MS = 60_000
CONTAINER_EVENTS_MOST = 1_000
#: Longer than the longest POST of a container event.
REPORTING_TTL_MS = 30_000

PREFIX = "cowpoke:"
OUTCOMES = "cowpoke:outcomes"
#: A pong must not wait behind thousands of other outcomes.
CONTROL_OUTCOMES = "cowpoke:outcomes.control"
OUTCOME_STREAMS = (OUTCOMES, CONTROL_OUTCOMES)
DUE = "cowpoke:due"
HOSTS = "cowpoke:hosts"
SEEN = "cowpoke:seen"
ALIVE = "cowpoke:alive"
DOORBELL_PREFIX = "cowpoke:doorbell:"
BRIDGE_DEAD_LETTERS = "cowpoke:dead"
EVENT_PREFIX = "cowpoke:event:"
LEASE_PREFIX = "cowpoke:lease:"
OUTBOX_PREFIX = "cowpoke:outbox:"
BRIDGE_PREFIX = "cowpoke:bridge:"
AGENT_PREFIX = "cowpoke:agent:"
JOINED_PREFIX = "cowpoke:joined:"


def event(host_uuid: str, event_id: str) -> str:
    """The ledger entry of an event."""
    return f"{EVENT_PREFIX}{host_uuid}:{event_id}"


def open_events(host_uuid: str) -> str:
    """The ids of a host's events that have no answer yet."""
    return f"cowpoke:open:{host_uuid}"


def fifo(host_uuid: str, resource: str) -> str:
    """The ids of the events for one resource, in the order they came."""
    return f"cowpoke:fifo:{host_uuid}:{resource}"


def is_fifo_of(host_uuid: str, name: str) -> bool:
    """Whether an event of a host may have this FIFO; empty for an event without one."""
    return not name or name.startswith(fifo(host_uuid, ""))


def queues(host_uuid: str) -> list[str]:
    """The queues of a host: one list of Celery messages per lane."""
    return [queue_for(host_uuid, lane) for lane in Lane]


def is_queue_of(host_uuid: str, name: str) -> bool:
    """Whether this may be a queue of a host, of a lane that a later version has too."""
    queue = queue_for(host_uuid, Lane.COMPUTE)
    return name == queue or name.startswith(f"{queue}.")


def outbox(host_uuid: str) -> str:
    """The outcomes of a host that no bridge has collected yet."""
    return f"{OUTBOX_PREFIX}{host_uuid}"


def member(host_uuid: str, name: str) -> str:
    """The name of an event in `DUE`, or of a worker in `ALIVE`; a host's uuid holds no blank."""
    return f"{host_uuid} {name}"


def doorbell(host_uuid: str) -> str:
    """The channel on which bridges hear of a host."""
    return f"{DOORBELL_PREFIX}{host_uuid}"


def lease(host_uuid: str, worker_id: str) -> str:
    """The sign of life of one worker."""
    return f"{LEASE_PREFIX}{host_uuid}:{worker_id}"


def workers(host_uuid: str) -> str:
    """The ids of a host's workers."""
    return f"cowpoke:workers:{host_uuid}"


def host_keys(host_uuid: str) -> str:
    """What the bridges say of their keys for a host."""
    return f"cowpoke:keys:{host_uuid}"


def wake(host_uuid: str, wait_id: str) -> str:
    """Return the key with which a lane ends its own wait for messages."""
    return f"cowpoke:wake:{host_uuid}:{wait_id}"


def dead_letters(host_uuid: str) -> str:
    """The messages of a host's queues that nobody can read."""
    return f"cowpoke:dead:{host_uuid}"


def container_events(host_uuid: str) -> str:
    """What happened to the containers of a host, for cattle."""
    return f"cowpoke:container-events:{host_uuid}"


def reporting(host_uuid: str) -> str:
    """The bridge that POSTs the container events of a host."""
    return f"cowpoke:reporting:{host_uuid}"


def bridge(bridge_id: str) -> str:
    """The sign of life of one bridge."""
    return f"{BRIDGE_PREFIX}{bridge_id}"


def websockets(bridge_id: str) -> str:
    """What a bridge reports of the websockets of its agents."""
    return f"cowpoke:websockets:{bridge_id}"


def figures(host_uuid: str, worker_id: str) -> str:
    """What the lanes of a worker count."""
    return f"cowpoke:figures:{host_uuid}:{worker_id}"


def started(host_uuid: str) -> str:
    """When the last activate of a host ended well."""
    return f"cowpoke:started:{host_uuid}"


def posting(event_id: str) -> str:
    """The bridges that are sending progress of an event right now."""
    return f"cowpoke:posting:{event_id}"


def agent(agent_hash: str) -> str:
    """The host that a bridge learned for an agent."""
    return f"{AGENT_PREFIX}{agent_hash}"


def joined(host_uuid: str) -> str:
    """The API keys that a host joined with."""
    return f"{JOINED_PREFIX}{host_uuid}"


def removed(host_uuid: str) -> str:
    """That cattle does not know the agent of a host any more."""
    return f"cowpoke:removed:{host_uuid}"


def served(host_uuid: str) -> str:
    """The agent for which a bridge serves a host."""
    return f"cowpoke:served:{host_uuid}"


#: No character of it has a meaning in a key pattern of Redis, in our keys or in a queue's name.
_HOST_UUID = re.compile(r"[A-Za-z0-9._-]{1,255}")
#: `host.<uuid>` with such an end is a queue of another host, or looks like a mailbox of Celery's.
RESERVED_ENDS = (*(f".{lane}" for lane in Lane), ".celery.pidbox")


def is_host_uuid(text: object) -> bool:
    """Return whether a text can be a host's uuid."""
    return (
        isinstance(text, str)
        and _HOST_UUID.fullmatch(text) is not None
        and not text.endswith(RESERVED_ENDS)
    )
