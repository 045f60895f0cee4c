"""The life of one agent's websocket: connect, read, notice silence, connect again, for ever.

Reading does nothing but decode and hand over: cattle drops a subscriber that reads too slowly, and
with it the events. All times are by a clock that does not count pauses of the process: frames that
arrived meanwhile are read before silence is judged.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp
from multidict import CIMultiDict

from bridge.agents.removals import Removals
from bridge.awake import AwakeClock
from bridge.client import UNREACHED, RedirectedError, foreign_kind
from bridge.errors import StreamClosedError
from bridge.hosts.choice import Hosts
from bridge.inbound.decode import MOST_BYTES
from bridge.inbound.pace import Pace
from bridge.inbound.reconnect import Ending, ending_of, next_delay
from bridge.inbound.reconnect_agent import reconnect_agent
from bridge.inbound.refusing import Refusing
from bridge.inbound.standing import Standing
from bridge.settings import AgentKeys, BridgeSettings
from cowpoke.log import logger
from cowpoke.routes import LANES

_log = logger(__name__)

CONNECT_TIMEOUT_S = 20.0
WEBSOCKET_PING_EVERY_S = 10.0
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
        wake_session: aiohttp.ClientSession,
        hosts: Hosts,
        standing: Standing,
        removals: Removals,
        clock: AwakeClock,
        pace: Pace,
        handle: HandleFrame,
    ) -> None:
        self._settings = settings
        self._agent = agent
        self._session = session
        self._wake_session = wake_session
        self._hosts = hosts
        self._standing = standing
        self._removals = removals
        self._refusing = Refusing(settings.removed_after_s)
        self._clock = clock
        self._pace = pace
        self._handle = handle
        self._socket: aiohttp.ClientWebSocketResponse
        self._log = _log.bind(agent=agent.access_key)

    async def run(self) -> None:
        """Keep the subscription as long as the bridge runs and the host lives."""
        failures = 0
        while True:
            host_uuid = await self._hosts.wait_alive(self._agent)
            self._standing.serves(self._agent, host_uuid)
            await self._pace.turn()
            began_s = self._clock.now_s()
            try:
                await self._listen(host_uuid)
                ended = StreamClosedError("the server closed the websocket", Ending.CLOSED)
            except StreamClosedError as error:
                ended = error
            jitter = random.random()  # noqa: S311 -- spreads load, guards nothing
            delay = next_delay(
                ended.ending,
                lived_s=self._clock.now_s() - began_s,
                failures=failures,
                jitter=jitter,
                refused_s=self._refusing.pause_s,
            )
            failures = delay.failures
            self._standing.closed(self._agent, ended.ending, ended.message)
            self._judge(ended, host_uuid)
            wait_s = self._refusing.wait_s(delay.wait_s, jitter)
            self._log.warning(
                "stream.closed",
                reason=ended.message,
                ending=ended.ending,
                retry_in_s=round(wait_s, 2),
            )
            await asyncio.sleep(wait_s)

    def _judge(self, ended: StreamClosedError, host_uuid: str) -> None:
        """Count a refusal of the keys; after many the host counts as removed in Rancher."""
        was_for_good = self._refusing.is_for_good
        if self._refusing.ended(ended.ending, self._clock.now_s()):
            self._standing.removed(self._agent, is_removed=True)
            self._removals.add(self._agent, host_uuid, reason=ended.message)
        elif was_for_good and not self._refusing.is_for_good:
            self._standing.removed(self._agent, is_removed=False)
            self._removals.clear(host_uuid)

    async def _listen(self, host_uuid: str) -> None:
        self._socket = await self._connect()
        self._standing.opened(self._agent)
        self._refusing.known()
        self._removals.clear(host_uuid)
        self._log.info("stream.opened", host=host_uuid)
        pinging = asyncio.create_task(self._ping_forever())
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
            pinging.cancel()
            away.cancel()
            await _close(self._socket)

    async def _read(self, host_uuid: str) -> None:
        """Pass on all frames; returns when the server closed in order."""
        asked_s = self._clock.now_s()
        # Spread, so that agents given up together do not all come back together.
        patience_s = self._settings.unasked_timeout_s * random.uniform(1, 1.5)  # noqa: S311
        while True:
            message = await self._receive(self._settings.event_read_timeout_s)
            if message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                if await self._handle(message.data, self._agent, host_uuid):
                    asked_s = self._clock.now_s()
                    self._standing.asked(self._agent)
            elif message.type is aiohttp.WSMsgType.ERROR:
                raise StreamClosedError(f"the websocket broke: {self._socket.exception()}")
            elif self._socket.close_code in {1000, 1001}:
                return
            else:
                raise StreamClosedError(f"the websocket was cut (code {self._socket.close_code})")
            if self._clock.now_s() - asked_s > patience_s:
                await self._renew(host_uuid)
                asked_s = self._clock.now_s()

    async def _receive(self, within_s: float) -> aiohttp.WSMessage:
        """Return the next message; pongs do not count, as a proxy may answer pings by itself.

        Errors: TimeoutError.
        """
        async with self._clock.timeout(within_s):
            return await self._socket.receive()

    async def _renew(self, host_uuid: str) -> None:
        """Subscribe once more, since cattle pings a live agent every 5 s.

        It gave this one up while its pongs did not arrive, and takes it back when it subscribes.
        The old websocket is read on for a moment: what was sent before the new one stood is there.
        """
        self._log.warning("stream.resubscribed", reason="no ping from cattle for long")
        fresh = await self._connect()
        try:
            # Both get everything from now on; what comes twice is accepted once.
            async with self._clock.timeout(_OVERLAP_S):
                while (message := await self._socket.receive()).type is aiohttp.WSMsgType.TEXT:
                    await self._handle(message.data, self._agent, host_uuid)
        except TimeoutError:
            pass
        finally:
            old, self._socket = self._socket, fresh
            await _close(old)

    async def _ping_forever(self) -> None:
        """Keep the connection alive in proxies that count only what the client sends.

        aiohttp's own heartbeat would judge missing pongs by timers that count pauses.
        """
        with suppress(aiohttp.ClientError, OSError):
            while True:
                await asyncio.sleep(WEBSOCKET_PING_EVERY_S)
                await self._socket.ping()

    async def _close_when_away(self, host_uuid: str) -> None:
        await self._hosts.wait_away(host_uuid)
        self._log.warning("stream.host_lost", host=host_uuid)
        await self._socket.close()

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        agent = self._agent
        base_url = self._settings.cattle_url.replace("http", "ws", 1)
        try:
            async with self._clock.timeout(CONNECT_TIMEOUT_S):
                socket = await self._session.ws_connect(
                    f"{base_url}/subscribe",
                    params=[("eventNames", agent.topic(name)) for name in LANES],
                    headers=agent.headers,
                    max_msg_size=MOST_BYTES,
                    compress=0,
                )
        except aiohttp.WSServerHandshakeError as error:
            raise _refused(error) from error
        except RedirectedError as error:
            raise StreamClosedError(f"cattle cannot be subscribed to: {error}") from error
        except UNREACHED as error:
            raise StreamClosedError(
                f"{self._settings.cattle_url} cannot be reached{self._by_way()}: "
                f"{type(error).__name__} {error}"
            ) from error
        # aiohttp shows the headers of the upgrade nowhere else.
        kind = foreign_kind(socket._response.headers)  # noqa: SLF001
        if kind is not None:
            await _close(socket)
            raise StreamClosedError(_wrong_account(kind), Ending.WRONG_ACCOUNT)
        await reconnect_agent(self._wake_session, self._settings.cattle_url, agent, self._clock)
        return socket

    def _by_way(self) -> str:
        return " through the proxy" if self._settings.proxy else ""


def _refused(error: aiohttp.WSServerHandshakeError) -> StreamClosedError:
    headers = CIMultiDict(error.headers or {})
    kind = foreign_kind(headers)
    ending = ending_of(error.status, is_foreign=kind is not None)
    answered = f"cattle answered {error.status} to the subscription"
    if ending is Ending.WRONG_ACCOUNT:
        return StreamClosedError(f"{answered}: {_wrong_account(str(kind))}", ending)
    return StreamClosedError(_ADVICE.get(ending, answered), ending)


def _wrong_account(kind: str) -> str:
    if kind == "admin":
        return (
            "cattle took these keys for an account of kind 'admin': it does not know them, and its "
            "access control is off; check CATTLE_ACCESS_KEY and CATTLE_SECRET_KEY, or register the "
            "host again if it was removed"
        )
    return (
        f"cattle took these keys for an account of kind {kind!r}; use the keys of the host's agent "
        "or of a service account"
    )


async def _close(socket: aiohttp.ClientWebSocketResponse) -> None:
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        await asyncio.wait_for(socket.close(), timeout=2)
