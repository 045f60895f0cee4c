"""A simulated server per test, in the test's own loop, and an agent's side of the protocol."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest

from simulator.client import Cattle
from simulator.server import CattleServer
from simulator.settings import AgentSettings, SimulatorSettings
from tests.container_posts import HOST, NAMES, Side, replied

KEYS = ("k", "s")
ALL_NAMES = (
    *("ping", "config.update", "compute.instance.activate", "compute.instance.deactivate"),
    *("storage.image.activate", "storage.volume.activate", "storage.volume.remove"),
)
DEADLINE_S = 5


def agent_spec(access_key="k", secret_key="s", **more):
    """One agent's settings."""
    return AgentSettings(access_key=access_key, secret_key=secret_key, **more)


def settings(**changes):
    """Quiet settings: one agent, no pings, one heartbeat at once and no second one."""
    defaults = {
        "agents": (agent_spec(),),
        "ping_interval_s": 0,
        "heartbeat_s": 60,
        "first_heartbeat_s": 0.001,
        "registration_delay_s": 0.01,
    }
    return SimulatorSettings(**{**defaults, **changes})


def authorization(keys):
    """The header that carries Basic keys."""
    if keys is None:
        return {}
    return {"Authorization": f"Basic {base64.b64encode(':'.join(keys).encode()).decode()}"}


class AgentSide:
    """A client with an agent's keys."""

    def __init__(self, session, server):
        self.session = session
        self.server = server

    def subscribe(self, names=ALL_NAMES, *, auth=KEYS, version="v1", headers=None):
        """Open the event stream."""
        params = [("eventNames", name) for name in names]
        url = f"{self.server.base_url}/{version}/subscribe"
        merged = {**authorization(auth), **(headers or {})}
        return self.session.ws_connect(url, params=params, headers=merged, autoping=False)

    async def publish(self, body, *, auth=KEYS, version="v1", headers=None):
        """Post a body, an object or raw bytes; the answer is the status and the parsed body."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"{self.server.base_url}/{version}/publish"
        merged = {"Content-Type": "application/json", **authorization(auth), **(headers or {})}
        async with self.session.post(url, data=raw, headers=merged) as response:
            text = await response.text()
            return response.status, json.loads(text) if text.startswith("{") else text

    async def reply(self, event, **changes):
        """Post the reply to an event."""
        body = {"name": event["replyTo"], "previousIds": [event["id"]], **changes}
        return await self.publish(body)

    def ask(self, method, path, *, auth=KEYS, **more):
        """Any other request of cattle's API."""
        url = f"{self.server.url}{path}"
        return self.session.request(method, url, headers=authorization(auth), **more)

    async def answer(self, method, path, **options):
        """The status and the JSON of a request, as `ask` takes it."""
        async with self.ask(method, path, **options) as response:
            text = await response.text()
            return response.status, json.loads(text) if text.startswith(("{", "[")) else text

    async def join(self, key="host-1", *, token=None):
        """Register a host as rancher/agent does; the keys of its agent."""
        if token is None:
            _, made = await self.control("POST", "/registrationtokens")
            token = made["token"]
        auth = ("registrationToken", token)
        _, found = await self.answer("GET", f"/register?key={key}", auth=auth)
        if not found["data"]:
            await self.answer("POST", "/register", auth=auth, json={"key": key})
        async with asyncio.timeout(DEADLINE_S):
            while True:
                _, found = await self.answer("GET", f"/register?key={key}", auth=auth)
                if "accessKey" in found["data"][0]:
                    return found["data"][0]["accessKey"], found["data"][0]["secretKey"]
                await asyncio.sleep(0.005)

    async def control(self, method, path, body=None):
        """One call of the control API."""
        url = f"{self.server.base_url}/simulator{path}"
        async with self.session.request(method, url, json=body) as response:
            return response.status, await response.json()


async def next_event(stream):
    """The next frame that is not a heartbeat."""
    while True:
        async with asyncio.timeout(DEADLINE_S):
            message = await stream.receive()
        assert message.type is aiohttp.WSMsgType.TEXT, message
        event = json.loads(message.data)
        if event["name"] != "ping" or "replyTo" in event:
            return event


async def until(claim):
    """Wait until a claim is true."""
    async with asyncio.timeout(DEADLINE_S):
        while not claim():  # noqa: ASYNC110  any claim, not an event of ours
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(**changes):
    """A started server and an agent's side, stopped at the end."""
    server = CattleServer(settings(**changes))
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield server, AgentSide(session, server)
    finally:
        await server.stop()


@pytest.fixture
def cattle():
    """The way to a running server, its settings given; yields the server and an agent's side."""
    return running


@pytest.fixture(name="next_event")
def next_event_fixture():
    """The next frame that is not a heartbeat, of a stream."""
    return next_event


@pytest.fixture(name="until")
def until_fixture():
    """`await until(claim)`: poll with a deadline."""
    return until


@pytest.fixture
def with_client():
    """A way to use the control API in a thread; gives back what `use` made of its client."""

    async def used(server, use):
        return await asyncio.to_thread(_closing, Cattle(server.url), use)

    return used


def _closing(client, use):
    """Use a client and close this thread's connection."""
    try:
        return use(client)
    finally:
        client.close()


@pytest.fixture
def spec():
    """One agent's settings, made from the fields given."""
    return agent_spec


@pytest.fixture
def run():
    """Run a test's coroutine in a loop of its own."""
    return asyncio.run


@pytest.fixture
def host(cattle, next_event):
    """A server with one host and an agent that answers; the settings are the server's."""

    @asynccontextmanager
    async def running(answers=replied, **settings):
        async with cattle(**settings) as (server, agent), agent.subscribe(NAMES) as stream:
            server.hosts.report("1a5", [HOST])
            side = Side(server, agent)

            async def answer():
                while True:
                    frame = await next_event(stream)
                    side.frames.append(frame)
                    if (data := answers(frame)) is not None:
                        await agent.reply(
                            frame, **data if "transitioning" in data else {"data": data}
                        )

            answering = asyncio.create_task(answer())
            try:
                yield side
            finally:
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)

    return running
