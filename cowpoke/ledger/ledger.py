"""The ledger: one entry per event, from its receipt to its one final answer.

The states and every step between them are drawn and done in `ledger.lua`; each method here is one
call of it, atomic in Redis. Redis is the shared memory of bridge and workers and nobody's truth:
cattle's resources and the Engine's containers can rebuild whatever is lost with it.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import redis

from cowpoke import keys
from cowpoke.clock import Clock
from cowpoke.envelopes import envelope, opened_event, sealed_event, sealed_outcome
from cowpoke.events import Event
from cowpoke.lengths import OUTCOME_CHARS
from cowpoke.log import logger
from cowpoke.messages import task_message
from cowpoke.offline import Offline, offline_end
from cowpoke.outcomes import Outcome, error
from cowpoke.routes import ONE_WAY_REPLY_TO, Lane, queue_for
from cowpoke.seal import Sealer

_log = logger(__name__)

_SCRIPT = (Path(__file__).parent / "ledger.lua").read_text(encoding="utf-8")


class State(StrEnum):
    """Where an event is; the drawing stands in `ledger.lua`."""

    RECORDED = "recorded"
    QUEUED = "queued"
    TAKEN = "taken"
    ANSWERED = "answered"
    EXPIRED = "expired"


class Accepted(StrEnum):
    """What became of an event that was offered to the ledger."""

    QUEUED = "queued"
    #: It waits for an earlier event of the same resource.
    RECORDED = "recorded"
    #: The same id is being worked on: only its deadline moved.
    KNOWN = "known"
    #: The same id was answered before: the stored reply goes out again.
    ANSWERED = "answered"
    #: It was answered with an error at once.
    REFUSED = "refused"


class Verdict(StrEnum):
    """The answer to a worker that wants to take an event."""

    TAKEN = "taken"
    #: Another live process has it: this is a second copy of the message.
    BUSY = "busy"
    #: It is answered or expired.
    OVER = "over"
    #: Its deadline passed while it waited.
    EXPIRED = "expired"
    #: No such entry: Redis lost it, or the message is forged.
    GONE = "gone"


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """An event on its way into the ledger."""

    event: Event
    #: The access key of the agent it came for; its reply goes out with the same key.
    agent: str
    host_uuid: str
    lane: Lane
    #: How much of `timeoutMillis` is left: what it waited in the bridge's memory is gone.
    remaining_ms: int
    #: The error that answers it at once, when no host can run it.
    refusal: Outcome | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Take:
    """A taken event with its content and the time left; only the verdict when not taken."""

    verdict: Verdict
    payload: str = ""
    envelope: str = ""
    remaining_ms: int = 0
    attempts: int = 0
    #: How long cattle waits anew after each progress.
    timeout_ms: int = 0
    #: By the Redis server's clock.
    taken_ms: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What a sweeper needs to know of an open event."""

    event_id: str
    state: str
    name: str
    lane: str
    queue: str
    line: str
    boot: str
    received_ms: int
    deadline_ms: int
    queued_ms: int
    retry_at_ms: int
    sends: int
    deaths: int
    #: How it ends when its host has no worker until the deadline.
    offline: Offline = Offline.EXPIRE


