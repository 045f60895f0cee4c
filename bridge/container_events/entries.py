"""The entries of the streams, read and opened beside the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from bridge.container_events.host_report import Head, HostReport
from bridge.container_events.streams import ContainerEventStreams, Entry
from cowpoke.container_events import ContainerEvent, opened_container_event
from cowpoke.seal import ClusterKeyring, SealBrokenError

T = TypeVar("T")

_THREADS = 4
#: Before a host is looked at again that another bridge has, or that Redis kept back.
LATER_S = 2.0


class StandBackError(Exception):
    """Raised when this bridge leaves a host to others for a while."""

    def __init__(self, for_s: float) -> None:
        super().__init__(f"for {for_s} s")
        self.for_s = for_s


class Entries:
    """The streams of all hosts, for the tasks that report them."""

    def __init__(self, streams: ContainerEventStreams, keyring: ClusterKeyring) -> None:
        self._streams = streams
        self._keyring = keyring
        # Threads of their own: events must not wait behind other calls in the shared pool.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="container-events")

    async def filled(self) -> list[str]:
        """Return the hosts with container events.

        Errors: redis.RedisError.
        """
        parts = await self._call(lambda: list(self._streams.filled()))
        return [host_uuid for part in parts for host_uuid in part]

    async def step(self, host_uuid: str, **options: Any) -> list[Entry]:  # noqa: ANN401
        """Take a step of `ContainerEventStreams` with a host.

        Errors: redis.RedisError; StandBackError when another bridge has the host.
        """
        entries = await self._call(partial(self._streams.step, host_uuid, **options))
        if entries is None:
            raise StandBackError(LATER_S)
        return entries

    async def release(self, host_uuid: str) -> None:
        """Let another bridge have a host.

        Errors: redis.RedisError.
        """
        await self._call(self._streams.release, host_uuid)

    async def opened(self, host_uuid: str, text: str) -> ContainerEvent:
        """Open a sealed event.

        Errors: SealBrokenError, UnknownVersionError.
        """
        sealer = self._keyring.host(host_uuid)
        return await self._call(partial(opened_container_event, sealer, text, host_uuid=host_uuid))

    async def event(self, host_uuid: str, report: HostReport, head: Head) -> ContainerEvent | None:
        """Return the event of an entry that was read before; None when it is gone.

        Errors: redis.RedisError.
        """
        if report.opened is not None and report.opened[0] == head.entry_id:
            return report.opened[1]
        text = await self._call(self._streams.text_of, host_uuid, head.entry_id)
        if text is None:
            return None
        try:
            event = await self.opened(host_uuid, text)
        except SealBrokenError:
            return None
        report.opened = (head.entry_id, event)
        return event

    async def _call(self, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)
