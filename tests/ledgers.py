"""All sides of the ledger on one Redis: bridges, worker processes that only live, sweepers."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis
from cryptography.fernet import Fernet

from cowpoke import keys
from cowpoke.clock import Clock
from cowpoke.envelopes import opened_envelope, opened_outcome
from cowpoke.events import Event
from cowpoke.lease import LaneProcess, Lease
from cowpoke.ledger.due import BridgeSweeper
from cowpoke.ledger.execution import WorkerLedger
from cowpoke.ledger.intake import Arrival, IntakeLedger
from cowpoke.ledger.outbox import Outboxes
from cowpoke.ledger.recovery import RecoveryLedger
from cowpoke.ledger.states import Accepted, State
from cowpoke.liveness import Leases
from cowpoke.messages import event_id_of
from cowpoke.outcomes import Outcome
from cowpoke.routes import LANES, Lane
from cowpoke.seal import ClusterKeyring

HOST = "host-1"
QUEUE = f"host.{HOST}"
ACTIVATE = "compute.instance.activate"
_HOUR_MS = 3_600_000
_numbers = itertools.count(1)

# All times in Redis move into the past, so that for every program time has passed.
_PASS_TIME = """
local by_ms = tonumber(ARGV[1])
for _, key in ipairs(redis.call('KEYS', 'cowpoke:*')) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'hash' and string.find(key, '^cowpoke:event:') then
    local fields = redis.call('HGETALL', key)
    for i = 1, #fields, 2 do
      local is_time = string.find(fields[i], '_ms$') and fields[i] ~= 'timeout_ms'
      if is_time and (tonumber(fields[i + 1]) or 0) > 0 then
        redis.call('HINCRBY', key, fields[i], -by_ms)
      end
    end
  elseif key == 'cowpoke:due' or string.find(key, '^cowpoke:open:') then
    for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
      redis.call('ZINCRBY', key, -by_ms, member)
    end
  elseif string.find(key, '^cowpoke:started:') then
    redis.call('SET', key, redis.call('GET', key) - by_ms, 'KEEPTTL')
  end
  local left_ms = redis.call('PTTL', key)
  if left_ms >= 0 and left_ms <= by_ms then
    redis.call('DEL', key)
  elseif left_ms > 0 then
    redis.call('PEXPIRE', key, left_ms - by_ms)
  end
