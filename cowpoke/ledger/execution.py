"""The worker's side of the ledger: an event is claimed by one live process, and completed once."""

import uuid
from dataclasses import dataclass
from typing import Any

import redis

from cowpoke import keys
from cowpoke.clock import Clock
from cowpoke.envelopes import opened_event, sealed_outcome
from cowpoke.events import Event
from cowpoke.ledger.script import Script
from cowpoke.ledger.states import State, Verdict
from cowpoke.lengths import OUTCOME_CHARS
from cowpoke.outcomes import Outcome, error
from cowpoke.routes import Lane
from cowpoke.seal import Sealer


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A claimed event with its content and the time left; only the verdict when not claimed."""

    verdict: Verdict
    payload: str = ""
    remaining_ms: int = 0
    attempts: int = 0
    #: How long cattle waits anew after each progress.
    timeout_ms: int = 0
    #: By the Redis server's clock.
    claimed_ms: int = 0
    deadline_ms: int = 0
    #: Of the call that claimed it.
    token: str = ""


class WorkerLedger:
    """The events of one host, for one of its processes. Thread-safe."""

    def __init__(
        self,
        client: "redis.Redis",
        sealer: Sealer,
        clock: Clock,
        *,
        host_uuid: str,
        boot_id: str,
    ) -> None:
        self._redis = client
        #: Whether replicas must have the end of an event; pings are worth nothing after seconds.
        self.confirms = True
        self._host_uuid = host_uuid
        self._boot_id = boot_id
        #: Seals outcomes and opens payloads; replaced while keys are changed.
        self.sealer = sealer
        self.clock = clock
        self._script = Script(client, "execution")
        #: When each event was claimed that this process works on.
        self._claimed_ms: dict[str, int] = {}

    def claim(self, event_id: str, *, token: str | None = None) -> Claim:
        """Claim an event for this process; exactly one live process gets it.

        Who asks again after a RedisError gives the same `token`: the first try may have claimed it.
        """
        token = token or uuid.uuid4().hex
        args = self._boot_id, token, keys.ANSWERED_TTL_MS
        verdict, *rest = self._step("claim", event_id, *args, *self.clock.readings_ms())
        if verdict != Verdict.CLAIMED:
            return Claim(verdict=Verdict(verdict))
        payload, remaining_ms, attempts, claimed_ms, timeout_ms, deadline_ms = rest
        self._claimed_ms[event_id] = int(claimed_ms)
        return Claim(
            verdict=Verdict.CLAIMED,
            payload=payload,
            remaining_ms=int(remaining_ms),
            attempts=int(attempts),
            timeout_ms=int(timeout_ms),
            claimed_ms=int(claimed_ms),
            deadline_ms=int(deadline_ms),
            token=token,
        )

    def holds(self, event_id: str, claim: Claim) -> bool:
        """Whether this process still has an event that it claimed.

        Errors: redis.RedisError.
        """
        names = "state", "boot", "token"
        found = self._redis.hmget(keys.event(self._host_uuid, event_id), *names)
        return found == [State.CLAIMED, self._boot_id, claim.token]

    def open_event(self, event_id: str, claim: Claim) -> Event:
        """The claimed event, unsealed; what lies beside the sealed text in clear is not trusted.

        Errors: SealBrokenError when it was not sealed with one of our keys, as another event, for
        another host, or long ago; UnknownVersionError.
        """
        # Sealed before a jump of the server's clock, it is old only by the clocks of both times.
        now_ms = min([claim.claimed_ms, *self.clock.known_ms()])
        return opened_event(
            self.sealer,
            claim.payload,
            event_id=event_id,
            host_uuid=self._host_uuid,
            now_ms=now_ms,
        )

    def retry(self, event_id: str, *, delay_ms: int, lane: Lane, queue: str) -> bool:
        """Put a claimed event back before Celery retries it; false when it is not ours any more."""
        return self._let_go("retry", event_id, self._boot_id, delay_ms, lane, queue)

    def requeue(self, event_id: str) -> bool:
        """Queue a claimed event for another process, since this one stops."""
        return self._let_go("requeue", event_id, self._boot_id)

    def reject(self, event_id: str, *, delay_ms: int) -> bool:
        """Put back a claimed event that this process cannot read; a sweeper sends it again."""
        return self._let_go("reject", event_id, self._boot_id, delay_ms)

    def complete(self, event_id: str, outcome: Outcome, *, deadline_ms: int = 0) -> bool:
        """Store the one final outcome and send it on its way; false when there is one already.

        `deadline_ms` tells the bridge until when cattle waits, where progress moved it.
        """
        content = self._sealed(event_id, outcome, deadline_ms)
        if len(content) > OUTCOME_CHARS:
            outcome = error(
                "reply-too-large",
                f"the reply has {len(content) >> 20} MiB, which cattle cannot store; the work "
                "itself was done",
            )
            content = self._sealed(event_id, outcome, deadline_ms)
        ttls_ms = keys.ANSWERED_TTL_MS, keys.ANSWERED_PING_TTL_MS, keys.STARTED_TTL_MS
        return self._let_go("complete", event_id, outcome.kind, content, *ttls_ms)

    def progress(self, event_id: str, outcome: Outcome) -> int:
        """Send progress on its way; the event's new deadline (ms, by the Redis server's clock).

        Each progress moves the deadline, because cattle waits its whole timeout anew. 0 when the
        event is not this process's any more.
        """
        content = self._sealed(event_id, outcome)
        return int(self._step("progress", event_id, self._boot_id, content, keys.OPEN_TTL_MS))

    def _sealed(self, event_id: str, outcome: Outcome, deadline_ms: int = 0) -> str:
        return sealed_outcome(
            self.sealer,
            event_id,
            outcome,
            deadline_ms=deadline_ms,
            claimed_ms=self._claimed_ms.get(event_id, 0),
        )

    def _let_go(self, step: str, event_id: str, *args: str | int) -> bool:
        """Take a step after which this process does not work on the event any more.

        Replicas have it then: another master would take the event for one that this process has.
        """
        took_effect = bool(self._step(step, event_id, *args, confirm=self.confirms))
        self._claimed_ms.pop(event_id, None)
        return took_effect

    def _step(self, step: str, event_id: str, *args: str | int, confirm: bool = False) -> Any:  # noqa: ANN401
        return self._script(step, self._host_uuid, event_id, *args, confirm=confirm)
