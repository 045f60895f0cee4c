"""The bridge's side of the ledger: events come in, each recorded and queued in one step."""

from collections.abc import Sequence
from dataclasses import dataclass

import redis

from cowpoke import keys
from cowpoke.broker import answers, concerns_one_key
from cowpoke.clock import Clock
from cowpoke.envelopes import Envelope, echo_of, sealed_envelope, sealed_event, sealed_outcome
from cowpoke.events import Event
from cowpoke.ledger.script import Script
from cowpoke.ledger.states import Accepted
from cowpoke.messages import task_message
from cowpoke.offline import offline_end
from cowpoke.outcomes import Outcome
from cowpoke.replication import replication_of
from cowpoke.routes import ONE_WAY_REPLY_TO, Lane, queue_for
from cowpoke.seal import ClusterKeyring
from cowpoke.version import CONTRACT_VERSION

#: The first look whether a new event's message got lost on its way to a worker.
FIRST_CHECK_MS = 3_000


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


class IntakeLedger:
    """Accepts events into the ledger of one Redis. Thread-safe."""

    def __init__(self, client: "redis.Redis", keyring: ClusterKeyring, clock: Clock) -> None:
        self._redis = client
        self._keyring = keyring
        self._clock = clock
        self._script = Script(client, "intake")
        self._replication = replication_of(client)

    def accept(self, arrivals: Sequence[Arrival]) -> list[Accepted | Exception]:
        """Record and queue events, or refuse them: all in one round trip, each in one step.

        The result of an event that Redis refuses is the `redis.ResponseError`; it concerns that
        event alone. Errors: redis.RedisError when nothing is known of any of them, or when
        replicas may not have them: accept them again.
        """
        # A ping is worth nothing after some seconds, and there are many.
        confirm = any(arrival.lane is not Lane.CONTROL for arrival in arrivals)
        if len(arrivals) == 1:
            # A pipeline first asks Redis whether it knows the script: one more round trip.
            try:
                return [Accepted(str(self._offer(arrivals[0], confirm=confirm)))]
            except redis.ResponseError as problem:
                if not concerns_one_key(problem):
                    raise
                return [problem]
        with self._redis.pipeline(transaction=False) as pipe:
            for arrival in arrivals:
                self._offer(arrival, pipe)
            found = answers(pipe, self._replication if confirm else None)
        return [one if isinstance(one, Exception) else Accepted(one) for one in found]

    def _offer(
        self,
        arrival: Arrival,
        pipe: "redis.client.Pipeline | None" = None,
        *,
        confirm: bool = False,
    ) -> object:
        event, host_uuid = arrival.event, arrival.host_uuid
        step, args = self._accept(arrival) if arrival.refusal is None else self._refuse(arrival)
        return self._script(step, host_uuid, event.id, *args, pipe=pipe, confirm=confirm)

    def _accept(self, arrival: Arrival) -> tuple[str, list[str | int]]:
        event, host_uuid, lane = arrival.event, arrival.host_uuid, arrival.lane
        queue = queue_for(host_uuid, lane)
        remaining_ms = max(arrival.remaining_ms, 0)
        payload = sealed_event(
            self._keyring.host(host_uuid), event, host_uuid, self._clock.now_ms()
        )
        message = task_message(
            event_id=event.id, task_name=event.base_name, queue=queue, resource=event.resource
        )
        return "accept", [
            *(CONTRACT_VERSION, event.base_name, lane, queue, _fifo(event, host_uuid, lane)),
            *(_wants_reply(event), self._envelope(arrival, remaining_ms), payload, message),
            *(offline_end(event), remaining_ms, event.timeout_ms, keys.OPEN_TTL_MS, FIRST_CHECK_MS),
        ]

    def _refuse(self, arrival: Arrival) -> tuple[str, list[str | int]]:
        event = arrival.event
        assert arrival.refusal is not None
        content = sealed_outcome(self._keyring.host(arrival.host_uuid), event.id, arrival.refusal)
        return "refuse", [
            *(CONTRACT_VERSION, event.base_name, _wants_reply(event)),
            *(self._envelope(arrival, event.timeout_ms), content),
            *(event.timeout_ms, keys.ANSWERED_TTL_MS),
        ]

    def _envelope(self, arrival: Arrival, remaining_ms: int) -> str:
        envelope = Envelope(
            echo=echo_of(arrival.event),
            host_uuid=arrival.host_uuid,
            agent=arrival.agent,
            deadline_ms=self._clock.now_ms() + remaining_ms,
        )
        return sealed_envelope(self._keyring.bridge, envelope)


def _wants_reply(event: Event) -> int:
    return int(bool(event.reply_to) and event.reply_to not in ONE_WAY_REPLY_TO)


def _fifo(event: Event, host_uuid: str, lane: Lane) -> str:
    """Return the FIFO of an event's resource, empty where it needs none."""
    if lane is Lane.CONTROL or event.resource_type is None or event.resource_id is None:
        return ""
    return keys.fifo(host_uuid, event.resource)
