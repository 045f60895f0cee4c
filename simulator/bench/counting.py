"""Count the requests to the Engine with a proxy at its socket."""

from __future__ import annotations

import asyncio
import re
import tempfile
import threading
from collections import Counter
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Self

_WORDS = frozenset(
    {
        *("containers", "images", "volumes", "json", "create", "start", "stop", "kill"),
        *("wait", "info", "version", "_ping"),
    }
)
_VERSION = re.compile(r"^/v\d+\.\d+(?=/)")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"
_HEAD_MOST_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16
_CALL_TIMEOUT_S = 10


class CallCounter:
    """A unix socket that forwards to the Engine's and counts the requests."""

    def __init__(self, docker_host: str) -> None:
        scheme, _, path = docker_host.partition("://")
        if scheme != "unix":
            raise ValueError(
                f"calls are counted at a unix socket, and DOCKER_HOST is {docker_host}: run the "
                "bench where the Engine's socket is, or without DOCKER_HOST"
            )
        self._engine_path = path
        self._calls: Counter[str] = Counter()
        self._folder = tempfile.TemporaryDirectory(prefix="cowpoke-bench-")
        self._path = Path(self._folder.name) / "docker.sock"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def docker_host(self) -> str:
        """Return its address in the format of DOCKER_HOST."""
        return f"unix://{self._path}"

    def calls(self) -> Counter[str]:
        """Return the number of requests by kind (`POST /containers/*/start`)."""
        return self._calls.copy()

    def __enter__(self) -> Self:
        self._thread.start()
        opened: Future[None] = asyncio.run_coroutine_threadsafe(self._open(), self._loop)
        opened.result(_CALL_TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        shut: Future[None] = asyncio.run_coroutine_threadsafe(self._shut(), self._loop)
        shut.result(_CALL_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_TIMEOUT_S)
        self._loop.close()
        self._folder.cleanup()

    async def _open(self) -> None:
        self._server = await asyncio.start_unix_server(
            self._carry, str(self._path), limit=_HEAD_MOST_BYTES
        )

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            far_reader, far_writer = await asyncio.open_unix_connection(self._engine_path)
            try:
                back = asyncio.create_task(_pump(far_reader, writer))
                try:
                    await self._count(reader, far_writer)
                finally:
                    back.cancel()
            finally:
                far_writer.close()
        writer.close()
        self._tasks.discard(task)

    async def _count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(_HEAD_END)
            self._calls[kind_of(head)] += 1
            writer.write(head)
            if _CHUNKED.search(head):
                # An upload; its connection carries nothing after it.
                await _pump(reader, writer)
                return
            if (length := _LENGTH.search(head)) and (size := int(length[1])):
                writer.write(await reader.readexactly(size))
            await writer.drain()


def kind_of(head: bytes) -> str:
    """Return method and path of a request, with `*` in place of ids and names."""
    method, target, *_ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    path = _VERSION.sub("", target).partition("?")[0]
    words = [word if word in _WORDS else "*" for word in path.strip("/").split("/")]
    return f"{method} /{'/'.join(words)}"


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_PIECE_BYTES):
        writer.write(piece)
        await writer.drain()
