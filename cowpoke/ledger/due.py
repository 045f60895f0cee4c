"""The sweeper of the bridges: looks at the events whose check is due, whatever their host.

An index holds the time of each open event's next check, so the cost of a look grows with what is
due, and not with the number of hosts or events. What is due and needs nothing is planned anew
inside Redis. When the workers of a host changed, all its open events are due at once. Workers may
not write to the index.
"""

from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any

import redis

from cowpoke import keys
from cowpoke.broker import concerns_one_key
from cowpoke.clock import Clock
from cowpoke.ledger.decisions import (
    NEXT_CHECK_FAR_MS,
    NEXT_CHECK_LEAST_MS,
    NEXT_CHECK_QUEUED_MS,
    OFFLINE_MARGIN_MS,
    OVERDUE_MS,
    Step,
)
from cowpoke.ledger.recovery import Sweeper, chunks
from cowpoke.ledger.script import text_of
from cowpoke.ledger.stories import OVER_FIELDS, OverEvent
from cowpoke.log import logger
from cowpoke.seal import Keyring
from cowpoke.version import CONTRACT_VERSION

_log = logger(__name__)

#: Events that one look takes from the index of next checks.
DUE_AT_ONCE = 500
#: Hosts whose events one call looks at; Redis does nothing else meanwhile.
HOSTS_AT_ONCE = 200
#: A sweeper that dies after it took events from the index leaves them for another one after this.
HELD_MS = 5_000
#: Events that are over and wait for the history; more are not kept.
MOST_OVER = 10_000

_FIRST_QUEUE, *_OTHER_QUEUES = keys.queues("")
#: What the names of a host's queues end with.
_QUEUE_ENDINGS = ("", *(queue.removeprefix(_FIRST_QUEUE) for queue in _OTHER_QUEUES))


class BridgeSweeper(Sweeper):
    """Looks at open events of all hosts, for a bridge. Thread-safe."""

    def __init__(self, client: "redis.Redis", keyring: Keyring, clock: Clock) -> None:
        super().__init__(client, keyring, clock)
        #: Events that ended without a reply, until `take_over`.
        self._over: deque[OverEvent] = deque(maxlen=MOST_OVER)
        self._script = client.register_script(text_of("due"))

    def sweep_host(self, host_uuid: str, known_dead: Collection[str] = ()) -> Counter[Step]:
        """Look at every open event of a host once, and plan the next look at each.

        Returns how many of each step took effect. A host without open events is forgotten.
        """
        return self._sweep_some(host_uuid, self._ledger.open_ids(host_uuid), known_dead)

    def hasten(self, hosts: Sequence[str]) -> None:
        """Let every open event of some hosts be due now: their workers changed.

        Errors: redis.RedisError.
        """
        for start in range(0, len(hosts), HOSTS_AT_ONCE):
            self._step("hasten", *hosts[start : start + HOSTS_AT_ONCE])

    def check_index(self, *, are_all_due: bool = False) -> None:
        """Put open events that are missing in the index back, and forget hosts without any.

        `are_all_due`: have every open event looked at now, since the times in the index are wrong.
        Errors: redis.RedisError.
        """
        cursor = self.check_index_part("0", are_all_due=are_all_due)
        while cursor != "0":
            cursor = self.check_index_part(cursor, are_all_due=are_all_due)

    def check_index_part(self, cursor: str, *, are_all_due: bool = False) -> str:
        """Do the same for some hosts; return the cursor of the next ones, `0` after the last.

        Errors: redis.RedisError.
        """
        args = *(cursor, HOSTS_AT_ONCE), int(are_all_due)
        return str(self._step("compare", *args, *_QUEUE_ENDINGS))

    def sweep_due(self) -> tuple[dict[str, Counter[Step]], bool]:
        """Look at the events whose check is due, by one bridge at a time.

        Returns the steps that took effect by host, and whether more may be due.
        """
        is_clock_steady = len(self.clock.readings_ms()) == 1
        number, *members = self._step(
            "take",
            *(DUE_AT_ONCE, HELD_MS, NEXT_CHECK_FAR_MS, NEXT_CHECK_QUEUED_MS),
            *(OFFLINE_MARGIN_MS, OVERDUE_MS, CONTRACT_VERSION, int(is_clock_steady)),
        )
        by_host: dict[str, list[str]] = {}
        for member in map(str, members):
            host_uuid, _, event_id = member.partition(" ")
            by_host.setdefault(host_uuid, []).append(event_id)
        steps: dict[str, Counter[Step]] = {}
        for host_uuid, event_ids in by_host.items():
            try:
                steps[host_uuid] = self._sweep_some(host_uuid, event_ids)
            except redis.ResponseError as problem:
                if not concerns_one_key(problem):
                    raise
                # A key of this host was replaced by something else: the other hosts go on.
                _log.error("host.unreadable", host=host_uuid, reason=str(problem))
        return steps, int(number) == DUE_AT_ONCE

    def take_over(self) -> list[OverEvent]:
        """Return the events that were found over since the last call; each is found once."""
        taken = []
        while self._over:
            taken.append(self._over.popleft())
        return taken

    def _sweep_some(
        self, host_uuid: str, event_ids: Sequence[str], known_dead: Collection[str] = ()
    ) -> Counter[Step]:
        counts: Counter[Step] = Counter()
        entries = self._ledger.open_entries(host_uuid, event_ids)
        checks_ms = self._sweep(host_uuid, entries, known_dead, counts) if entries else {}
        self._plan_checks(host_uuid, event_ids, checks_ms)
        if not checks_ms:
            # Nothing happens if it has other open events.
            self._step("forget", host_uuid, *_QUEUE_ENDINGS)
            self._leases.forget_dead(host_uuid)
        return counts

    def _plan_checks(
        self, host_uuid: str, event_ids: Sequence[str], checks_ms: Mapping[str, int]
    ) -> None:
        for some in chunks(event_ids):
            pairs = [(event_id, str(checks_ms.get(event_id, 0))) for event_id in some]
            over = self._step("plan", host_uuid, NEXT_CHECK_LEAST_MS, *chain.from_iterable(pairs))
            for row in _rows(list(map(str, over)), 1 + len(OVER_FIELDS)):
                fields = dict(zip(OVER_FIELDS, row[1:], strict=True))
                self._over.append(OverEvent(host_uuid=host_uuid, event_id=row[0], **fields))

    def _step(self, step: str, *args: str | int) -> Any:  # noqa: ANN401 -- each step has its own answer
        return self._script(keys=[keys.DUE, keys.HOSTS], args=[step, keys.PREFIX, *args])


def _rows(words: Sequence[str], length: int) -> list[Sequence[str]]:
    """Return the rows that a script answers as one list."""
    return [words[first : first + length] for first in range(0, len(words), length)]
