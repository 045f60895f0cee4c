"""Whose host is whose, where several hosts share a Redis: real bridges that are restarted."""

import json
from urllib.request import urlopen

import pytest

from simulator.rig.processes import wait_until
from tests.bridges import ACTIVATE, AGENT, EVENT

OTHER = {"access_key": "other", "secret_key": "other-secret"}


@pytest.fixture
def rig(make_rig):
    """A cattle with two agents."""
    return make_rig(agents=[AGENT, OTHER])


def start_for(rig, agent, **environment):
    """Start a bridge for an agent."""
    keys = {
        "CATTLE_ACCESS_KEY": agent["access_key"],
        "CATTLE_SECRET_KEY": agent["secret_key"],
    }
    return rig.start_bridge(**keys, BRIDGE_HTTP_PORT="0", **environment)


def gauges(bridge):
    """Return what a bridge's `/metrics` has of agents: line -> value."""
    address = json.loads(bridge.wait_for_line("http.ready", 20))["address"] + "/metrics"
    with urlopen(address, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    wanted = ("cowpoke_websockets_open", "cowpoke_agent_waiting")
    return dict(line.rsplit(" ", 1) for line in lines if line.startswith(wanted))


def wait_gauges(bridge, wanted):
    """Wait until `/metrics` shows this, and no more, of agents."""
    wait_until(lambda: gauges(bridge) == wanted, 30, f"gauges of {wanted}")


def test_second_host_does_not_disarm_the_first_ones_bridge(rig):
    """W 29: a restarted bridge still has its agent's host, and the other bridge gets its own."""
    first = rig.start_worker()
    bridge = start_for(rig, AGENT)
    rig.wait_subscribed()
    second = rig.start_worker(host="host-2")
    other = start_for(rig, OTHER)
    rig.wait_subscribed(2)
    for one in (bridge, other):
        one.kill()
    bridge, other = start_for(rig, AGENT), start_for(rig, OTHER)
    rig.wait_subscribed(2)
    for agent, worker in ((AGENT, first), (OTHER, second)):
        name = agent["access_key"]
        call = rig.cattle.call(ACTIVATE, {"for": name}, **EVENT, agent=name, wait_s=20)
        assert call.data == {"for": name}
        assert [event.data for event in worker.claimed] == [{"for": name}]
    wait_gauges(bridge, {'cowpoke_websockets_open{agent="agent-key"}': "1.0"})


def test_bridge_between_two_unknown_hosts_says_what_it_waits_for(rig):
    """W 29: in the log and on `/metrics`; it goes on when one of the hosts is another agent's."""
    for host in ("host-1", "host-2"):
        rig.start_worker(host=host)
    with rig.redis.client() as client:
        wait_until(lambda: len(client.keys("cowpoke:lease:*")) == 2, 10, "two hosts")
    bridge = start_for(rig, AGENT)
    line = json.loads(bridge.wait_for_line("several hosts have workers", 20))
    assert "host-1, host-2" in line["reason"]
    assert line["agent"] == AGENT["access_key"]
    waiting = 'cowpoke_agent_waiting{agent="agent-key",reason="several-hosts"}'
    closed = 'cowpoke_websockets_open{agent="agent-key"}'
    wait_gauges(bridge, {waiting: "1.0", closed: "0.0"})
    with rig.redis.client() as client:
        client.set("cowpoke:served:host-2", "another agent")
    rig.wait_subscribed()
    wait_gauges(bridge, {closed: "1.0"})


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"CATTLE_URL": "http://127.0.0.1:9/v1"}, "server"),
        ({"CATTLE_SECRET_KEY": "wrong"}, "keys-refused"),
    ],
)
def test_bridge_without_cattle_says_what_it_waits_for(rig, environment, reason):
    """W 29: a server that is absent, or refuses the keys, shows as an agent that waits."""
    rig.start_worker()
    bridge = rig.start_bridge(BRIDGE_HTTP_PORT="0", **environment)
    waiting = f'cowpoke_agent_waiting{{agent="agent-key",reason="{reason}"}}'
    wait_gauges(bridge, {waiting: "1.0", 'cowpoke_websockets_open{agent="agent-key"}': "0.0"})


def test_bridge_without_workers_says_what_it_waits_for(rig):
    """W 29: no host at all."""
    bridge = start_for(rig, AGENT)
    waiting = 'cowpoke_agent_waiting{agent="agent-key",reason="no-worker"}'
    wait_gauges(bridge, {waiting: "1.0", 'cowpoke_websockets_open{agent="agent-key"}': "0.0"})
