"""A TCP proxy between two parts that injects network faults.

Configure a part with the address of the proxy instead of the address of its peer. `listen` and
`target` are `127.0.0.1:PORT` or, with a slash, paths of unix sockets, for example of an Engine.

    proxy.cut()                  resets every connection; accepts new ones
    proxy.refuse()               resets every connection; refuses new ones
    proxy.black_hole(...)        keeps and accepts connections, but forwards nothing
    proxy.delay_s = 0.2          delays each chunk
    proxy.heal()                 forwards again; resets connections from the black hole
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

PIECE_BYTES = 64 * 1024
CALL_TIMEOUT_S = 10
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Proxy:
    """One proxied connection path; a context manager. Thread-safe."""

    def __init__(self, target: str, *, listen: str = "127.0.0.1:0") -> None:
        self.target = target
        self.delay_s = 0.0
        self._listen = listen
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing = {"up": asyncio.Event(), "down": asyncio.Event()}
        self._tasks: set[asyncio.Task[None]] = set()
        #: Connections taken since the start.
        self.connections = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._open())
        self._call(self._let_pass())
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._call(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_TIMEOUT_S)
        self._loop.close()

    @property
    def address(self) -> str:
        """Return its address: `127.0.0.1:PORT`, or the path of the unix socket."""
        return self._listen

    def url(self, original: str) -> str:
        """Return a url with the address of the proxy (`redis://h:1/0` -> `redis://127.0.0.1:2/0`)."""
        return original.replace(self.target, self._listen)

    def cut(self) -> None:
        """Reset every connection; accept new ones."""
        self._call(self._reset_all())

    def refuse(self) -> None:
        """Reset every connection and refuse new ones."""
        self._call(self._refuse())

    def black_hole(self, *, up: bool = True, down: bool = True) -> None:
        """Drop all data silently: `up` towards the target, `down` back."""
        self._call(self._hold(up=up, down=down))

    def heal(self) -> None:
        """Forward everything again."""
        self._call(self._heal())

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        done: Future[None] = asyncio.run_coroutine_threadsafe(work, self._loop)
        done.result(CALL_TIMEOUT_S)

    async def _open(self) -> None:
        if "/" in self._listen:
            self._server = await asyncio.start_unix_server(self._carry, self._listen, backlog=512)
            return
        host, _, port = self._listen.rpartition(":")
        self._server = await asyncio.start_server(self._carry, host, int(port), backlog=512)
        self._listen = f"{host}:{self._server.sockets[0].getsockname()[1]}"

    async def _shut(self) -> None:
        await self._refuse()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _let_pass(self) -> None:
        for passing in self._passing.values():
            passing.set()

    async def _hold(self, *, up: bool, down: bool) -> None:
        for name, held in (("up", up), ("down", down)):
            if held:
                self._passing[name].clear()

    async def _heal(self) -> None:
        if not all(passing.is_set() for passing in self._passing.values()):
            await self._reset_all()
        await self._let_pass()
        if self._server is None:
            await self._open()

    async def _refuse(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        await self._reset_all()

    async def _reset_all(self) -> None:
        for writer in tuple(self._writers):
            _reset(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self._writers.add(writer)
        try:
            await self._passing["up"].wait()
            await self._join(reader, writer)
        except (OSError, asyncio.CancelledError):
            _reset(writer)
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await self._connect()
        self._writers.add(far_writer)
        try:
            await asyncio.gather(
                self._pump(reader, far_writer, self._passing["up"]),
                self._pump(far_reader, writer, self._passing["down"]),
            )
        finally:
            self._writers.discard(far_writer)
            far_writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if "/" in self.target:
            return await asyncio.open_unix_connection(self.target)
        host, _, port = self.target.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: asyncio.Event
    ) -> None:
        try:
            while piece := await reader.read(PIECE_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await passing.wait()
                writer.write(piece)
                await writer.drain()
            if writer.can_write_eof() and not writer.is_closing():
                writer.write_eof()
        except OSError:
            # A broken side breaks the other one, as without a proxy.
            _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP reset if the socket supports it."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
