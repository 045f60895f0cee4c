"""Calls: an event with its reply address and timer, and the rules that match replies to it.

    waiting -(first final reply)-> success | error
    waiting -(N sends without an answer)-> timeout -(if requested)-> a new call, new id
    one_way                            an event without a reply address

With `as_process` a call continues as in cattle's process layer; see processes.py.

A reply counts when its name is the call's reply address and the first of its previousIds is the
event's id. The first final reply wins. Only progress extends the timeout, and only for
calls where cattle accepts progress. Reply addresses are reused, because cattle pools them.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from simulator.agents import CALLABLE, Agent
from simulator.call_record import CallRecord, Reply, ReplyKind
from simulator.contexts import context_of
from simulator.processes import check_host, follow_up, retry_wait_s, without_call
from simulator.wire import Event, epoch_ms, new_event_id, new_reply_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from simulator.stats import Stats
    from simulator.subscriptions import Subscriptions

PROLONGED_BY_PROGRESS = frozenset({"storage.image.activate", "config.update"})
FORGET_AFTER_TIMEOUTS = 2
"""Calls that are not kept (pings) are remembered this many timeouts, to tell late from unknown."""


def _wake(moved: asyncio.Future[None], _: CallRecord) -> None:
    """Wake a waiter, which may have given up."""
    if not moved.done():
        moved.set_result(None)


class Calls:
    """All calls, active and finished."""

    def __init__(
        self, subscriptions: Subscriptions, stats: Stats, *, clock_offset_ms: int = 0
    ) -> None:
        self._subscriptions = subscriptions
        self._stats = stats
        self._clock_offset_ms = clock_offset_ms
        self._by_key: dict[tuple[str, str | None], CallRecord] = {}
        self._latest: dict[str, CallRecord] = {}
        self._kept: list[CallRecord] = []
        self._free_addresses: list[str] = []
        self.observe: Callable[[CallRecord], None] = lambda _: None

    def start(  # noqa: PLR0913  one argument per property of cattle's call options
        self,
        agent: Agent,
        event: Event,
        *,
        timeout_s: float = 45,
        sends: int = 1,
        one_way: bool = False,
        retries_new_id: int = 0,
        backoff_s: float | None = None,
        as_process: bool = False,
        kept: bool = True,
    ) -> CallRecord:
        """Send an event and wait for its reply in the background; fill in missing fields.

        Errors: NoHealthyHostError, only with `as_process`.
        """
        if as_process:
            check_host(agent, event)
        filled = self._filled(event, timeout_s, one_way=one_way)
        record = CallRecord(
            id=filled["id"],
            reply_to=filled.get("replyTo"),
            name=filled["name"],
            agent=agent,
            timeout_s=timeout_s,
            sends=max(1, sends),
            event=filled,
            retries_new_id=retries_new_id,
            backoff_s=backoff_s,
            as_process=as_process,
            lent_address=not one_way and event.get("replyTo") is None,
            kept=kept,
            state="one_way" if one_way else "waiting",
        )
        self._send_first(record)
        return record

    def records(self) -> Iterable[CallRecord]:
        """Return all stored calls, oldest first."""
        return tuple(self._kept)

    def record(self, event_id: str) -> CallRecord | None:
        """Return the latest call with an event id."""
        return self._latest.get(event_id)

    def receive(self, reply: Event) -> CallRecord | None:
        """Process a published reply and return its call, whether the reply was accepted or not."""
        previous = reply.get("previousIds")
        request_id = previous[0] if isinstance(previous, list) and previous else previous
        record = self._by_key.get((str(request_id), reply.get("name")))
        if record is None:
            self._stats.unmatched += 1
            if (named := self._latest.get(str(request_id))) is not None:
                named.replies.append(Reply("unmatched", epoch_ms(), reply))
            return named
        kind = self._kind(record, reply)
        record.replies.append(Reply(kind, epoch_ms(), reply))
        if kind == "final":
            failed = reply.get("transitioning") == "error"
            self._end(record, "error" if failed else "success")
        elif kind == "progress":
            record.progressed = record.name in PROLONGED_BY_PROGRESS
        return record

    async def wait(self, record: CallRecord, wait_s: float) -> CallRecord:
        """Wait for a call or its retry; return it when it ended or after the timeout."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
        while True:
            while record.next is not None:
                record = record.next
            if record.ended or loop.time() >= deadline_s:
                return record
            moved: asyncio.Future[None] = loop.create_future()
            record.on_end.append(partial(_wake, moved))
            await asyncio.wait((moved,), timeout=deadline_s - loop.time())

    def stop(self) -> None:
        """Cancel the timers."""
        for record in self._by_key.values():
            if record.timer is not None:
                record.timer.cancel()

    def _filled(self, event: Event, timeout_s: float, *, one_way: bool) -> Event:
        """Return the event with id, time and, unless disabled, a reply address."""
        made: Event = {
            "id": new_event_id(),
            "time": int(epoch_ms()) + self._clock_offset_ms,
        }
        if not one_way:
            made["timeoutMillis"] = round(timeout_s * 1000)
            if event.get("replyTo") is None:
                free = self._free_addresses
                made["replyTo"] = free.pop() if free else new_reply_address()
            if (context := context_of(event)) is not None:
                made["context"] = context
        given = {
            key: value
            for key, value in event.items()
            if value is not None or key not in ("id", "time", "timeoutMillis")
        }
        if not one_way and given.get("replyTo") is None:
            given.pop("replyTo", None)
        return {**made, **given}

    def _send_first(self, record: CallRecord) -> None:
        self._by_key[record.id_key] = record
        self._latest[record.id] = record
        if record.kept:
            self._kept.append(record)
            self._stats.calls += 1
            self.observe(record)
        record.started_s = asyncio.get_running_loop().time()
        if record.state == "waiting" and record.agent.state not in CALLABLE:
            # Cattle does not even try: nothing on the wire, at once as if it had timed out.
            record.expiries = record.sends
            self._time_out(record)
            return
        self._send(record)
        if record.state == "waiting":
            self._arm(record)

    def _send(self, record: CallRecord) -> None:
        assert record.event is not None
        record.sent_ms.append(epoch_ms())
        record.sockets = self._subscriptions.publish(record.event, record.agent.agent_id)

    def _arm(self, record: CallRecord) -> None:
        loop = asyncio.get_running_loop()
        record.timer = loop.call_later(record.timeout_s, self._expire, record)

    def _expire(self, record: CallRecord) -> None:
        """Handle a timeout: wait again after progress, else send again, else fail the call."""
        if record.progressed:
            record.progressed = False
        else:
            record.expiries += 1
            if record.expiries >= record.sends:
                self._time_out(record)
                return
            self._send(record)
        self._arm(record)

    def _time_out(self, record: CallRecord) -> None:
        record.state = "timeout"
        if record.kept:
            self._stats.timeouts += 1
        self._conclude(record)

    def _conclude(self, record: CallRecord) -> None:
        """Handle the end of a call: send it again, undo it, or close it."""
        if record.lent_address and record.reply_to is not None:
            self._free_addresses.append(record.reply_to)
        record.decide_retry()
        if not record.will_retry:
            undoing = follow_up(record) if record.as_process else None
            if undoing is not None:
                record.followed_by = self.start(
                    record.agent, undoing, timeout_s=record.timeout_s, as_process=True
                )
            self._close(record)
        elif record.state == "error":  # back to back
            self._retry(record)
        else:
            wait_s = retry_wait_s(record.attempt) if record.backoff_s is None else record.backoff_s
            loop = asyncio.get_running_loop()
            record.timer = loop.call_later(wait_s, self._retry, record)

    def _retry(self, record: CallRecord) -> None:
        """Replay the call as cattle's process layer does: same resource, new id, new address."""
        assert record.event is not None
        event = self._filled(without_call(record.event), record.timeout_s, one_way=False)
        again = CallRecord(
            id=event["id"],
            reply_to=event["replyTo"],
            name=record.name,
            agent=record.agent,
            timeout_s=record.timeout_s,
            sends=record.sends,
            event=event,
            retries_new_id=record.retries_new_id,
            backoff_s=record.backoff_s,
            as_process=record.as_process,
            lent_address=True,
            attempt=record.attempt + 1,
            tries=record.tries + 1 if record.state == "error" else 1,
            retry_of=record.id,
        )
        record.next = again
        self._send_first(again)
        self._close(record)

    def _kind(self, record: CallRecord, reply: Event) -> ReplyKind:
        """Classify a matching reply and count it."""
        final = reply.get("transitioning") in (None, "no", "error")
        if record.state == "one_way":
            self._stats.unmatched += 1
            return "unmatched"
        if record.state == "timeout":
            self._stats.late += record.kept
            return "late"
        if record.state == "waiting":
            self._stats.finals += record.kept and final
            self._stats.progress += record.kept and not final
            return "final" if final else "progress"
        if not final:
            self._stats.progress_after_final += 1
            return "progress_after_final"
        first = record.final or {}
        same = first.get("id") is not None and first.get("id") == reply.get("id")
        if not record.kept:
            self._stats.pings_duplicated += 1
        elif same:
            self._stats.duplicates_same_id += 1
        else:
            self._stats.duplicates_other_id += 1
        return "duplicate"

    def _end(self, record: CallRecord, state: str) -> None:
        record.state = "error" if state == "error" else "success"
        elapsed_s = asyncio.get_running_loop().time() - record.started_s
        record.elapsed_ms = round(elapsed_s * 1000, 3)
        if record.timer is not None:
            record.timer.cancel()
        self._conclude(record)

    def _close(self, record: CallRecord) -> None:
        """Close the call: drop the payload, wake the waiters, and remove a ping after a while."""
        record.event = None
        record.timer = None
        waiting, record.on_end = record.on_end, []
        for tell in waiting:
            tell(record)
        if not record.kept:
            forget_s = FORGET_AFTER_TIMEOUTS * record.timeout_s
            asyncio.get_running_loop().call_later(forget_s, self._forget, record)

    def _forget(self, record: CallRecord) -> None:
        self._by_key.pop(record.id_key, None)
        if self._latest.get(record.id) is record:
            del self._latest[record.id]
