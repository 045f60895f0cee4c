"""The one place that hears of each event that is over: the log, the history and the metrics do.

The sender reports replies that cattle accepted or refused. The sweeper reports events that expired
or need no reply.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from bridge.outbound.letters import Letter
from cowpoke.envelopes import (
    Envelope,
    UnknownVersionError,
    opened_envelope,
    opened_outcome,
)
from cowpoke.events import Event
from cowpoke.history import Ending, FinishedEvent
from cowpoke.ledger.states import State
from cowpoke.ledger.stories import AGAIN, OverEvent, Story, read_story
from cowpoke.log import logger
from cowpoke.outcomes import Kind, Outcome
from cowpoke.routes import LANES, PULL, Lane, base_name
from cowpoke.seal import ClusterKeyring, SealBrokenError
from cowpoke.summary import result_summary

_log = logger(__name__)

PING = "ping"
#: Of a host whose pings fail, one is kept this often: cattle pings it every 5 s.
FAILED_PING_EVERY_S = 60.0
_MOST_HOSTS = 20_000
#: Where an event was when it expired, as the ledger's scripts say it.
EXPIRED_IN = frozenset({"recorded", "queue", "transit", "worker", "claimed"})

#: Hears of an event that is over, pings included. Called in the event loop; must not wait.
Observer = Callable[[FinishedEvent], None]


class Finished:
    """Tells everybody of each finished event once, as far as this bridge knows it."""

    def __init__(self) -> None:
        self._observers: list[Observer] = []
        #: When a failed ping of a host was kept last.
        self._pings_s: dict[str, float] = {}

    def subscribe(self, observer: Observer) -> None:
        """Call a function for each finished event from now on."""
        self._observers.append(observer)

    def replied(
        self, letter: Letter, outcome: Outcome, *, now_ms: int, refusal: tuple[str, str] = ("", "")
    ) -> FinishedEvent | None:
        """Tell of an event whose reply cattle took, or refused for good; what the history keeps.

        `refusal`: a code and a sentence where cattle did not take it. `now_ms` is by the Redis
        server's clock. None for what the history does not keep.
        """
        if letter.delivery.story == AGAIN:
            # It was over before: cattle asked for the same answer again.
            return None
        event = replied_event(letter, outcome, now_ms=now_ms, refusal=refusal)
        return self._tell(event)

    def over(self, found: Iterable[OverEvent], keyring: ClusterKeyring) -> list[FinishedEvent]:
        """Tell of events that ended without a reply; those that the history keeps."""
        kept = []
        for one in found:
            # Forged or of a later version: its own bridges know more of it.
            with suppress(SealBrokenError, UnknownVersionError):
                event = self._tell(over_event(one, keyring))
                if event is not None:
                    kept.append(event)
        return kept

    def _tell(self, event: FinishedEvent) -> FinishedEvent | None:
        is_usual_ping = event.name == PING and event.outcome is not Ending.ERROR
        level = _log.debug if is_usual_ping else _log.info
        level(
            "event.finished",
            event_id=event.event_id,
            event_name=event.name,
            resource=event.resource,
            host=event.host_uuid,
            outcome=event.outcome,
            code=event.code,
            attempts=event.attempts,
            queue_ms=event.queue_ms,
            run_ms=event.run_ms,
            publish_ms=event.publish_ms,
        )
        for observer in self._observers:
            observer(event)
        return event if self._is_kept(event) else None

    def _is_kept(self, event: FinishedEvent) -> bool:
        if event.name != PING:
            return True
        now_s = time.monotonic()
        kept_s = self._pings_s.get(event.host_uuid, float("-inf"))
        if event.outcome is not Ending.ERROR or now_s - kept_s < FAILED_PING_EVERY_S:
            return False
        if len(self._pings_s) >= _MOST_HOSTS:
            self._pings_s.clear()
        self._pings_s[event.host_uuid] = now_s
        return True


def replied_event(
    letter: Letter, outcome: Outcome, *, now_ms: int, refusal: tuple[str, str] = ("", "")
) -> FinishedEvent:
    """Return the event that a reply was sent for, or was to be sent for."""
    delivery, story = letter.delivery, read_story(letter.delivery.story)
    code, message = refusal
    event = _finished(letter.envelope, story, delivery.lane, outcome)
    event = replace(event, published_ms=now_ms)
    if not code:
        return event
    answer = outcome.code or str(outcome.kind)
    return replace(event, outcome=Ending.REFUSED, code=code, message=message, answer=answer)


def over_event(one: OverEvent, keyring: ClusterKeyring) -> FinishedEvent:
    """Return an event that ended without a reply.

    Errors: SealBrokenError, UnknownVersionError.
    """
    envelope = opened_envelope(keyring.bridge, one.envelope, host_uuid=one.host_uuid)
    if envelope.event_id != one.event_id:
        raise SealBrokenError("the envelope is of another event")
    story = read_story(one.story)
    if one.state == State.EXPIRED:
        event = _finished(envelope, story, one.lane, Outcome(kind=Kind.ERROR))
        where = one.expired_in if one.expired_in in EXPIRED_IN else "unknown"
        return replace(event, outcome=Ending.EXPIRED, code=f"expired-{where}")
    sealer = keyring.host(one.host_uuid)
    opened = opened_outcome(sealer, one.final, event_id=one.event_id, kind=one.kind)
    return _finished(envelope, story, one.lane, opened.outcome)


def _finished(envelope: Envelope, story: Story, lane: str, outcome: Outcome) -> FinishedEvent:
    event = Event.model_validate({**envelope.echo, "data": None})
    is_success = outcome.kind is Kind.SUCCESS
    first_claimed_ms = story.first_ms("claimed", story.claimed_ms)
    finished = FinishedEvent(
        event_id=envelope.event_id,
        name=base_name(event.name),
        resource=event.resource,
        summary=envelope.summary,
        host_uuid=envelope.host_uuid,
        lane=lane if lane in set(Lane) else LANES.get(event.base_name, ""),
        outcome=Ending.SUCCESS if is_success else Ending.ERROR,
        code=outcome.code,
        message=outcome.message,
        attempts=story.attempts,
        deaths=story.deaths,
        worker=story.boot,
        received_ms=story.first_ms("received", story.received_ms),
        queued_ms=story.queued_ms,
        first_claimed_ms=first_claimed_ms,
        claimed_ms=story.claimed_ms,
        ended_ms=story.ended_ms,
        unusual=story.unusual,
    )
    return replace(finished, result=_result(event, outcome, finished)) if is_success else finished


def _result(event: Event, outcome: Outcome, finished: FinishedEvent) -> str:
    took_s = finished.run_ms / 1000
    if event.base_name == PULL and not outcome.data:
        # It pulled nothing: it removed a name, or the image was not wanted here.
        return f"done in {took_s:.1f} s"
    return result_summary(event, outcome.data, took_s)
