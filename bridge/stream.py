"""The life of one agent's websocket: connect, read, notice silence, connect again, for ever.

Reading does nothing but decode and hand over: cattle drops a subscriber that reads too slowly, and
with it the events.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp

from bridge.decode import MOST_BYTES
from bridge.errors import StreamClosedError
from bridge.hosts import Hosts
from bridge.pace import Pace
from bridge.reconnect import Ending, next_delay
from bridge.settings import AgentKeys, BridgeSettings
from bridge.waking import wake
from worker.contract.routes import LANES
from worker.log import logger

_log = logger(__name__)

CONNECT_TIMEOUT_S = 20.0
WEBSOCKET_PING_EVERY_S = 10.0
#: Kinds of account that are a host's agent, or may speak for one. Anything else means that the
#: server took our keys for somebody else's: with security off it takes bad keys for the admin's.
_ACCOUNT_KINDS = frozenset({"agent", "service"})
_REFUSALS = {
    401: Ending.UNAUTHORIZED,
    403: Ending.FORBIDDEN,
    422: Ending.AMBIGUOUS,
}
_ADVICE = {
    Ending.UNAUTHORIZED: "cattle does not know these keys (401): check CATTLE_ACCESS_KEY and "
    "CATTLE_SECRET_KEY, or register the host again if it was removed",
    Ending.FORBIDDEN: "cattle has no agent of these keys that may subscribe yet (403): it is still "
    "registering, or it was deactivated",
    Ending.AMBIGUOUS: "the account of these keys owns several live agents (422): remove the extra "
    "agents in cattle",
}

#: When a renewed subscription stands, the old one is read for this long still.
_OVERLAP_S = 0.5

#: Takes a frame for an agent and a host, and says whether cattle asked something; it waits only
#: while the intake is full.
HandleFrame = Callable[[str | bytes, AgentKeys, str], Awaitable[bool]]


class AgentStream:
    """One agent's subscription."""

    def __init__(  # noqa: PLR0913 -- wired in one place
        self,
        settings: BridgeSettings,
        agent: AgentKeys,
        *,
        session: aiohttp.ClientSession,
        hosts: Hosts,
        pace: Pace,
        handle: HandleFrame,
    ) -> None:
        self._settings = settings
        self._agent = agent
        self._session = session
        self._hosts = hosts
        self._pace = pace
        self._handle = handle
        self._socket: aiohttp.ClientWebSocketResponse
        self._log = _log.bind(agent=agent.access_key)

    async def run(self) -> None:
        """Keep the subscription as long as the bridge runs and the host lives."""
        failures = 0
        while True:
            host_uuid = await self._hosts.wait_alive(self._agent)
            await self._pace.turn()
            began_s = time.monotonic()
            try:
                await self._listen(host_uuid)
                ended = StreamClosedError("the server closed the websocket", Ending.CLOSED)
            except StreamClosedError as error:
                ended = error
            delay = next_delay(
                ended.ending,
                lived_s=time.monotonic() - began_s,
                failures=failures,
                jitter=random.random(),  # noqa: S311 -- spreads load, guards nothing
            )
            failures = delay.failures
            self._log.warning(
                "stream.closed",
                reason=ended.message,
                ending=ended.ending,
                retry_in_s=round(delay.wait_s, 2),
            )
            await asyncio.sleep(delay.wait_s)

    async def _listen(self, host_uuid: str) -> None:
        self._socket = await self._connect()
        self._log.info("stream.opened", host=host_uuid)
        away = asyncio.create_task(self._close_when_away(host_uuid))
        try:
            await self._read(host_uuid)
        except TimeoutError:
            raise StreamClosedError(
                f"not even a heartbeat for {self._settings.event_read_timeout_s:g} s"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise StreamClosedError(f"the websocket broke: {error}") from error
        finally:
            away.cancel()
            await _close(self._socket)

    async def _read(self, host_uuid: str) -> None:
        """Hand on what comes; returns when the server closed in order."""
        asked_s = time.monotonic()
        # Spread, so that agents given up together do not all come back together.
        patience_s = self._settings.unasked_timeout_s * random.uniform(1, 1.5)  # noqa: S311
        while True:
            message = await self._receive(self._settings.event_read_timeout_s)
            if message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                if await self._handle(message.data, self._agent, host_uuid):
                    asked_s = time.monotonic()
            elif message.type is aiohttp.WSMsgType.ERROR:
                raise StreamClosedError(f"the websocket broke: {self._socket.exception()}")
            elif self._socket.close_code in {1000, 1001}:
                return
            else:
                raise StreamClosedError(f"the websocket was cut (code {self._socket.close_code})")
            if time.monotonic() - asked_s > patience_s:
                await self._renew(host_uuid)
                asked_s = time.monotonic()

    async def _receive(self, within_s: float) -> aiohttp.WSMessage:
        """The next message, by our own clock: aiohttp's begins anew with each pong.

        Errors: TimeoutError.
        """
        async with asyncio.timeout(within_s):
            return await self._socket.receive()

    async def _renew(self, host_uuid: str) -> None:
        """Subscribe once more, since cattle pings a live agent every 5 s.

        It gave this one up while its pongs did not arrive, and takes it back when it subscribes.
        The old websocket is read on for a moment: what was sent before the new one stood is there.
        """
        self._log.warning("stream.renewed", reason="cattle has asked nothing for long")
        fresh = await self._connect()
        try:
            # Both get everything from now on; what comes twice is accepted once.
            async with asyncio.timeout(_OVERLAP_S):
                while (message := await self._socket.receive()).type is aiohttp.WSMsgType.TEXT:
                    await self._handle(message.data, self._agent, host_uuid)
        except TimeoutError:
            pass
        finally:
            old, self._socket = self._socket, fresh
            await _close(old)

    async def _close_when_away(self, host_uuid: str) -> None:
        await self._hosts.wait_away(host_uuid)
        self._log.warning("host.away", host=host_uuid)
        await self._socket.close()

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        agent = self._agent
        base_url = self._settings.cattle_url.replace("http", "ws", 1)
        try:
            socket = await asyncio.wait_for(
                self._session.ws_connect(
                    f"{base_url}/subscribe",
                    params=[("eventNames", agent.topic(name)) for name in LANES],
                    headers=agent.headers,
                    heartbeat=WEBSOCKET_PING_EVERY_S,
                    max_msg_size=MOST_BYTES,
                    compress=0,
                ),
                CONNECT_TIMEOUT_S,
            )
        except aiohttp.WSServerHandshakeError as error:
            ending = _REFUSALS.get(error.status, Ending.LOST)
            answered = f"cattle answered {error.status} to the subscription"
            raise StreamClosedError(_ADVICE.get(ending, answered), ending) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise StreamClosedError(
                f"{self._settings.cattle_url} cannot be reached: {type(error).__name__} {error}"
            ) from error
        # aiohttp shows the headers of the upgrade nowhere else.
        kind = socket._response.headers.get("X-API-ACCOUNT-KIND")  # noqa: SLF001
        if kind is not None and kind not in _ACCOUNT_KINDS:
            await socket.close()
            raise StreamClosedError(
                f"cattle took these keys for an account of kind {kind!r}, not an agent's: it does "
                "not know them and its access control is off; register the host again",
                Ending.WRONG_ACCOUNT,
            )
        await wake(self._session, self._settings.cattle_url, agent)
        return socket


async def _close(socket: aiohttp.ClientWebSocketResponse) -> None:
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        await asyncio.wait_for(socket.close(), timeout=2)
