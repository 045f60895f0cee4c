"""The ping schedule, and the agent states it drives."""

from __future__ import annotations

import pytest

from simulator.pings import options_at


@pytest.mark.parametrize(
    ("tick", "options"),
    [
        (0, {"stats", "resources", "instances"}),
        (1, set()),
        (3, {"instances"}),
        (12, {"resources", "instances"}),
        (24, {"stats", "resources", "instances"}),
    ],
)
def test_options_follow_one_counter(tick, options):
    """Instances every 3rd ping, resources every 12th, stats every 24th."""
    assert set(options_at(tick)) == options


def test_a_ping_asks_for_a_reply(run, cattle, next_event, until):
    """A liveness ping has a reply address and names its agent; the pong is counted and kept."""

    async def scenario():
        async with cattle(ping_interval_s=0.05) as (server, agent), agent.subscribe() as stream:
            ping = await next_event(stream)
            await agent.reply(ping, data={"resources": [{"type": "host", "uuid": "h"}]})
            await until(lambda: server.stats.pings_answered == 1)
            return ping, server.agents.find(None), server.stats.snapshot()["pings"]

    ping, agent, pings = run(scenario())
    assert (ping["resourceType"], ping["resourceId"]) == ("agent", "1a5")
    assert ping["timeoutMillis"] == 15000
    assert agent.resources == [{"type": "host", "uuid": "h"}]
    assert pings["p50_ms"] == pings["p99_ms"] > 0


def test_silence_ends_in_disconnected(run, cattle, until):
    """Six misses make an agent reconnecting, a longer silence disconnected; no pings then."""

    async def scenario():
        knobs = {
            "ping_interval_s": 0.01,
            "ping_timeout_s": 0.02,
            "reconnect_ping_timeout_s": 0.02,
            "reconnect_ping_sends": 2,
            "disconnect_after_s": 0.1,
        }
        async with cattle(**knobs) as (server, _):
            agent = server.agents.find(None)
            misses, reconnect = [], server.pings.reconnect
            server.pings.reconnect = lambda one: (misses.append(one.misses), reconnect(one))
            await until(lambda: agent.state == "disconnected")
            return misses, server.stats.pings_answered

    assert run(scenario()) == ([6], 0)


def test_an_error_reply_is_a_miss(run, cattle, next_event, until):
    """A ping answered with an error counts like one not answered."""

    async def scenario():
        async with cattle(ping_interval_s=5) as (server, agent), agent.subscribe() as stream:
            # The first tick may have come before the subscription: its ping is asked for again.
            server.pings._ping(server.agents.find(None), {})
            await agent.reply(await next_event(stream), transitioning="error")
            await until(lambda: server.stats.pings_missed == 1)
            return server.agents.find(None).misses

    assert run(scenario()) == 1


def test_a_pong_forgives_the_misses(run, cattle, next_event, until):
    """Any success sets the counter back."""

    async def scenario():
        async with cattle() as (server, agent), agent.subscribe() as stream:
            known = server.agents.find(None)
            known.misses = 5
            server.pings._ping(known, {})
            await agent.reply(await next_event(stream), data={})
            await until(lambda: server.stats.pings_answered == 1)
            return known.misses, list(server.calls.records())

    assert run(scenario()) == (0, [])
