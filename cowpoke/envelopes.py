"""The sealed objects of an event: payload, envelope and outcomes.

| what | sealed by | opened by | holds |
|---|---|---|---|
| payload | a bridge, for the host | the host's workers | the event, its host, when it expires |
| envelope | a bridge, for bridges | bridges | all that a reply is made of besides the outcome |
| outcome | a worker of the host, or a bridge for it | bridges | the outcome, the id of its event |

So a worker, or whoever has its key, can only answer events that a bridge gave to its host, and what
is moved to another place in Redis is not opened there. Each carries the contract version (`v`);
readers skip keys they do not know.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from cowpoke.events import Event
from cowpoke.lengths import bounded_int
from cowpoke.outcomes import Outcome
from cowpoke.routes import DELEGATE
from cowpoke.seal import SealBrokenError, Sealer
from cowpoke.version import CONTRACT_VERSION

#: How long after an event's deadline its sealed payload is still taken for fresh: a call of several
#: sends lives longer than one timeout. What is put back into Redis later than that is a replay.
REPLAY_WINDOW_MS = 15 * 60_000


class UnknownVersionError(Exception):
    """Raised when sealed content is of a later contract version; another program may read it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """All that a reply is made of besides the outcome, written by the bridge with the event."""

    #: The fields of the event that a reply quotes, as cattle names them; `inner` for the event
    #: inside a `delegate.request`.
    echo: Mapping[str, Any]
    host_uuid: str
    #: The access key of the agent the event came for; its reply goes out with the same key.
    agent: str
    #: By the Redis server's clock; progress moves it, see `SealedOutcome.deadline_ms`.
    deadline_ms: int
    #: What the event is about, for people; empty from an earlier release.
    summary: str = ""

    @property
    def event_id(self) -> str:
        """The event that the reply answers."""
        return str(self.echo["id"])


def echo_of(event: Event) -> dict[str, Any]:
    """The part of an event that its replies quote; nulls and all."""
    echoed = _echoed(event)
    inner = event.data.get("event") if event.base_name == DELEGATE else None
    if isinstance(inner, Mapping):
        # One that cannot be read has nothing to quote; the worker says what is wrong with it.
        with suppress(ValueError):
            echoed["inner"] = _echoed(Event.model_validate({**inner, "data": None}))
    return echoed


def _echoed(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "name": event.name,
        "replyTo": event.reply_to,
        "resourceType": event.resource_type,
        "resourceId": event.resource_id,
    }


def sealed_envelope(sealer: Sealer, envelope: Envelope) -> str:
    """The envelope, sealed for the bridges."""
    return sealer.seal(
        {
            "v": CONTRACT_VERSION,
            "echo": envelope.echo,
            "host": envelope.host_uuid,
            "agent": envelope.agent,
            "deadline_ms": envelope.deadline_ms,
            "summary": envelope.summary,
        }
    )


def opened_envelope(sealer: Sealer, text: str, *, host_uuid: str) -> Envelope:
    """The envelope that a bridge sealed for an event of this host.

    Errors: SealBrokenError when no bridge of ours sealed it, or for another host;
    UnknownVersionError.
    """
    content = opened_content(sealer, text)
    if content.get("host") != host_uuid:
        raise SealBrokenError("the envelope belongs to another host")
    try:
        return Envelope(
            echo=_quoted(content["echo"]),
            host_uuid=host_uuid,
            agent=str(content["agent"]),
            deadline_ms=bounded_int(content["deadline_ms"]),
            summary=str(content.get("summary") or ""),
        )
    except (KeyError, TypeError, ValueError, ValidationError):
        raise SealBrokenError("the envelope is incomplete") from None


def _quoted(echo: Mapping[str, Any]) -> dict[str, Any]:
    """What a reply quotes, complete whatever was sealed.

    Errors: TypeError, ValueError.
    """
    quoted = _echoed(Event.model_validate({**echo, "data": None}))
    if isinstance(echo.get("inner"), Mapping):
        quoted["inner"] = _echoed(Event.model_validate({**echo["inner"], "data": None}))
    return quoted


