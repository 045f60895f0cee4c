"""The subscriptions of all agents: one task for each, begun and ended as agents come and go."""

import asyncio
from collections.abc import Callable, Coroutine

from bridge.settings import AgentKeys

#: Runs the subscription of an agent until cancelled.
RunStream = Callable[[AgentKeys], Coroutine[None, None, None]]


class Streams:
    """The tasks; one that ends by itself is a defect and ends the bridge loudly."""

    def __init__(self, run_stream: RunStream) -> None:
        self._run_stream = run_stream
        self._tasks: dict[AgentKeys, asyncio.Task[None]] = {}
        #: Those that were told to end and close their websockets.
        self._ending: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._broken: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()

    def start(self, agent: AgentKeys) -> None:
        """Begin the subscription of an agent; not any more once the bridge leaves."""
        if self._is_closed:
            return
        task = asyncio.create_task(self._run_stream(agent))
        self._tasks[agent] = task
        task.add_done_callback(self._over)

    def end(self, agent: AgentKeys) -> None:
        """Close the subscription of an agent; events that it brought are worked on all the same."""
        task = self._tasks.pop(agent, None)
        if task is not None:
            self._ending.add(task)
            task.cancel()

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
        for agent in tuple(self._tasks):
            self.end(agent)
        await asyncio.gather(*self._ending, return_exceptions=True)