end
"""


class GrownSweeper(BridgeSweeper):
    """A sweeper of a Redis that is up for as long as a test says."""

    up_ms = _HOUR_MS

    def _up_ms(self, server: Mapping[str, Any]) -> int:  # noqa: ARG002 -- the real server is young
        return self.up_ms


@dataclass
class Ledgers:
    """What the programs have of one Redis."""

    client: redis.Redis
    keyring: ClusterKeyring

    def __post_init__(self):
        self.clock = Clock(self.client)
        self.intake = IntakeLedger(self.client, self.keyring, self.clock)
        self.recovery = RecoveryLedger(self.client, self.keyring)
        self.sweeper = GrownSweeper(self.client, self.keyring, self.clock)
        self.outboxes = Outboxes(self.client)
        self.leases = Leases(self.client)

    def worker(self, boot_id: str = "w1.compute.1", host: str = HOST) -> WorkerLedger:
        """Return the side of a worker process, which need not live."""
        sealer = self.keyring.host(host)
        return WorkerLedger(self.client, sealer, self.clock, host_uuid=host, boot_id=boot_id)

    def accept(self, event_id: str | None = None, **fields: Any) -> str:
        """Put one event into the ledger and return its id."""
        one = arrival(event_id, **fields)
        assert self.intake.accept([one])[0] in {Accepted.QUEUED, Accepted.RECORDED}
        return one.event.id

    def refuse(self, event: Event, refusal: Outcome) -> Accepted | Exception:
        """Offer an event that no host can run."""
        one = Arrival(
            event=event,
            agent="access",
            host_uuid=HOST,
            lane=Lane.COMPUTE,
            remaining_ms=event.timeout_ms,
            refusal=refusal,
        )
        (became,) = self.intake.accept([one])
        return became

    def start_process(self, boot_id: str = "w1.compute.1", host: str = HOST) -> WorkerLedger:
        """Let a worker with this one process live for the time of a lease."""
        self.leases.renew(lease(boot_id, host=host), self.keyring.host(host))
        return self.worker(boot_id, host)

    def end_process(self, boot_id: str = "w1.compute.1", host: str = HOST) -> None:
        """Let the worker of a process be dead."""
        self.leases.give_up(host, boot_id.partition(".")[0])

    def entries(self, host: str = HOST):
        """Return the open events of a host by id."""
        return {entry.event_id: entry for entry in self.recovery.open_entries(host)}

    def queued(self, queue: str = QUEUE) -> list[str]:
        """Return the ids of the events in a queue, the oldest first."""
        return [event_id_of(text) for text in reversed(self.client.lrange(queue, 0, -1))]

    def state(self, event_id: str, host: str = HOST) -> str | None:
        """Return where an event is."""
        return self.client.hget(keys.event(host, event_id), "state")

    def is_claimed_by(self, event_id: str, boot_id: str) -> bool:
        """Whether the ledger says that this process works on the event."""
        found = self.client.hmget(keys.event(HOST, event_id), "state", "boot")
        return found == [State.CLAIMED, boot_id]

    def sent(self, host: str = HOST) -> list[tuple[str, Outcome]]:
        """Collect the outcomes of a host; all on their way to cattle, with their events."""
        while self.outboxes.collect(host):
            pass
        found = []
        for stream in keys.OUTCOME_STREAMS:
            for _, fields in self.client.xrange(stream):
                assert fields["host"] == host
                envelope = opened_envelope(
                    self.keyring.bridge, fields["envelope"], host_uuid=fields["host"]
                )
                opened = opened_outcome(
                    self.keyring.host(fields["host"]),
                    fields["content"],
                    event_id=envelope.event_id,
                    kind=fields["kind"],
                )
                found.append((envelope.event_id, opened.outcome))
        return found

    def pass_time(self, by_ms: int) -> None:
        """Let time pass for everything in Redis."""
        if by_ms:
            self.client.eval(_PASS_TIME, 0, by_ms)

    def set_back(self, event_id: str, by_ms: int, *names: str) -> None:
        """Move times of one event into the past."""
        for name in names or ("received_ms", "deadline_ms", "queued_ms"):
            self.client.hincrby(keys.event(HOST, event_id), name, -by_ms)


def make_ledgers(client: redis.Redis) -> Ledgers:
    """Return all sides of the ledger, with a key of their own."""
    return Ledgers(client, ClusterKeyring(Fernet.generate_key().decode()))


def arrival(
    event_id: str | None = None, *, remaining_ms: int = 60_000, host: str = HOST, **fields: Any
) -> Arrival:
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
        host_uuid=host,
        lane=LANES[event.base_name],
        remaining_ms=remaining_ms,
    )


def lease(*boot_ids: str, host: str = HOST, **fields: Any) -> Lease:
    """The lease of a worker with these processes; boot ids are `<worker>.<lane>.<number>`."""
    processes = tuple(
        LaneProcess(lane=boot_id.split(".")[1], boot_id=boot_id, node=f"{boot_id}@host")
        for boot_id in boot_ids
    )
    return Lease(
        worker_id=boot_ids[0].partition(".")[0],
        host_uuid=host,
        lanes=processes,
        hostname="host",
        lock_domain="d",
        version="1",
        **fields,
    )


def everything(client: redis.Redis) -> str:
    """All of Redis as text; a dump would be compressed, and hide what one looks for."""
    read = {
        "hash": client.hgetall,
        "list": lambda key: client.lrange(key, 0, -1),
        "zset": lambda key: client.zrange(key, 0, -1),
        "set": client.smembers,
        "stream": client.xrange,
        "string": client.get,
        "none": lambda _: "",  # it has gone since
    }
    return "".join(f"{key}{read[client.type(key)](key)}" for key in client.scan_iter())