def sealed_event(sealer: Sealer, event: Event, host_uuid: str, now_ms: int) -> str:
    """A whole event, sealed for its host from now (by the Redis server's clock) on."""
    return sealer.seal(
        {
            **_echoed(event),
            "v": CONTRACT_VERSION,
            "data": event.data,
            "host": host_uuid,
            "fresh_until_ms": now_ms + event.timeout_ms + REPLAY_WINDOW_MS,
        }
    )


def opened_event(sealer: Sealer, text: str, *, event_id: str, host_uuid: str, now_ms: int) -> Event:
    """The event that was sealed, for this host and by now.

    Errors: SealBrokenError when it was not sealed with one of our keys, as another event, for
    another host, or long ago; UnknownVersionError.
    """
    content = opened_content(sealer, text)
    try:
        event = Event.model_validate(content)
        fresh_until_ms = bounded_int(content.get("fresh_until_ms"))
    except (TypeError, ValueError):
        raise SealBrokenError(f"the payload of event {event_id} is not a valid event") from None
    if event.id != event_id:
        raise SealBrokenError(f"the payload of event {event_id} belongs to another event")
    if content.get("host") != host_uuid:
        raise SealBrokenError(f"the payload of event {event_id} was sealed for another host")
    if now_ms > fresh_until_ms:
        raise SealBrokenError(f"the payload of event {event_id} has expired (replay window)")
    return event


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedOutcome:
    """An outcome as it was sealed, with what else was sealed beside it."""

    outcome: Outcome
    #: Until when cattle waits, where progress moved it; else 0. The envelope's deadline holds where
    #: it is later.
    deadline_ms: int = 0
    #: When the worker claimed the event; 0 when no worker did.
    claimed_ms: int = 0


def sealed_outcome(
    sealer: Sealer,
    event_id: str,
    outcome: Outcome,
    *,
    deadline_ms: int = 0,
    claimed_ms: int = 0,
) -> str:
    """Seal what became of an event, as its outcome."""
    return sealer.seal(
        {
            "v": CONTRACT_VERSION,
            "event_id": event_id,
            "deadline_ms": deadline_ms,
            "claimed_ms": claimed_ms,
            **outcome.to_json(),
        }
    )


def opened_outcome(sealer: Sealer, text: str, *, event_id: str, kind: str) -> SealedOutcome:
    """The outcome that was sealed for an event.

    Errors: SealBrokenError when it was not sealed with one of our keys, for another event or as
    another kind; UnknownVersionError.
    """
    content = opened_content(sealer, text)
    if content.get("event_id") != event_id:
        raise SealBrokenError(f"the outcome of event {event_id} belongs to another event")
    try:
        outcome = Outcome.from_json(content)
        deadline_ms = bounded_int(content.get("deadline_ms"))
        claimed_ms = bounded_int(content.get("claimed_ms"))
    except (KeyError, TypeError, ValueError):
        raise SealBrokenError(f"the outcome of event {event_id} is incomplete") from None
    if outcome.kind != kind:
        raise SealBrokenError(
            f"the outcome of event {event_id} is sealed as {outcome.kind}, but stored as {kind}"
        )
    return SealedOutcome(outcome=outcome, deadline_ms=deadline_ms, claimed_ms=claimed_ms)


def opened_content(sealer: Sealer, text: str) -> dict[str, Any]:
    """Return the content of a sealed object of this contract version, or of an earlier one.

    Errors: SealBrokenError, UnknownVersionError.
    """
    content = sealer.open(text)
    version = content.get("v")
    if not isinstance(version, int) or version < 1:
        raise SealBrokenError("the contract version is missing")
    if version > CONTRACT_VERSION:
        raise UnknownVersionError(
            f"contract version {version} is newer than {CONTRACT_VERSION}; update this program"
        )
    return content
