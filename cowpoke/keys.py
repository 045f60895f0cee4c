"""Every Redis key of ours: what it holds, who makes it, who removes it, and when.

All begin with `cowpoke:` so that a shared Redis shows whose they are. Beside them stand the queues
`host.<uuid>[.control|.images]` (lists; Celery consumes them, the ledger pushes to them) and
Celery's own keys (`unacked*`, `_kombu.*`, `*.pidbox`).

| key | type | made by | lifetime |
|---|---|---|---|
| `cowpoke:event:<event id>` | hash | bridge, accept | until answered, then `ANSWERED_TTL_MS` (pings `ANSWERED_PING_TTL_MS`); never longer than `OPEN_TTL_MS` |
| `cowpoke:open:<host uuid>` | zset, id by deadline | bridge, accept | an id leaves it when its event is answered or expired; empty = gone |
| `cowpoke:line:<host uuid>:<type>:<id>` | list of ids | bridge, accept | an id leaves it when its event is over; empty = gone |
| `cowpoke:hosts` | set of host uuids | accept and lease | the sweeper removes a host without leases and open events |
| `cowpoke:seen` | zset, host uuid by Unix time in s | lease | the janitor removes a host that is gone |
| `cowpoke:outcomes` | stream | settle and progress | an outcome leaves it when cattle answered the POST |
| `cowpoke:outcomes.control` | stream | settle, in the lane of pings | as above |
| `cowpoke:lease:<boot id>` | string, JSON | worker process | expires when not renewed (`LEASE_TTL_MS`) |
| `cowpoke:boots:<host uuid>` | set of boot ids | worker process | the sweeper removes ids without a lease |
| `cowpoke:posting:<event id>` | set of bridge ids | bridge, sending progress | that bridge leaves it, else `POSTING_TTL_MS` |
| `cowpoke:started:<host uuid>` | string, ms | settle of an activate | `STARTED_TTL_MS` |
| `cowpoke:bridge:<bridge id>` | string | bridge | expires when not renewed |
| `cowpoke:agent:<hash of an agent's keys>` | string, sealed JSON: its host's uuid | bridge that learned the host | `AGENT_TTL_MS` after a bridge last served the agent |
| `cowpoke:served:<host uuid>` | string, the hash of the agent that a bridge serves for the host | bridge | expires when not renewed (`SERVED_TTL_MS`) |
| `cowpoke:bridge-keys` | hash, bridge id to marks of its keys (JSON) | bridge | a starting bridge removes those of dead ones; `OPEN_TTL_MS` after the last bridge |
"""  # noqa: E501 -- a table row is one line

ANSWERED_TTL_MS = 10 * 60_000
#: cattle re-sends an activation ping with the same id for 60 to 90 s.
ANSWERED_PING_TTL_MS = 2 * 60_000
#: The net under everything: nothing of ours outlives this in Redis, whatever failed.
OPEN_TTL_MS = 24 * 3_600_000

#: A little more than the longest POST to cattle.
POSTING_TTL_MS = 70_000

#: Longer than any pong waits for cattle.
STARTED_TTL_MS = 60_000

#: A bridge that is down for a while still finds the host of its agent.
AGENT_TTL_MS = 90 * 24 * 3_600_000
#: Longer than any restart of a bridge: another agent must not take the host meanwhile.
SERVED_TTL_MS = 120_000

OUTCOMES = "cowpoke:outcomes"
#: A pong must not wait behind thousands of other outcomes.
CONTROL_OUTCOMES = "cowpoke:outcomes.control"
OUTCOME_STREAMS = (OUTCOMES, CONTROL_OUTCOMES)
BRIDGE_KEYS = "cowpoke:bridge-keys"
HOSTS = "cowpoke:hosts"
SEEN = "cowpoke:seen"
EVENT_PREFIX = "cowpoke:event:"
LEASE_PREFIX = "cowpoke:lease:"


def event(event_id: str) -> str:
    """The ledger entry of an event."""
    return f"{EVENT_PREFIX}{event_id}"


def open_events(host_uuid: str) -> str:
    """The ids of a host's events that have no answer yet."""
    return f"cowpoke:open:{host_uuid}"


def line(host_uuid: str, resource: str) -> str:
    """The ids of the events that want one resource, in the order they came."""
    return f"cowpoke:line:{host_uuid}:{resource}"


def lease(boot_id: str) -> str:
    """The sign of life of one worker process."""
    return f"{LEASE_PREFIX}{boot_id}"


def boots(host_uuid: str) -> str:
    """The boot ids of a host's worker processes."""
    return f"cowpoke:boots:{host_uuid}"


def bridge(bridge_id: str) -> str:
    """The sign of life of one bridge."""
    return f"cowpoke:bridge:{bridge_id}"


def started(host_uuid: str) -> str:
    """When the last activate of a host ended well."""
    return f"cowpoke:started:{host_uuid}"


def posting(event_id: str) -> str:
    """The bridges that are sending progress of an event right now."""
    return f"cowpoke:posting:{event_id}"


def agent(agent_hash: str) -> str:
    """The host that a bridge learned for an agent."""
    return f"cowpoke:agent:{agent_hash}"


def served(host_uuid: str) -> str:
    """The agent for which a bridge serves a host."""
    return f"cowpoke:served:{host_uuid}"
