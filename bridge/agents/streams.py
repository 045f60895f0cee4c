"""The subscriptions of all agents: one task for each, begun and ended as agents come and go."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from bridge.settings import AgentKeys

#: Time for cattle to confirm that websockets are closed; until then their frames are taken over.
LEAVE_S = 1.5


class Stream(Protocol):
    """The subscription of one agent."""

    async def run(self) -> None:
        """Serve the agent until cancelled, or until cattle has confirmed a `leave`."""

    async def leave(self) -> bool:
        """Begin to close the websocket; return False if none is open."""


class Streams:
    """The tasks; one that ends by itself is a defect and ends the bridge loudly."""

    def __init__(self, open_stream: Callable[[AgentKeys], Stream]) -> None:
        self._open_stream = open_stream
        self._running: dict[AgentKeys, tuple[Stream, asyncio.Task[None]]] = {}
        #: Those that were told to end and close their websockets.
        self._ending: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._broken: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()

    def start(self, agent: AgentKeys) -> None:
        """Begin the subscription of an agent; not any more once the bridge leaves."""
        if self._is_closed:
            return
        stream = self._open_stream(agent)
        task = asyncio.create_task(stream.run())
        self._running[agent] = stream, task
        task.add_done_callback(self._over)

    def end(self, agent: AgentKeys) -> None:
        """Close the subscription of an agent; events that it brought are worked on all the same."""
        stream, task = self._running.pop(agent, (None, None))
        if stream is not None and task is not None:
            self._ending.add(task)
            leaving = asyncio.create_task(_leave(stream, task))
            self._ending.add(leaving)
            leaving.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        if task in self._ending:
            self._ending.discard(task)
            # Whatever went wrong in closing a websocket that nobody needs.
            _ = task.cancelled() or task.exception()
        elif not task.cancelled():
            self._broken.put_nowait(task)

    async def run(self) -> None:
        """Raise what ended a subscription that nobody ended."""
        await (await self._broken.get())

    async def close(self) -> None:
        """End all of them for good."""
        self._is_closed = True
        for agent in tuple(self._running):
            self.end(agent)
        await asyncio.gather(*self._ending, return_exceptions=True)


async def _leave(stream: Stream, task: asyncio.Task[None]) -> None:
    """End a subscription without dropping a frame that cattle sent to it."""
    if await stream.leave():
        await asyncio.wait({task}, timeout=LEAVE_S)
    task.cancel()
