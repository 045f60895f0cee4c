"""/subscribe: who may, what arrives under which name, and how a stream ends."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from simulator.settings import SimulatorSettings

ACTIVATE = {"name": "compute.instance.activate", "resourceType": "instanceHostMap"}


async def refusal(agent, **options):
    """The status of a refused subscription."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with agent.subscribe(**options):
            pass
    return caught.value.status


def test_headers_name_the_account_kind(run, cattle):
    """A stream's handshake tells the caller which kind of account it is taken for."""

    async def scenario():
        async with cattle() as (_, agent), agent.subscribe() as stream:
            return stream._response.headers["X-API-ACCOUNT-KIND"]

    assert run(scenario()) == "agent"


def test_bad_keys_are_401(run, cattle):
    """Wrong keys are refused while security is on."""

    async def scenario():
        async with cattle() as (server, agent):
            status = await refusal(agent, auth=("k", "wrong"))
            return status, server.stats.refused_subscribes

    assert run(scenario()) == (401, 1)


@pytest.mark.parametrize("version", ["v1", "v2-beta"])
def test_unknown_keys_are_404_with_access_control_off(run, cattle, version):
    """W 9: a fresh cattle takes unknown keys for admin's, whose schema has no subscribe."""

    async def scenario():
        async with cattle(security_enabled=False) as (server, agent):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                async with agent.subscribe(auth=("nobody", "x"), version=version):
                    pass
            kind = caught.value.headers["X-API-ACCOUNT-KIND"]
            return caught.value.status, kind, server.stats.refused_subscribes

    assert run(scenario()) == (404, "admin", 1)


def test_known_keys_subscribe_with_access_control_off(run, cattle):
    """W 9: access control that is off changes nothing for an agent's own keys."""

    async def scenario():
        async with cattle(security_enabled=False) as (_, agent), agent.subscribe() as stream:
            return stream._response.headers["X-API-ACCOUNT-KIND"]

    assert run(scenario()) == "agent"


@pytest.mark.parametrize(
    ("given", "first_s"),
    [({}, 6), ({"heartbeat_s": 1}, 1.2), ({"heartbeat_s": 1, "first_heartbeat_s": 0.5}, 0.5)],
)
def test_first_heartbeat_is_late_as_recorded(given, first_s):
    """W 9: 6 s after the opening at cattle's own interval; a setting, or 6/5 of the interval."""
    assert SimulatorSettings(**given).first_heartbeat_s == pytest.approx(first_s)


def test_no_heartbeat_comes_before_the_first_one_is_due(run, cattle):
    """W 9: the socket is silent until then."""

    async def scenario():
        async with (
            cattle(heartbeat_s=60, first_heartbeat_s=0.3) as (server, agent),
            agent.subscribe() as stream,
        ):
            began_s = asyncio.get_running_loop().time()
            await asyncio.wait_for(stream.receive(), 5)
            return asyncio.get_running_loop().time() - began_s, server.stats.heartbeats_sent

    waited_s, sent = run(scenario())
    assert waited_s > 0.2
    assert sent == 1


def test_enforced_authentication_ends_the_admin_fallback(run, cattle):
    """The header X-ENFORCE-AUTHENTICATION turns the trap off for one request."""

    async def scenario():
        async with cattle(security_enabled=False) as (_, agent):
            bad, header = ("x", "y"), {"X-ENFORCE-AUTHENTICATION": "true"}
            return await refusal(agent, auth=bad, headers=header)

    assert run(scenario()) == 401


@pytest.mark.parametrize("state", ["registering", "inactive", "removed"])
def test_no_usable_agent_is_403(run, cattle, spec, state):
    """An agent that is not live yet, or no more, cannot subscribe."""

    async def scenario():
        async with cattle(agents=(spec(state=state),)) as (_, agent):
            return await refusal(agent)

    assert run(scenario()) == 403


def test_two_live_agents_are_422(run, cattle, spec):
    """An account with two live agents cannot say which it means."""

    async def scenario():
        async with cattle(agents=(spec(), spec())) as (_, agent):
            return await refusal(agent)

    assert run(scenario()) == 422


def test_a_plain_get_lists_nothing(run, cattle):
    """Without the upgrade there is an empty list, no stream."""

    async def scenario():
        async with cattle() as (_server, agent), agent.ask("GET", "/subscribe") as response:
            return response.status, (await response.json())["data"]

    assert run(scenario()) == (200, [])


def test_an_agent_sees_bare_names_whatever_it_asked_for(run, cattle, next_event):
    """A requested suffix is cut and replaced by the own one; frames come without any."""

    async def scenario():
        names = ("compute.instance.activate;agent=999",)
        async with cattle() as (server, agent), agent.subscribe(names) as stream:
            server.calls.start(server.agents.find(None), dict(ACTIVATE))
            return (await next_event(stream))["name"]

    assert run(scenario()) == "compute.instance.activate"


def test_raw_frames_carry_the_suffix(run, cattle, spec, next_event):
    """A service account names topics verbatim and sees them so, for many agents on one socket."""

    async def scenario():
        specs = (spec(agent_id=5), spec("k2", "s", agent_id=6), spec("svc", "t", kind="service"))
        names = ("compute.instance.activate;agent=5", "compute.instance.activate;agent=6")
        auth = ("svc", "t")
        async with (
            cattle(agents=specs) as (server, agent),
            agent.subscribe(names, auth=auth) as stream,
        ):
            for agent_id in (5, 6):
                server.calls.start(server.agents.find(agent_id), dict(ACTIVATE))
            seen = [(await next_event(stream))["name"] for _ in range(2)]
            return seen, server.subscriptions.open_per_agent()

    seen, sockets = run(scenario())
    assert seen == ["compute.instance.activate;agent=5", "compute.instance.activate;agent=6"]
    assert sockets == {"1a5": 1, "1a6": 1}


