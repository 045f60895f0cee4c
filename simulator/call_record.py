"""The record of one call: send times, replies and result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from simulator.processes import replays

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from simulator.agents import Agent
    from simulator.wire import Event

CallState = Literal["waiting", "success", "error", "timeout", "one_way"]
ReplyKind = Literal["progress", "final", "duplicate", "late", "progress_after_final", "unmatched"]


@dataclass(slots=True)
class Reply:
    """One reply event, and its kind when it arrived."""

    kind: ReplyKind
    received_ms: float
    event: Event

    def to_json(self, *, data: bool) -> dict[str, Any]:
        """Return the reply with its time and kind; without its data in long lists."""
        event = self.event if data else {k: v for k, v in self.event.items() if k != "data"}
        return {"kind": self.kind, "received_ms": self.received_ms, "event": event}


@dataclass(slots=True, eq=False)
class CallRecord:
    """One event that was sent, and its replies."""

    id: str
    reply_to: str | None
    name: str
    agent: Agent
    timeout_s: float
    sends: int
    event: Event | None
    retries_new_id: int = 0
    backoff_s: float | None = None
    as_process: bool = False
    attempt: int = 1
    tries: int = 1
    lent_address: bool = False
    kept: bool = True
    state: CallState = "waiting"
    sent_ms: list[float] = field(default_factory=list)
    sockets: int = 0
    started_s: float = 0.0
    elapsed_ms: float | None = None
    expiries: int = 0
    progressed: bool = False
    replies: list[Reply] = field(default_factory=list)
    retry_of: str | None = None
    next: CallRecord | None = None
    followed_by: CallRecord | None = None
    will_retry: bool = False
    timer: asyncio.TimerHandle | None = None
    on_end: list[Callable[[CallRecord], None]] = field(default_factory=list)

    @property
    def id_key(self) -> tuple[str, str | None]:
        """Return what a reply must contain to match: event id and reply address."""
        return (self.id, self.reply_to)

    @property
    def ended(self) -> bool:
        """Whether the call is over and no retry with a new id will follow."""
        return self.state != "waiting" and not self.will_retry

    def decide_retry(self) -> None:
        """Decide whether the event of a call that ended is sent again with a new id."""
        allowed = self.state == "timeout" and self.attempt <= self.retries_new_id
        self.will_retry = allowed or (self.as_process and replays(self))

    @property
    def final(self) -> Event | None:
        """Return the accepted final reply."""
        return next((reply.event for reply in self.replies if reply.kind == "final"), None)

    def of_kind(self, *kinds: ReplyKind) -> list[Reply]:
        """Return the replies of some kinds, in arrival order."""
        return [reply for reply in self.replies if reply.kind in kinds]

    def to_json(self, *, data: bool = True) -> dict[str, Any]:
        """Return the record for the control API.

        Shape: `replies` contains all matching replies in arrival order; `late` and `duplicates`
        are subsets of it.
        """

        def shown(*kinds: ReplyKind) -> list[dict[str, Any]]:
            return [reply.to_json(data=data) for reply in self.of_kind(*kinds)]

        matching = [reply for reply in self.replies if reply.kind != "unmatched"]
        return {
            "id": self.id,
            "replyTo": self.reply_to,
            "name": self.name,
            "agent": self.agent.external_id,
            "state": self.state,
            "sent_ms": self.sent_ms,
            "sockets": self.sockets,
            "timeout_ms": self.timeout_s * 1000,
            "elapsed_ms": self.elapsed_ms,
            "attempt": self.attempt,
            "retry_of": self.retry_of,
            "retried_as": self.next.id if self.next else None,
            "followed_by": self.followed_by.id if self.followed_by else None,
            "final": self.final if data else None,
            "replies": [reply.to_json(data=data) for reply in matching],
            "progress": shown("progress"),
            "duplicates": shown("duplicate"),
            "late": shown("late"),
            "unmatched": shown("unmatched"),
            "reply_ids": [reply.event.get("id") for reply in matching],
        }