class Ledger:
    """The ledger of one Redis."""

    def __init__(self, client: "redis.Redis", sealer: Sealer) -> None:
        self._redis = client
        self._sealer = sealer
        self.clock = Clock(client)
        self._script = client.register_script(_SCRIPT)

    # -- by the bridge -------------------------------------------------------------------------

    def accept(self, arrivals: Sequence[Arrival]) -> list[Accepted]:
        """Record and queue events, or refuse them: all in one round trip, each in one step."""
        if len(arrivals) == 1:
            # A pipeline first asks Redis whether it knows the script: one more round trip.
            (one,) = arrivals
            return [Accepted(self._step(one.event.id, *self._accept_args(one)))]
        with self._redis.pipeline(transaction=False) as pipe:
            for arrival in arrivals:
                self._script(
                    keys=[keys.event(arrival.event.id)],
                    args=self._accept_args(arrival),
                    client=pipe,
                )
            return [Accepted(answer) for answer in pipe.execute()]

    def _accept_args(self, arrival: Arrival) -> list[str | int]:
        if arrival.refusal is not None:
            return self._refuse_args(arrival.event, arrival.agent, arrival.refusal)
        event, host_uuid, lane = arrival.event, arrival.host_uuid, arrival.lane
        queue = queue_for(host_uuid, lane)
        return [
            "accept",
            event.id,
            envelope(event),
            arrival.agent,
            host_uuid,
            lane,
            queue,
            _line(event, host_uuid, lane),
            _reply_to(event),
            max(arrival.remaining_ms, 0),
            sealed_event(self._sealer, event, host_uuid, self.clock.now_ms()),
            task_message(
                event_id=event.id,
                task_name=event.base_name,
                queue=queue,
                resource=event.resource,
            ),
            keys.OPEN_TTL_MS,
            event.timeout_ms,
            offline_end(event),
        ]

    def _refuse_args(self, event: Event, agent: str, refusal: Outcome) -> list[str | int]:
        return [
            "refuse",
            event.id,
            envelope(event),
            agent,
            _reply_to(event),
            event.timeout_ms,
            self._sealed(event.id, refusal),
            keys.ANSWERED_TTL_MS,
        ]

    # -- by a worker process -------------------------------------------------------------------

    def take(self, event_id: str, boot_id: str, *, token: str | None = None) -> Take:
        """Take an event for this process; exactly one live process gets it.

        Who asks again after a RedisError gives the same `token`: the first try may have taken it.
        """
        args = event_id, boot_id, keys.ANSWERED_TTL_MS, token or uuid.uuid4().hex
        verdict, *rest = self._step(event_id, "take", *args, *self.clock.readings_ms())
        if verdict != Verdict.TAKEN:
            return Take(verdict=Verdict(verdict))
        payload, echoed, remaining_ms, attempts, taken_ms, timeout_ms = rest
        return Take(
            verdict=Verdict.TAKEN,
            payload=payload,
            envelope=echoed,
            remaining_ms=int(remaining_ms),
            attempts=int(attempts),
            timeout_ms=int(timeout_ms),
            taken_ms=int(taken_ms),
        )

    def open_event(self, event_id: str, host_uuid: str, take: Take) -> Event:
        """The taken event, unsealed; what lies beside the sealed text in clear is not trusted.

        Errors: SealBrokenError when it was not sealed with one of our keys, as another event, for
        another host, or long ago.
        """
        # Sealed before a jump of the server's clock, it is old only by the clocks of both times.
        now_ms = min([take.taken_ms, *self.clock.known_ms()])
        return opened_event(
            self._sealer, take.payload, event_id=event_id, host_uuid=host_uuid, now_ms=now_ms
        )

    def release(
        self, event_id: str, boot_id: str, *, delay_ms: int, lane: Lane, queue: str
    ) -> bool:
        """Put a taken event back before Celery retries it; false when it is not ours any more."""
        return bool(self._step(event_id, "release", boot_id, delay_ms, lane, queue))

    def give_back(self, event_id: str, boot_id: str) -> bool:
        """Queue a taken event for another process, since this one was told to stop."""
        return bool(self._step(event_id, "give_back", boot_id))

    def settle(self, event_id: str, outcome: Outcome) -> bool:
        """Store the one final outcome and send it on its way; false when there is one already."""
        ttls_ms = keys.ANSWERED_TTL_MS, keys.ANSWERED_PING_TTL_MS, keys.STARTED_TTL_MS
        content = self._sealed(event_id, outcome)
        if len(content) > OUTCOME_CHARS:
            outcome = error(
                "reply-too-large",
                f"the reply has {len(content) >> 20} MiB, which cattle cannot store; the work "
                "itself was done",
            )
            content = self._sealed(event_id, outcome)
        return bool(self._step(event_id, "settle", event_id, outcome.kind, content, *ttls_ms))

    def progress(self, event_id: str, outcome: Outcome) -> bool:
        """Send progress on its way; false when the event is not being worked on.

        Each progress moves the event's deadline, because cattle waits its whole timeout anew.
        """
        content = self._sealed(event_id, outcome)
        return bool(self._step(event_id, "progress", event_id, content))

    # -- by the bridge ---------------------------------------------------------------------------

    def list_is_current(self, ping_id: str) -> bool:
        """Whether no activate of the host has ended well since a ping was taken.

        cattle destroys what it knows and a list of containers lacks: one that was made after the
        list and told of before it would go.
        """
        host_uuid, taken_ms = self._redis.hmget(keys.event(ping_id), "host", "taken_ms")
        if host_uuid is None or taken_ms is None:
            return False
        started_ms = self._redis.get(keys.started(str(host_uuid)))
        if started_ms is None:
            return True
        ahead_ms = int(started_ms) - int(taken_ms)
        # The server's clock was set back if it is far ahead: no pong is under way that long.
        return ahead_ms < 0 or ahead_ms > keys.STARTED_TTL_MS

    # About progress: never after the final reply, whichever bridge sends which.

    def begin_progress(self, event_id: str, bridge_id: str) -> bool:
        """Reserve the sending of progress; false when the final outcome is there already."""
        # Reserved first, looked second: a final outcome that comes in between sees the reservation.
        with self._redis.pipeline() as pipe:
            pipe.sadd(keys.posting(event_id), bridge_id)
            pipe.pexpire(keys.posting(event_id), keys.POSTING_TTL_MS)
            pipe.execute()
        if self._redis.hget(keys.event(event_id), "state") == State.TAKEN:
            return True
        self.end_progress(event_id, bridge_id)
        return False

    def end_progress(self, event_id: str, bridge_id: str) -> None:
        """The progress was sent, or given up."""
        self._redis.srem(keys.posting(event_id), bridge_id)

    def progress_underway(self, event_id: str, bridge_id: str) -> bool:
        """Whether another live bridge is sending progress of this event right now."""
        others = self._redis.smembers(keys.posting(event_id)) - {bridge_id}
        return bool(others) and bool(self._redis.exists(*map(keys.bridge, map(str, others))))

    # -- by a sweeper --------------------------------------------------------------------------

    def open_entries(self, host_uuid: str) -> list[Entry]:
        """Every event of a host that has no answer yet, the earliest deadline first."""
        ids = [str(i) for i in self._redis.zrange(keys.open_events(host_uuid), 0, -1)]
        names = ("state", "envelope", "lane", "queue", "line", "boot", "offline")
        counts = ("received_ms", "deadline_ms", "queued_ms", "retry_at_ms", "sends", "deaths")
        with self._redis.pipeline(transaction=False) as pipe:
            for event_id in ids:
                pipe.hmget(keys.event(event_id), *names, *counts)
            rows = pipe.execute()
        lost = [i for i, row in zip(ids, rows, strict=True) if row[0] is None]
        if lost:
            self._redis.zrem(keys.open_events(host_uuid), *lost)
        entries = [_entry(i, row) for i, row in zip(ids, rows, strict=True) if row[0] is not None]
        return [entry for entry in entries if entry is not None]

    def resend(self, entry: Entry) -> bool:
        """Queue an event again; nothing happens when it moved since the sweeper looked."""
        return bool(self._step(entry.event_id, "resend", *_seen(entry)))

    def expire(self, entry: Entry) -> bool:
        """Drop an event that cattle does not wait for any more, unless it moved meanwhile."""
        ttl_ms = keys.ANSWERED_TTL_MS
        seen = *_seen(entry), entry.deadline_ms
        return bool(self._step(entry.event_id, "expire", entry.event_id, ttl_ms, *seen))

    def fail(self, entry: Entry, refusal: Outcome) -> bool:
        """Answer an event that no worker will, unless it moved meanwhile."""
        content, ttl_ms = self._sealed(entry.event_id, refusal), keys.ANSWERED_TTL_MS
        step = ("fail", entry.event_id, content, ttl_ms, *_seen(entry))
        return bool(self._step(entry.event_id, *step))

    def _sealed(self, event_id: str, outcome: Outcome) -> str:
        return sealed_outcome(self._sealer, event_id, outcome)

    def _step(self, event_id: str, *args: str | int) -> Any:  # noqa: ANN401 -- each step its own
        return self._script(keys=[keys.event(event_id)], args=args)


