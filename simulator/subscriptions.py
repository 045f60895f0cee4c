"""/subscribe: sockets, their topics, heartbeats, and the loss of frames.

Nothing is buffered, replayed or acknowledged: an event without a subscribed socket is lost. Topics
are broadcast: every socket that subscribed to a topic gets every event.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from simulator.schemas import types_of
from simulator.websocket_gaps import WebsocketGaps
from simulator.wire import (
    CattleRefusalError,
    Event,
    agent_of_topic,
    epoch_ms,
    frame,
    heartbeat_frame,
    topic,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.agents import Account, Agents
    from simulator.faults import Faults
    from simulator.settings import SimulatorSettings
    from simulator.stats import Stats

CLOSE_HANDSHAKE_S = 1.0


class Subscription:
    """One socket: its topics, its unflushed frames, its heartbeats."""

    def __init__(self, account: Account, topics: frozenset[str], frame_limit: int) -> None:
        self.account = account
        self.topics = topics
        self.agent_ids = frozenset(
            agent_id for name in topics if (agent_id := agent_of_topic(name)) is not None
        )
        self.ws = web.WebSocketResponse(
            autoping=False,  # a hanging server answers no pings either
            compress=False,
            writer_limit=0,  # a frame counts as unflushed until the kernel took it
        )
        self.transport: asyncio.Transport | None = None
        self.overflowed = False
        self._frame_limit = frame_limit
        self._unflushed: deque[tuple[str, bool]] = deque()
        self._wake = asyncio.Event()

    def offer(self, text: str, *, heartbeat: bool = False) -> bool:
        """Queue a frame; false if too many are queued, which also ends the subscription."""
        if self.overflowed or len(self._unflushed) >= self._frame_limit:
            self.overflowed = True
            return False
        self._unflushed.append((text, heartbeat))
        self._wake.set()
        return True

    async def flush_forever(self, stats: Stats) -> None:
        """Write queued frames; a frame counts as queued until the kernel accepted it."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._unflushed:
                text, heartbeat = self._unflushed[0]
                try:
                    await self.ws.send_str(text)
                except ConnectionError:
                    return  # the reading side sees the end as well and takes the socket away
                self._unflushed.popleft()
                if heartbeat:
                    stats.heartbeats_sent += 1
                else:
                    stats.frames_sent += 1

    async def close(self) -> None:
        """Close with a close frame; cut the connection if the peer does not answer."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            await asyncio.wait_for(self.ws.close(), CLOSE_HANDSHAKE_S)
        self.abort()

    def abort(self) -> None:
        """Cut the TCP connection without a close frame."""
        if self.transport is not None:
            self.transport.abort()


class Subscriptions:
    """All sockets, and the delivery of events to them."""

    def __init__(
        self, settings: SimulatorSettings, agents: Agents, faults: Faults, stats: Stats
    ) -> None:
        self._settings = settings
        self._agents = agents
        self._faults = faults
        self._stats = stats
        self.gaps = WebsocketGaps()
        self._topics: dict[str, set[Subscription]] = {}
        self._sockets: set[Subscription] = set()
        self._deliveries: asyncio.Queue[tuple[Subscription, str]] = asyncio.Queue()

    def open_per_agent(self) -> dict[str, int]:
        """Return the number of subscribed sockets by agent."""
        counts: dict[str, int] = {}
        for socket in self._sockets:
            for agent_id in socket.agent_ids:
                counts[f"1a{agent_id}"] = counts.get(f"1a{agent_id}", 0) + 1
        return counts

    def publish(self, event: Event, agent_id: int) -> int:
        """Send an event to all subscribed sockets; return their number."""
        full_name = topic(event["name"], agent_id)
        sockets = self._topics.get(full_name)
        if not sockets:
            self._stats.frames_lost_no_socket += 1
            return 0
        copies = 2 if self._faults.knobs.send_twice else 1
        for socket in sockets:
            name = full_name if socket.account.raw else full_name.split(";", 1)[0]
            text = frame(event, name)
            for _ in range(copies):
                cut = self._faults.cuts_next_frame()
                self._enqueue(socket, text[: len(text) // 2] if cut else text)
        return len(sockets)

    def send_text(self, text: str, agent_id: int) -> int:
        """Send any text, valid or not, to every socket of an agent."""
        sockets = [socket for socket in self._sockets if agent_id in socket.agent_ids]
        for socket in sockets:
            self._enqueue(socket, text)
        return len(sockets)

    def drop_all(self) -> int:
        """Cut every socket's TCP connection now."""
        for socket in self._sockets:
            socket.abort()
        return len(self._sockets)

    def drop(self, agent_id: int) -> int:
        """Cut every socket of one agent; return their number."""
        sockets = [socket for socket in self._sockets if agent_id in socket.agent_ids]
        for socket in sockets:
            socket.abort()
        return len(sockets)

    async def deliver_forever(self) -> None:
        """Pass frames to their sockets one by one.

        The pause between them lets the sockets flush, as cattle's delivery threads do; without it a
        burst of calls would overflow a healthy socket.
        """
        while True:
            socket, text = await self._deliveries.get()
            self._offer(socket, text)
            await asyncio.sleep(0)

    async def subscribe(self, request: web.Request) -> web.StreamResponse:
        """Handle GET /subscribe until the socket closes.

        Errors: 401 keys, 404 for an admin, 403 no live agent, 422 several.
        """
        try:
            account = self._agents.authenticate(request)
            self._check_refusal(account)
            if request.headers.get("Upgrade", "").lower() != "websocket":
                empty = {"type": "collection", "resourceType": "subscribe", "data": []}
                return web.json_response(empty)
            topics = self._topics_of(request, account)
        except CattleRefusalError:
            self._stats.refused_subscribes += 1
            raise
        socket = Subscription(account, topics, self._settings.frame_limit)
        socket.ws.content_type = "text/plain"
        await socket.ws.prepare(request)
        socket.transport = request.transport
        if socket.transport is not None:
            socket.transport.set_write_buffer_limits(high=0)
        self._stats.connects += 1
        with self._listening(socket):
            await self._serve(socket)
        return socket.ws

    def _check_refusal(self, account: Account) -> None:
        status = self._faults.knobs.refuse_subscribe_status
        if status is not None:
            raise CattleRefusalError("Refused on purpose", status, "Refused")
        if "subscribe" not in types_of(account.role):
            # Among them admin's role: unknown keys while access control is off.
            raise CattleRefusalError("Not Found", 404, "NotFound")

    def _topics_of(self, request: web.Request, account: Account) -> frozenset[str]:
        """Return the topics of the requested names: verbatim if RAW, else only the agent's own."""
        names = request.query.getall("eventNames", [])
        if account.raw:
            return frozenset(names)
        agent = self._agents.usable_agent(account)
        return frozenset(topic(name, agent.agent_id) for name in names)

    @contextlib.contextmanager
    def _listening(self, socket: Subscription) -> Iterator[None]:
        self._sockets.add(socket)
        self.gaps.opened(socket.agent_ids)
        for name in socket.topics:
            self._topics.setdefault(name, set()).add(socket)
        try:
            yield
        finally:
            self._sockets.discard(socket)
            self.gaps.closed(socket.agent_ids)
            for name in socket.topics:
                self._topics[name].discard(socket)
                if not self._topics[name]:
                    del self._topics[name]

    async def _serve(self, socket: Subscription) -> None:
        """Read until the socket closes; heartbeats and flushing end with it."""
        tasks = [
            asyncio.create_task(self._heartbeats(socket)),
            asyncio.create_task(socket.flush_forever(self._stats)),
        ]
        try:
            async for message in socket.ws:
                if message.type is WSMsgType.PING and not self._faults.knobs.accept_but_hang:
                    await socket.ws.pong(message.data)
        except ConnectionError:
            pass  # the peer is gone; there is nobody to tell
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _heartbeats(self, socket: Subscription) -> None:
        """Send heartbeats at intervals; close the socket after the last one or an overflow."""
        await asyncio.sleep(self._settings.first_heartbeat_s)
        for _ in range(self._settings.max_heartbeats):
            if socket.overflowed:
                break
            if not self._faults.knobs.accept_but_hang:
                time_ms = int(epoch_ms()) + self._settings.clock_offset_ms
                socket.offer(heartbeat_frame(time_ms), heartbeat=True)
            await asyncio.sleep(self._settings.heartbeat_s)
        await socket.close()

    def _enqueue(self, socket: Subscription, text: str) -> None:
        delay_ms = self._faults.knobs.delay_frames_ms
        if delay_ms:
            loop = asyncio.get_running_loop()
            loop.call_later(delay_ms / 1000, self._deliveries.put_nowait, (socket, text))
        else:
            self._deliveries.put_nowait((socket, text))

    def _offer(self, socket: Subscription, text: str) -> None:
        if self._faults.knobs.accept_but_hang:
            self._stats.frames_lost_hang += 1
        elif socket not in self._sockets:
            self._stats.frames_lost_no_socket += 1
        elif not socket.offer(text):
            self._stats.frames_lost_limit += 1
