"""Fair turns of several hosts: for what waits in memory, and for a few slots.

One host with thousands of events has one turn, and then every other host that waits has one. So a
host waits for its own events only, and for at most one event of each other host.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Items by host, taken host by host; each host's own items in their order."""

    def __init__(self) -> None:
        self._hosts: OrderedDict[str, deque[T]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._hosts.values()))

    def __bool__(self) -> bool:
        return bool(self._hosts)

    def has(self, host: str) -> bool:
        """Return whether an item of this host waits."""
        return host in self._hosts

    def add(self, host: str, item: T) -> None:
        """Put an item behind the host's own."""
        self._hosts.setdefault(host, deque()).append(item)

    def next(self) -> T:
        """Take the first item of the host whose turn it is.

        Errors: KeyError when no item waits.
        """
        host, items = self._hosts.popitem(last=False)
        item = items.popleft()
        if items:
            self._hosts[host] = items
        return item


class FairQueue(Generic[T]):
    """A queue with fair turns, bounded by count and bytes of what it holds and what is in work.

    A host that has nothing here always gets one item in, so that a full queue stops only the hosts
    that filled it. The queue holds at most its limits and one item of each host beyond them.
    """

    def __init__(self, *, limit: int, limit_bytes: int) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._turns: Turns[tuple[T, int]] = Turns()
        self._changed = asyncio.Condition()
        #: Items and bytes that wait or are in work.
        self.count = 0
        self.bytes = 0

    async def put(self, host: str, item: T, size: int) -> None:
        """Add an item of `size` bytes; wait while the queue is full and has items of the host."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._has_room(size) or not self._turns.has(host))
            self._turns.add(host, (item, size))
            self.count += 1
            self.bytes += size
            self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        return self.count < self._limit and self.bytes + size <= self._limit_bytes

    async def take(self, most: int, most_bytes: int) -> list[tuple[T, int]]:
        """Wait for an item; return it and further ones, each with its size, until `most_bytes`."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._turns))
            taken: list[tuple[T, int]] = []
            while self._turns and len(taken) < most and sum(n for _, n in taken) < most_bytes:
                taken.append(self._turns.next())
            # A host without a waiting item gets one in.
            self._changed.notify_all()
            return taken

    async def done(self, taken: list[tuple[T, int]]) -> None:
        """Release the room of items that were taken."""
        async with self._changed:
            self.count -= len(taken)
            self.bytes -= sum(size for _, size in taken)
            self._changed.notify_all()

    async def join(self) -> None:
        """Return when nothing waits and nothing is in work."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.count == 0)


class FairSlots:
    """A semaphore whose free slots go to urgent waiters first, and host by host."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._urgent: Turns[asyncio.Future[None]] = Turns()
        self._others: Turns[asyncio.Future[None]] = Turns()

    @asynccontextmanager
    async def slot(self, host: str, *, urgent: bool = False) -> AsyncIterator[None]:
        """Hold a slot; wait for the host's turn while there is none."""
        await self._acquire(host, self._urgent if urgent else self._others)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, host: str, waiting: Turns[asyncio.Future[None]]) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.add(host, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # The slot was handed over in the moment of the cancellation.
                self._release()
            raise

    def _release(self) -> None:
        for waiting in (self._urgent, self._others):
            while waiting:
                turn = waiting.next()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._free += 1
