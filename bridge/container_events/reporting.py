"""Reports the container events of all hosts to cattle: each host's one after the other, in order.

One bridge at a time has a host. Hosts have fair turns at a few slots, so that a storm on one host
delays every other one by one POST. When cattle fails, one host at a time tries. Nothing is kept in
memory but the event that is being sent: what waits is in Redis, and is dropped when it is stale.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import redis

from bridge.container_events.entries import LATER_S, Entries, StandBackError
from bridge.container_events.host_report import Head, HostReport
from bridge.container_events.posting import ADVICE, Answer, End, Poster
from bridge.container_events.streams import ContainerEventStreams
from bridge.doorbell import Announcements
from bridge.inbound.fairness import FairSlots
from bridge.outbound.gate import Gate, Kind
from bridge.settings import AgentKeys
from cowpoke.clock import Clock, waited_ms
from cowpoke.container_events import STALE_AFTER_S, ContainerEvent
from cowpoke.envelopes import UnknownVersionError
from cowpoke.log import logger
from cowpoke.seal import ClusterKeyring, SealBrokenError

_log = logger(__name__)

#: POSTs at once: cattle starts a process for each, and replies have their own slots.
SLOTS = 8
#: Every stream is looked at this often, in case an announcement was lost.
LOOK_EVERY_S = 20.0
#: How often hosts without an agent are asked about; that costs no call to Redis.
UNSERVED_S = 0.5
#: For bridges of a later release to take a host over.
STAND_BACK_S = 10.0


class ContainerEventReporting:
    """The task that reports, and counts what became of the events."""

    def __init__(  # noqa: PLR0913 -- wired in one place
        self,
        streams: ContainerEventStreams,
        keyring: ClusterKeyring,
        clock: Clock,
        *,
        poster: Poster,
        announced: Announcements,
        agent_of: Callable[[str], AgentKeys | None],
    ) -> None:
        self._entries = Entries(streams, keyring)
        self._clock = clock
        self._poster = poster
        self._announced = announced
        self._agent_of = agent_of
        self._slots = FairSlots(SLOTS)
        self._gate = Gate()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        #: Hosts that announced something while they were being reported.
        self._again: set[str] = set()
        #: Hosts with events and without an agent.
        self._unserved: set[str] = set()
        #: The last complaint about each host, which is not logged twice.
        self._complaints: dict[str, str] = {}
        #: Events by what became of them.
        self.counts: Counter[str] = Counter()
        #: Refusals by status; some are tried again.
        self.refused: Counter[str] = Counter()

    async def run(self) -> None:
        """Report until cancelled."""
        loop = asyncio.get_running_loop()
        looked_s = float("-inf")
        try:
            while True:
                due_in_s = max(looked_s + LOOK_EVERY_S - loop.time(), 0)
                wait_s = min(due_in_s, UNSERVED_S) if self._unserved else due_in_s
                hosts, missed = await self._announced.take(wait_s)
                for host_uuid in hosts | self._unserved:
                    self._begin(host_uuid)
                if missed or loop.time() - looked_s >= LOOK_EVERY_S:
                    looked_s = loop.time()
                    await self._look_at_all()
        finally:
            # The claims of a bridge that leaves are void without its lease.
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_at_all(self) -> None:
        try:
            filled = await self._entries.filled()
        except redis.RedisError as problem:
            _log.debug("container_events.blocked", reason=str(problem))
            self._later(LATER_S, self._announced.mark_missed)
            return
        self._unserved.clear()
        for host_uuid in filled:
            self._begin(host_uuid)

    def _begin(self, host_uuid: str) -> None:
        if self._agent_of(host_uuid) is None:
            # Another bridge's, or of an agent that is not known here yet.
            self._unserved.add(host_uuid)
            return
        self._unserved.discard(host_uuid)
        if host_uuid in self._tasks:
            self._again.add(host_uuid)
            return
        task = asyncio.create_task(self._report(host_uuid))
        self._tasks[host_uuid] = task
        task.add_done_callback(partial(self._end, host_uuid))

    def _end(self, host_uuid: str, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return  # the bridge leaves
        del self._tasks[host_uuid]
        if host_uuid in self._again:
            self._again.discard(host_uuid)
            self._begin(host_uuid)

    def _later(self, delay_s: float, step: Callable[..., None], *args: str) -> None:
        asyncio.get_running_loop().call_later(delay_s, step, *args)

    async def _report(self, host_uuid: str) -> None:
        """Report what waits of one host, until nothing does or another bridge does it."""
        report = HostReport()
        again_in_s: float | None = None
        try:
            # `sleep` is a pause: nothing can wake the host earlier.
            while (pause_s := await self._turn(host_uuid, report)) is not None:  # noqa: ASYNC110
                await asyncio.sleep(pause_s)
        except redis.RedisError as problem:
            _log.debug("container_events.blocked", host=host_uuid, reason=str(problem))
            again_in_s = LATER_S
        except UnknownVersionError as problem:
            self._complain(host_uuid, str(problem), "update this bridge")
            again_in_s = STAND_BACK_S
        except StandBackError as found:
            again_in_s = found.for_s
        except Exception:  # noqa: BLE001 -- the other hosts go on
            _log.exception("container_events.crashed", host=host_uuid)
            again_in_s = STAND_BACK_S
        if again_in_s is not None:
            with suppress(redis.RedisError):
                await self._entries.release(host_uuid)
            self._later(again_in_s, self._announced.add, host_uuid)

    async def _turn(self, host_uuid: str, report: HostReport) -> float | None:
        """Report one event at most; return the pause before the next turn, None at the end.

        Errors: redis.RedisError, UnknownVersionError, StandBackError.
        """
        agent = self._agent_of(host_uuid)
        if agent is None:
            self._unserved.add(host_uuid)
            return None
        kind = Kind.RETRY if report.has_failed else Kind.FIRST_TRY
        async with self._gate.passing(kind), self._slots.slot(host_uuid):
            is_some_unreadable = await self._read(host_uuid, report)
            head = report.next()
            if head is None:
                return report.starts_wait_s() if report.heads or is_some_unreadable else None
            event = await self._entries.event(host_uuid, report, head)
            if event is None:
                report.over(head)  # the worker's newer events pushed it out
                return 0
            if self._is_old(head.occurred_ms):
                self.counts["stale"] += 1
                self._finish(report, head, event)
                return 0
            answer = await self._poster.post(agent, event)
            if answer.end is End.FAILED:
                self._gate.failed(host_uuid, kind)
            else:
                self._gate.succeeded()
            return self._take_answer(host_uuid, report, head, event, answer)

    async def _read(self, host_uuid: str, report: HostReport) -> bool:
        """Remove what is over, and look at the entries that are needed to decide what is next.

        Return whether an entry was unreadable, so that there may be more behind it.
        """
        done_id, report.done_id = report.done_id, None
        entries = await self._entries.step(
            host_uuid, done=done_id, after=report.last_id, most=report.wants
        )
        is_some_unreadable = False
        for entry in entries:
            try:
                event = await self._entries.opened(host_uuid, entry.text)
            except SealBrokenError as problem:
                is_some_unreadable = True
                self.counts["unreadable"] += 1
                self._complain(host_uuid, str(problem), "compare the keys of bridge and worker")
                await self._entries.step(host_uuid, done=entry.entry_id, most=0)
                continue
            except UnknownVersionError:
                if not self._is_old(entry.written_ms):
                    raise
                is_some_unreadable = True
                self.counts["stale"] += 1
                await self._entries.step(host_uuid, done=entry.entry_id, most=0)
                continue
            report.heads.append(Head.of(entry, event))
            report.opened = (entry.entry_id, event)
        return is_some_unreadable

    def _is_old(self, since_ms: int) -> bool:
        return waited_ms(since_ms, self._clock.known_ms()) > STALE_AFTER_S * 1000

    def _take_answer(
        self, host_uuid: str, report: HostReport, head: Head, event: ContainerEvent, answer: Answer
    ) -> float:
        """Count and log an answer; return the pause of the host."""
        pause_s = report.pause_s(answer, head)
        if answer.end is End.POSTED:
            self.counts["posted"] += 1
            self._complaints.pop(host_uuid, None)
            self._finish(report, head, event)
            _log.debug(
                "container_event.posted",
                host=host_uuid,
                container_id=head.container_id[:12],
                status=event.status,
            )
            return pause_s
        if answer.status is not None:
            self.refused[str(answer.status)] += 1
        if answer.end is End.REFUSED:
            _log.warning(
                "container_event.refused",
                host=host_uuid,
                container_id=head.container_id[:12],
                status=event.status,
                reason=answer.reason,
            )
            self._finish(report, head, event)
            return pause_s
        self.counts["retried"] += 1
        self._complain(host_uuid, answer.reason, ADVICE[answer.end])
        if answer.end is End.KEYS_REFUSED:
            # Another bridge may have keys that work.
            raise StandBackError(pause_s)
        return pause_s

    def _finish(self, report: HostReport, head: Head, event: ContainerEvent) -> None:
        # What the worker says it left out is counted with the event that says it.
        self.counts["coalesced"] += event.coalesced
        self.counts["stale"] += event.dropped
        report.over(head)

    def _complain(self, host_uuid: str, reason: str, advice: str) -> None:
        if self._complaints.get(host_uuid) == reason:
            return
        self._complaints[host_uuid] = reason
        _log.warning("container_events.delayed", host=host_uuid, reason=reason, advice=advice)
