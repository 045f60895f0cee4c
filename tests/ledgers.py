"""Events on their way through the ledger, and worker processes that do nothing but live."""

import itertools
from typing import Any

import redis

from cowpoke import keys
from cowpoke.events import Event
from cowpoke.ledger.ledger import Accepted, Arrival, Ledger, State
from cowpoke.liveness import Lease, Leases
from cowpoke.outcomes import Outcome
from cowpoke.routes import LANES, Lane

HOST = "host-1"
ACTIVATE = "compute.instance.activate"
_numbers = itertools.count(1)


def arrival(event_id: str | None = None, *, remaining_ms: int = 60_000, **fields: Any) -> Arrival:
    """An event of a resource of its own, a minute before its deadline; fields are cattle's."""
    number = next(_numbers)
    event = Event.model_validate(
        {
            "id": event_id or f"event-{number}",
            "name": ACTIVATE,
            "replyTo": f"reply.{number}",
            "resourceType": "instanceHostMap",
            "resourceId": f"1ihm{number}",
            "data": {},
            **fields,
        }
    )
    return Arrival(
        event=event,
        agent="access",
        host_uuid=HOST,
        lane=LANES[event.base_name],
        remaining_ms=remaining_ms,
    )


def accept(ledger: Ledger, *args: Any, **fields: Any) -> str:
    """Put one event into the ledger and give its id."""
    one = arrival(*args, **fields)
    assert ledger.accept([one])[0] in {Accepted.QUEUED, Accepted.RECORDED}
    return one.event.id


def refuse(ledger: Ledger, event: Event, refusal: Outcome) -> Accepted:
    """Offer an event that no host can run to the ledger."""
    one = Arrival(
        event=event,
        agent="access",
        host_uuid=HOST,
        lane=Lane.COMPUTE,
        remaining_ms=event.timeout_ms,
        refusal=refusal,
    )
    (became,) = ledger.accept([one])
    return became


def start_process(client: redis.Redis, boot_id: str = "boot-1", lane: str = "compute") -> str:
    """Let a worker process be alive for the time of a lease; the answer is its boot id."""
    Leases(client).renew(
        Lease(
            boot_id=boot_id,
            host_uuid=HOST,
            lane=lane,
            node=f"{lane}@host",
            hostname="host",
            lock_domain="d",
            version="1",
            started_ms=0,
        )
    )
    return boot_id


def end_process(client: redis.Redis, boot_id: str = "boot-1") -> None:
    """Let a worker process be dead."""
    Leases(client).give_up(HOST, boot_id)


def is_taken_by(ledger, event_id, boot):
    """Whether the ledger says that this process works on the event."""
    return ledger._redis.hmget(keys.event(event_id), "state", "boot") == [State.TAKEN, boot]


def everything(client: redis.Redis) -> str:
    """All of Redis as text; a dump would be compressed, and hide what one looks for."""
    read = {
        "hash": client.hgetall,
        "list": lambda key: client.lrange(key, 0, -1),
        "zset": lambda key: client.zrange(key, 0, -1),
        "set": client.smembers,
        "stream": client.xrange,
        "string": client.get,
    }
    return "".join(f"{key}{read[client.type(key)](key)}" for key in client.scan_iter())
