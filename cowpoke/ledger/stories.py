"""What the ledger tells of an event that is over: its times, its counts and its unusual steps.

`common.lua` writes a story; it travels with the outcome, or lies in the hash of an event to which
nobody waits for a reply. A host can forge the stories of its own events, so they are bounded here,
and nothing is decided by them.
"""

from dataclasses import dataclass

from cowpoke.history import DETAIL_CHARS, MOST_STEPS, EventStep
from cowpoke.lengths import bounded_int

#: Instead of the story of an outcome that was sent before: its event was over then.
AGAIN = "again"
_WORD_CHARS = 32
#: The fields that the script of next checks answers for each event that it finds over.
OVER_FIELDS = ("state", "kind", "lane", "story", "envelope", "final", "expired_in")


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """The times (ms, by the Redis server's clock), counts and steps of an event; 0 if unknown."""

    #: The last time it came, was queued and was claimed.
    received_ms: int = 0
    queued_ms: int = 0
    claimed_ms: int = 0
    ended_ms: int = 0
    attempts: int = 0
    deaths: int = 0
    #: The process that had it in the end.
    boot: str = ""
    #: Besides the usual ones; in the order in which they happened.
    steps: tuple[EventStep, ...] = ()

    @property
    def unusual(self) -> tuple[EventStep, ...]:
        """The steps, and the last time that the event came if it came several times."""
        came = [one.at_ms for one in self.steps if one.step == "received"]
        if not came or self.received_ms in came:
            return self.steps
        return (*self.steps, EventStep(at_ms=self.received_ms, step="received"))

    def first_ms(self, step: str, otherwise_ms: int) -> int:
        """Return the first time of a step, or a time if no such step was noted."""
        return next((one.at_ms for one in self.steps if one.step == step), otherwise_ms)


@dataclass(frozen=True, kw_only=True, slots=True)
class OverEvent:
    """An event that a sweeper found over, and whose end no reply tells. A worker's word."""

    host_uuid: str
    event_id: str
    state: str
    kind: str
    lane: str
    story: str
    envelope: str
    #: The sealed outcome of an event to which nobody waits for a reply.
    final: str
    expired_in: str


def read_story(text: str) -> Story:
    """Return the story in a text; an empty one for what is none."""
    first, *lines = text.splitlines()[: MOST_STEPS + 1] or [""]
    words = first.split(" ", 6)
    try:
        *numbers, boot = words
        received_ms, queued_ms, claimed_ms, ended_ms, attempts, deaths = map(_number, numbers)
        steps = tuple(map(_step, lines))
    except (TypeError, ValueError):
        return Story()
    return Story(
        received_ms=received_ms,
        queued_ms=queued_ms,
        claimed_ms=claimed_ms,
        ended_ms=ended_ms,
        attempts=attempts,
        deaths=deaths,
        boot="" if boot == "-" else boot[:DETAIL_CHARS],
        steps=steps,
    )


def _step(line: str) -> EventStep:
    at_ms, step, *detail = line.split(" ", 2)
    return EventStep(
        at_ms=_number(at_ms), step=step[:_WORD_CHARS], detail="".join(detail)[:DETAIL_CHARS]
    )


def _number(word: str) -> int:
    return 0 if word == "-" else max(bounded_int(word), 0)
