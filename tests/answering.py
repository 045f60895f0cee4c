"""A server on loopback that answers requests as a test says, for parts of the bridge alone."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web

#: Makes the answer to one request.
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
#: For clients of plain http: unlike a default context, it reads no certificates of the machine.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@asynccontextmanager
async def answering(
    answer: Answer, *, ssl_context: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Answer all requests, and give the url of the server, without a path."""
    transports: set[asyncio.BaseTransport] = set()

    async def answered(request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            transports.add(request.transport)
        return await answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answered)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_context).start()
        scheme = "http" if ssl_context is None else "https"
        yield f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        # TLS would wait for the peer's farewell, longer than the loop of a test runs.
        for transport in transports:
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)


@contextmanager
def answering_thread(answer: Answer) -> Iterator[str]:
    """Answer all requests in a thread, for programs that a test starts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    serving = answering(answer)
    try:
        yield asyncio.run_coroutine_threadsafe(serving.__aenter__(), loop).result(10)
    finally:
        closing = serving.__aexit__(None, None, None)
        asyncio.run_coroutine_threadsafe(closing, loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
