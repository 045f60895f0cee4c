"""An event that is over: what became of it, when, and what happened on the way."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Ending(StrEnum):
    """What became of an event in the end."""

    SUCCESS = "success"
    ERROR = "error"
    #: Nobody waited for it any more: nothing was sent to cattle.
    EXPIRED = "expired"
    #: cattle refused its reply for good.
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True, slots=True)
class EventStep:
    """One thing that happened to an event."""

    #: By the Redis server's clock.
    at_ms: int
    #: A word: `received`, `queued`, `claimed`, `answered`, `expired`, `published`; of what is
    #: unusual: `refused`, `retry`, `requeue`, `reject`, `died`, `resend`, `hurry`, `dismiss`.
    step: str
    #: A process, a lane, a code; may be empty.
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedEvent:
    """An event that is over. All times are by the Redis server's clock, 0 where there is none.

    Times, counts and steps are the word of the host's workers; they decide nothing.
    """

    event_id: str
    #: cattle's name of it, without a subscription suffix.
    name: str
    #: `instanceHostMap:1ihm50`, or `-`.
    resource: str
    #: What a person looks for: `web-1 (1i37) nginx:1.25`.
    summary: str
    host_uuid: str
    lane: str
    outcome: Ending
    #: Of an error or a refusal; `expired-<where it was>` of what expired; empty of a success.
    code: str = ""
    #: The sentence of an error, the warnings of a success, or why cattle refused the reply.
    message: str = ""
    #: What came of it, for people: `running 4f1c… 10.42.3.7`; may be empty.
    result: str = ""
    #: How often a worker process claimed it, and how many of them died with it.
    attempts: int = 0
    deaths: int = 0
    #: The process that had it last.
    worker: str = ""
    received_ms: int
    queued_ms: int = 0
    #: The first time and the last time that a worker process claimed it.
    first_claimed_ms: int = 0
    claimed_ms: int = 0
    #: When its outcome was stored, or when it expired.
    ended_ms: int = 0
    #: When cattle took the reply, or refused it for good.
    published_ms: int = 0
    #: Of a reply that cattle refused: `success`, or the code of the error in it.
    answer: str = ""
    #: What is not told by the times above: tries that came to nothing.
    unusual: tuple[EventStep, ...] = ()

    @property
    def queue_ms(self) -> int:
        """How long it waited for a worker; all its time if none ever claimed it."""
        return _span_ms(self.received_ms, self.first_claimed_ms or self.ended_ms)

    @property
    def run_ms(self) -> int:
        """How long it took from the first claim on, retries and the waits between them included."""
        return _span_ms(self.first_claimed_ms, self.ended_ms)

    @property
    def publish_ms(self) -> int:
        """How long its reply took to cattle."""
        return _span_ms(self.ended_ms, self.published_ms)

    @property
    def total_ms(self) -> int:
        """All its time, from its receipt to its reply."""
        return _span_ms(self.received_ms, self.published_ms or self.ended_ms)

    @property
    def steps(self) -> tuple[EventStep, ...]:
        """All that happened to it, in order."""
        is_expired, is_refused = (self.outcome is one for one in (Ending.EXPIRED, Ending.REFUSED))
        said = self.answer or self.code or str(self.outcome)
        last = ("refused", self.code) if is_refused else ("published", "")
        # What was noted already is not told again; an event is queued at once as a rule.
        noted = {(one.at_ms, one.step) for one in self.unusual}
        noted |= {(at_ms, "queued") for at_ms in (self.received_ms, *(at for at, _ in noted))}
        received, *others = (
            EventStep(at_ms=at_ms, step=step, detail=detail)
            for at_ms, step, detail in (
                (self.received_ms, "received", ""),
                (self.queued_ms, "queued", ""),
                (self.claimed_ms, "claimed", self.worker),
                (self.ended_ms, "expired" if is_expired else "answered", said),
                (self.published_ms, *last),
            )
        )
        new = [one for one in others if one.at_ms and (one.at_ms, one.step) not in noted]
        first = () if (received.at_ms, received.step) in noted else (received,)
        # The sort keeps this order where two things happened in the same ms.
        return tuple(sorted((*first, *self.unusual, *new), key=lambda one: one.at_ms))

    def to_json(self) -> dict[str, Any]:
        """Return it as `--json` prints it; the steps have all that is unusual."""
        content = self.stored()
        del content["unusual"]
        return {
            **content,
            "steps": [
                {"at_ms": one.at_ms, "step": one.step, "detail": one.detail} for one in self.steps
            ],
            "queue_ms": self.queue_ms,
            "run_ms": self.run_ms,
            "publish_ms": self.publish_ms,
        }

    def stored(self) -> dict[str, Any]:
        """Return what an entry in Redis is made of."""
        return {
            "event_id": self.event_id,
            "name": self.name,
            "resource": self.resource,
            "summary": self.summary,
            "host": self.host_uuid,
            "lane": self.lane,
            "outcome": self.outcome,
            "code": self.code,
            "message": self.message,
            "result": self.result,
            "attempts": self.attempts,
            "deaths": self.deaths,
            "answer": self.answer,
            "worker": self.worker,
            "received_ms": self.received_ms,
            "queued_ms": self.queued_ms,
            "first_claimed_ms": self.first_claimed_ms,
            "claimed_ms": self.claimed_ms,
            "ended_ms": self.ended_ms,
            "published_ms": self.published_ms,
            "unusual": [[one.at_ms, one.step, one.detail] for one in self.unusual],
        }


def _span_ms(begin_ms: int, end_ms: int) -> int:
    # The server's clock may have been set back in between.
    return max(end_ms - begin_ms, 0) if begin_ms and end_ms else 0