def _reply_to(event: Event) -> str:
    return "" if event.reply_to in ONE_WAY_REPLY_TO else event.reply_to or ""


def _line(event: Event, host_uuid: str, lane: Lane) -> str:
    """The line an event waits in: events for one resource run one after the other, in order."""
    if lane is Lane.CONTROL or event.resource_type is None or event.resource_id is None:
        return ""
    return keys.line(host_uuid, event.resource)


def _seen(entry: Entry) -> tuple[str, str, int]:
    """What the script compares before it does a sweeper's step."""
    return entry.state, entry.boot, entry.queued_ms


def _entry(event_id: str, row: list[Any]) -> Entry | None:
    """The entry in a hash; None for what this script did not write."""
    state, echoed, lane, queue, line, boot, offline, *counts = row
    try:
        received_ms, deadline_ms, queued_ms, retry_at_ms, sends, deaths = map(int, counts)
        name = str(json.loads(echoed)["name"])
    except (KeyError, TypeError, ValueError):
        _log.error("event.unreadable", event_id=event_id)
        return None
    return Entry(
        event_id=event_id,
        state=state,
        name=name,
        lane=lane,
        queue=queue,
        line=line,
        boot=boot,
        received_ms=received_ms,
        deadline_ms=deadline_ms,
        queued_ms=queued_ms,
        retry_at_ms=retry_at_ms,
        sends=sends,
        deaths=deaths,
        # An entry of an older bridge has no such field.
        offline=Offline.ERROR if offline == Offline.ERROR else Offline.EXPIRE,
    )