def test_raw_names_match_exactly(run, cattle, spec):
    """A RAW subscriber that leaves the suffix out hears nothing."""

    async def scenario():
        specs = (spec(), spec("svc", "t", kind="service"))
        auth = ("svc", "t")
        async with (
            cattle(agents=specs) as (server, agent),
            agent.subscribe(("compute.instance.activate",), auth=auth),
        ):
            return (await server.call(dict(ACTIVATE), timeout_s=0.01)).sockets

    assert run(scenario()) == 0


def test_topics_broadcast(run, cattle, next_event):
    """Two sockets of one agent both get every event."""

    async def scenario():
        async with cattle() as (server, agent), agent.subscribe() as one, agent.subscribe() as two:
            record = server.calls.start(server.agents.find(None), dict(ACTIVATE))
            return record.id, (await next_event(one))["id"], (await next_event(two))["id"]

    sent, first, second = run(scenario())
    assert sent == first == second


def test_events_without_a_socket_are_lost(run, cattle, until):
    """Nothing is kept for a subscriber that comes later."""

    async def scenario():
        async with cattle() as (server, agent):
            record = await server.call(dict(ACTIVATE), timeout_s=0.02)
            async with agent.subscribe():
                await until(lambda: server.stats.heartbeats_sent == 1)
                return record.state, server.stats.frames_sent, server.stats.frames_lost_no_socket

    assert run(scenario()) == ("timeout", 0, 1)


def test_heartbeat_has_no_reply_address(run, cattle):
    """The first frame is a ping without replyTo, with empty options and resources."""

    async def scenario():
        async with cattle(clock_offset_ms=10**12) as (_, agent), agent.subscribe() as stream:
            return json.loads((await stream.receive()).data)

    beat = run(scenario())
    assert beat["time"] > 2.5e12
    assert beat | {"id": "", "time": 0} == {
        "id": "",
        "name": "ping",
        "resourceId": None,
        "resourceType": None,
        "data": {"options": {}, "resources": []},
        "time": 0,
    }


def test_the_server_closes_after_its_last_heartbeat(run, cattle):
    """After max_heartbeats the stream is closed; reconnecting is normal operation."""

    async def scenario():
        async with (
            cattle(heartbeat_s=0.01, max_heartbeats=3) as (server, agent),
            agent.subscribe() as stream,
        ):
            frames = [message async for message in stream]
            return len(frames), stream.close_code, server.stats.connects

    assert run(scenario()) == (3, 1000, 1)


def test_a_client_ping_gets_a_pong(run, cattle):
    """The websocket's own ping is answered."""

    async def scenario():
        async with cattle() as (_, agent), agent.subscribe() as stream:
            await stream.receive()
            await stream.ping(b"x")
            return (await asyncio.wait_for(stream.receive(), 2)).type

    assert run(scenario()) is aiohttp.WSMsgType.PONG


def test_subscribing_wakes_a_disconnected_agent(run, cattle, spec, next_event, until):
    """The subscription of a disconnected agent starts its reconnect, whose pong makes it active."""

    async def scenario():
        async with (
            cattle(agents=(spec(state="disconnected"),)) as (server, agent),
            agent.subscribe() as stream,
        ):
            known = server.agents.find(None)
            await until(lambda: known.state == "reconnecting")
            ping = await next_event(stream)
            await agent.reply(ping, data={})
            await until(lambda: known.state == "active")
            return ping["data"]["options"]

    assert run(scenario()) == {"stats": True, "resources": True}


def test_a_slow_socket_loses_frames_and_is_closed(run, cattle, until):
    """Beyond the limit of unflushed frames events are lost, and the next heartbeat tick closes."""

    async def scenario():
        async with (
            cattle(frame_limit=10, heartbeat_s=0.3) as (server, agent),
            agent.subscribe() as stream,
        ):
            await stream.receive()
            stream._response.connection.transport.pause_reading()
            big = {**ACTIVATE, "data": {"filler": "x" * 1_000_000}}
            for _ in range(40):
                server.calls.start(server.agents.find(None), dict(big))
            await until(lambda: server.stats.frames_lost_limit > 0)
            await until(lambda: not server.subscriptions.open_per_agent())
            stream._response.connection.transport.abort()
            return server.stats.frames_sent + server.stats.frames_lost_limit <= 40

    assert run(scenario())


def test_a_burst_does_not_overflow_a_healthy_socket(run, cattle, next_event):
    """A thousand calls at once all arrive at a reader that keeps up."""

    async def scenario():
        async with cattle() as (server, agent), agent.subscribe() as stream:
            for _ in range(1000):
                server.calls.start(server.agents.find(None), dict(ACTIVATE))
            ids = {(await next_event(stream))["id"] for _ in range(1000)}
            return len(ids), server.stats.frames_lost_limit

    assert run(scenario()) == (1000, 0)


def test_three_hundred_names_fit_in_one_request(run, cattle, spec):
    """The request head may be as long as cattle's 16 KiB, as a socket for many agents needs."""

    async def scenario():
        names = [f"compute.instance.activate;agent={number}" for number in range(1000, 1300)]
        specs = (spec("svc", "t", kind="service"),)
        async with (
            cattle(agents=specs) as (server, agent),
            agent.subscribe(names, auth=("svc", "t")),
        ):
            return len(server.subscriptions.open_per_agent())

    assert run(scenario()) == 300
