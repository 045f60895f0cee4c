"""The knobs: each breaks one thing, and off means healthy."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from pydantic import ValidationError

from simulator.faults import Faults

ACTIVATE = {"name": "compute.instance.activate"}
REPLY = {"name": "reply.1", "previousIds": ["x"]}


def test_dropped_sockets_end_without_a_close(run, cattle):
    """drop_sockets cuts the connection: the client sees no close frame of the server."""

    async def scenario():
        async with cattle() as (_, agent), agent.subscribe() as stream:
            await stream.receive()
            await agent.control("PUT", "/faults", {"drop_sockets": True})
            message = await asyncio.wait_for(stream.receive(), 2)
            return message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)

    assert run(scenario())


def test_a_hanging_server_stays_open_and_silent(run, cattle, until):
    """accept_but_hang takes sockets but sends no heartbeat, no event and no pong."""

    async def scenario():
        async with cattle(heartbeat_s=0.02) as (server, agent):
            server.faults.turn({"accept_but_hang": True})
            async with agent.subscribe() as stream:
                await stream.ping()
                server.calls.start(server.agents.find(None), dict(ACTIVATE))
                await until(lambda: server.stats.frames_lost_hang == 1)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(stream.receive(), 0.1)
                return server.stats.heartbeats_sent, server.stats.connects

    assert run(scenario()) == (0, 1)


@pytest.mark.parametrize("status", [401, 503])
def test_refused_subscriptions(run, cattle, status):
    """refuse_subscribe_status is what the handshake gets."""

    async def scenario():
        async with cattle() as (server, agent):
            server.faults.turn({"refuse_subscribe_status": status})
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                async with agent.subscribe():
                    pass
            return caught.value.status

    assert run(scenario()) == status


def test_send_twice(run, cattle, next_event):
    """Every event frame comes twice, byte for byte."""

    async def scenario():
        async with cattle() as (server, agent), agent.subscribe() as stream:
            server.faults.turn({"send_twice": True})
            server.calls.start(server.agents.find(None), dict(ACTIVATE))
            return await next_event(stream), await next_event(stream)

    first, second = run(scenario())
    assert first == second


def test_cut_frame_hits_the_next_event_only(run, cattle):
    """The next frame is truncated JSON, the one after it is whole."""

    async def scenario():
        async with cattle() as (server, agent), agent.subscribe() as stream:
            await stream.receive()
            server.faults.turn({"cut_frame": True})
            for _ in range(2):
                server.calls.start(server.agents.find(None), dict(ACTIVATE))
            return [(await stream.receive()).data for _ in range(2)]

    cut, whole = run(scenario())
    with pytest.raises(json.JSONDecodeError):
        json.loads(cut)
    assert json.loads(whole)["name"] == ACTIVATE["name"]


def test_delayed_frames(run, cattle, next_event):
    """delay_frames_ms holds every event back."""

    async def scenario():
        async with cattle() as (server, agent), agent.subscribe() as stream:
            server.faults.turn({"delay_frames_ms": 80})
            loop = asyncio.get_running_loop()
            started_s = loop.time()
            server.calls.start(server.agents.find(None), dict(ACTIVATE))
            await next_event(stream)
            return loop.time() - started_s

    assert run(scenario()) >= 0.075


def test_delayed_publish(run, cattle):
    """delay_publish_ms holds the 201 back."""

    async def scenario():
        async with cattle() as (server, agent):
            server.faults.turn({"delay_publish_ms": 80})
            loop = asyncio.get_running_loop()
            started_s = loop.time()
            status, _ = await agent.publish(REPLY)
            return status, loop.time() - started_s >= 0.075

    assert run(scenario()) == (201, True)


def test_publish_status_for_the_next_n(run, cattle):
    """A counted fault ends by itself, and drops the replies it hit."""

    async def scenario():
        async with cattle() as (server, agent):
            server.faults.turn({"publish_status": 500, "publish_status_count": 2})
            statuses = [(await agent.publish(REPLY))[0] for _ in range(3)]
            return statuses, server.stats.unmatched, dict(server.stats.publishes)

    assert run(scenario()) == ([500, 500, 201], 1, {500: 2, 201: 1})


def test_bad_gateway_is_html(run, cattle):
    """A 502 comes from a proxy: its body is no JSON."""

    async def scenario():
        async with cattle() as (server, agent):
            server.faults.turn({"publish_status": 502})
            return await agent.publish(REPLY)

    status, body = run(scenario())
    assert status == 502
    assert body.startswith("<html>")


def test_too_many_requests_says_when_to_return(run, cattle):
    """A 429 has Retry-After."""

    async def scenario():
        async with cattle() as (server, agent):
            server.faults.turn({"publish_status": 429})
            async with agent.session.post(f"{server.url}/publish", json=REPLY) as response:
                return response.status, response.headers["Retry-After"]

    assert run(scenario()) == (429, "1")


def test_a_hanging_publish_goes_on_when_released(run, cattle):
    """publish_hang answers nothing until it is turned off."""

    async def scenario():
        async with cattle() as (server, agent):
            server.faults.turn({"publish_hang": True})
            post = asyncio.create_task(agent.publish(REPLY))
            done, _ = await asyncio.wait((post,), timeout=0.1)
            server.faults.turn({"publish_hang": False})
            return len(done), (await asyncio.wait_for(post, 2))[0]

    assert run(scenario()) == (0, 201)


@pytest.mark.parametrize(("knob", "taken"), [("publish_reset", 0), ("publish_lost_201", 1)])
def test_cut_publishes(run, cattle, knob, taken):
    """The connection is cut before the reply is taken, or after it, instead of the 201."""

    async def scenario():
        async with cattle() as (server, agent):
            server.faults.turn({knob: True})
            with pytest.raises(aiohttp.ClientError):
                await agent.publish(REPLY)
            return server.stats.unmatched, server.stats.publishes_cut >= 1

    seen, cut = run(scenario())
    assert cut
    assert (seen > 0) == bool(taken)


def test_an_unknown_knob_is_refused_and_changes_nothing():
    """A misspelt knob is an error, not a silent no-op."""
    faults = Faults()
    with pytest.raises(ValidationError, match="send_thrice"):
        faults.turn({"send_thrice": True})
    assert not any(value for value in faults.knobs.model_dump().values())
