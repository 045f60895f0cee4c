"""Hosts that join while bridges run: their agents come, change and go, and nothing is lost."""

import threading

import pytest

from cowpoke import keys
from cowpoke.outcomes import success
from simulator.rig.processes import wait_until
from tests.bridges import ACTIVATE, AGENT, EVENT
from tests.faults.faulty_system import facts, wait_fact
from tests.joined import (
    NO_AGENTS,
    agent_of,
    ask,
    join,
    leave,
    metrics,
    open_keys,
    wait_served,
)

ONE, TWO = "host-1", "host-2"


@pytest.fixture
def rig(make_rig):
    """A cattle with an agent for each of two hosts, and with other keys for the first."""
    agents = [agent_of(ONE), agent_of(TWO), agent_of(ONE, number="b"), AGENT]
    return make_rig(agents=agents)


@pytest.fixture
def bridge(rig):
    """A bridge without any agent, ready."""
    started = rig.start_bridge(**NO_AGENTS)
    started.wait_for_line("bridge.ready", 30)
    return started


def test_a_bridge_without_agents_is_ready_and_waits(rig, bridge):
    """It says so, and serves the first host that joins with no restart."""
    assert facts(bridge, "bridge.ready")[0]["agents"] == 0
    wait_fact(bridge, "bridge.without_agents")
    rig.start_worker()
    join(rig, ONE)
    wait_served(rig, [ONE])
    assert ask(rig, ONE).state == "success"
    assert metrics(bridge, "cowpoke_agents{") == {
        'cowpoke_agents{source="settings"}': "0.0",
        'cowpoke_agents{source="joined"}': "1.0",
    }
    assert bridge.terminate() == 0


def test_a_host_that_joined_before_its_worker_came_is_served_then(rig, bridge):
    """No websocket is open as long as nobody would answer."""
    join(rig, ONE)
    wait_fact(bridge, "agent.joined")
    waiting = f'cowpoke_agent_waiting{{agent="{agent_of(ONE)["access_key"]}",reason="host-away"}}'
    wait_until(lambda: waiting in metrics(bridge, "cowpoke_agent_waiting"), 20, "the reason")
    assert open_keys(rig) == set()
    rig.start_worker()
    wait_served(rig, [ONE])


def test_two_hosts_are_served_each_with_its_own_keys(rig, bridge):
    """The events and replies of one are never the other's; one leaves, the other stays."""
    first, second = rig.start_worker(), rig.start_worker(host=TWO)
    join(rig, ONE, TWO)
    wait_served(rig, [ONE, TWO])
    for host, worker in ((ONE, first), (TWO, second)):
        assert ask(rig, host).data == {"for": host}
        assert [event.data for event in worker.claimed] == [{"for": host}]
    leave(rig, ONE)
    wait_served(rig, [TWO])
    assert ask(rig, TWO).state == "success"
    assert not facts(bridge, "reply.agent_changed")
    assert len(facts(bridge, "stream.opened")) == 2


def test_killed_bridge_serves_joined_hosts_again_without_settings(rig, bridge):
    """Also the reply of an event whose bridge was killed goes out with its agent's keys."""
    done = threading.Event()
    worker = rig.start_worker(script=lambda *_: done.wait(30) and success({}))
    join(rig, ONE)
    wait_served(rig, [ONE])
    event_id = rig.cattle.send(ACTIVATE, {}, **EVENT, agent=agent_of(ONE)["access_key"])
    wait_until(lambda: worker.claimed, 20, "the event claimed")
    bridge.kill()
    done.set()
    wait_until(lambda: rig.outcomes_left() == 1, 20, "the outcome")
    again = rig.start_bridge(**NO_AGENTS)
    assert rig.cattle.wait(event_id, 20).state == "success"
    wait_fact(again, "bridge.ready")
    assert facts(again, "bridge.ready")[0]["agents"] == 1
    assert not facts(again, "reply.agent_changed")
    wait_served(rig, [ONE])
    assert ask(rig, ONE).state == "success"


def test_two_bridges_serve_a_joined_host(rig, bridge):
    """Either one alone does; an event that both get is run once."""
    other = rig.start_bridge(**NO_AGENTS)
    worker = rig.start_worker()
    join(rig, ONE)
    rig.wait_subscribed(2)
    assert ask(rig, ONE).state == "success"
    bridge.kill()
    assert ask(rig, ONE).state == "success"
    assert len(worker.claimed) == 2
    leave(rig, ONE)
    rig.wait_subscribed(0)
    wait_fact(other, "agent.left")


def test_note_that_is_taken_back_and_put_again(rig, bridge):
    """The subscription ends and begins with it; a reply under way is sent with the host's keys."""
    done = threading.Event()
    worker = rig.start_worker(script=lambda *_: done.wait(30) and success({}))
    join(rig, ONE, TWO)
    wait_served(rig, [ONE])
    event_id = rig.cattle.send(ACTIVATE, {}, **EVENT, agent=agent_of(ONE)["access_key"])
    wait_until(lambda: worker.claimed, 20, "the event claimed")
    leave(rig, ONE)
    wait_served(rig, [])
    done.set()
    assert rig.cattle.wait(event_id, 20).state == "success"
    assert not facts(bridge, "reply.agent_changed")
    join(rig, ONE)
    wait_served(rig, [ONE])
    assert ask(rig, ONE).state == "success"
    assert bridge.running


def test_changed_keys_replace_the_subscription(rig, bridge):
    """A host that was registered anew; what came with the old keys is still answered."""
    done = threading.Event()
    worker = rig.start_worker(script=lambda *_: done.wait(30) and success({}))
    join(rig, ONE)
    wait_served(rig, [ONE])
    event_id = rig.cattle.send(ACTIVATE, {}, **EVENT, agent=agent_of(ONE)["access_key"])
    wait_until(lambda: worker.claimed, 20, "the event claimed")
    join(rig, ONE, number="b")
    wait_served(rig, [ONE], number="b")
    done.set()
    assert rig.cattle.wait(event_id, 20).state == "success"
    assert ask(rig, ONE, number="b").state == "success"
    # The same again changes nothing.
    join(rig, ONE, number="b")
    join(rig, TWO)
    wait_until(lambda: len(facts(bridge, "agent.joined")) == 3, 20, "the other host")
    assert len(facts(bridge, "stream.opened")) == 2


def test_replies_of_a_host_that_left_are_sent_by_any_agent(rig, bridge):
    """After a restart nobody knows its keys any more."""
    done = threading.Event()
    worker = rig.start_worker(script=lambda *_: done.wait(30) and success({}))
    join(rig, ONE)
    wait_served(rig, [ONE])
    event_id = rig.cattle.send(ACTIVATE, {}, **EVENT, agent=agent_of(ONE)["access_key"])
    wait_until(lambda: worker.claimed, 20, "the event claimed")
    leave(rig, ONE)
    bridge.kill()
    again = rig.start_bridge(**NO_AGENTS)
    wait_fact(again, "bridge.ready")
    done.set()
    # With no agent at all it waits, in Redis.
    wait_until(lambda: rig.outcomes_left() == 1, 20, "the outcome")
    assert rig.cattle.record(event_id)["state"] == "waiting"
    join(rig, TWO)
    assert rig.cattle.wait(event_id, 20).state == "success"
    wait_fact(again, "reply.agent_changed")
    wait_until(lambda: rig.outcomes_left() == 0, 20, "nothing left")


def test_replies_are_left_to_a_bridge_that_has_agents(rig, bridge):
    """One with agents in its settings beside one without any: no reply waits for the latter."""
    rig.start_worker()
    rig.start_bridge()
    rig.wait_subscribed()
    for _ in range(20):
        call = rig.cattle.call(ACTIVATE, {}, **EVENT, agent=AGENT["access_key"], wait_s=15)
        assert call.state == "success"


@pytest.mark.parametrize(
    "rubbish", ["hash", "text", "moved note", "other cattle", "huge", "configured", "same keys"]
)
def test_what_is_no_note_concerns_its_host_only(rig, rubbish, tmp_path):
    """The other host is served before and after, and the bridge says what is wrong."""
    path = tmp_path / "agents.toml"
    path.write_text(
        f'[[agents]]\naccess_key = "{AGENT["access_key"]}"\nhost_uuid = "host-3"\n'
        f'secret_key = "{AGENT["secret_key"]}"\n'
    )
    bridge = rig.start_bridge(**{**NO_AGENTS, "BRIDGE_AGENTS_FILE": str(path)})
    rig.start_worker()
    rig.start_worker(host=TWO)
    join(rig, TWO)
    wait_served(rig, [TWO])
    host, why = ONE, "unreadable"
    with rig.redis.client() as client:
        key = keys.joined(ONE)
        match rubbish:
            case "hash":
                client.hset(key, "f", "v")
                why = None
            case "text":
                client.set(key, b"\xffrubbish")
            case "moved note":
                client.set(key, client.get(keys.joined(TWO)))
            case "huge":
                client.set(key, "x" * 10_000_000)
            case "other cattle":
                join(rig, ONE, cattle_url="http://127.0.0.1:9/v1")
                why = "other-cattle"
            case "configured":
                host, why = "host-3", "configured"
                join(rig, host)
            case _:
                join(rig, ONE, **agent_of(TWO))
                why = "same-keys"
        client.publish(keys.doorbell(host), "joined")
    line = f'cowpoke_joined_hosts_unused{{host="{host}",reason="{why}"}}'
    if why is not None:
        wait_until(lambda: line in metrics(bridge, "cowpoke_joined_hosts_unused"), 20, line)
        wait_fact(bridge, "joined.not_used")
    assert open_keys(rig) == {agent_of(TWO)["access_key"]}
    assert ask(rig, TWO).state == "success"
    if host == ONE:
        # A true note in its place is served.
        join(rig, ONE)
        wait_served(rig, [ONE, TWO])
        assert metrics(bridge, "cowpoke_joined_hosts_unused") == {}
    assert len(facts(bridge, "stream.opened")) == (2 if host == ONE else 1)


def test_redis_that_lost_the_notes_interrupts_no_host(rig):
    """The hosts hand their keys over again; until then the agents stay."""
    rig.start_worker()
    # Before there is a bridge: one that hears of the note when it is gone would think that the
    # host left.
    join(rig, ONE)
    bridge = rig.start_bridge(**NO_AGENTS)
    wait_served(rig, [ONE])
    with rig.redis.client() as client:
        client.delete(keys.joined(ONE))
        # As after a lost connection: all is read anew.
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    wait_fact(bridge, "joined.vanished")
    assert ask(rig, ONE).state == "success"
    join(rig, ONE)
    assert ask(rig, ONE).state == "success"
    assert len(facts(bridge, "stream.opened")) == 1


@pytest.mark.parametrize("access_control", [True, False], ids=["401", "admin"])
def test_host_that_cattle_refuses_for_good_counts_as_removed(make_rig, access_control):
    """W 6: it is said plainly, seen on `/metrics`, and the keys are tried rarely."""
    rig = make_rig(security_enabled=access_control)
    bridge = rig.start_bridge(**NO_AGENTS, BRIDGE_REMOVED_AFTER_S="2")
    rig.start_worker()
    join(rig, ONE)
    wait_fact(bridge, "agent.removed", timeout_s=40)
    (fact,) = facts(bridge, "agent.removed")
    assert "cowpoke leave" in fact["advice"]
    # The kept register key would give the dead keys again.
    assert "cowpoke join --new-register-key" in fact["advice"]
    key = agent_of(ONE)["access_key"]
    assert metrics(bridge, "cowpoke_agent_waiting") == {
        f'cowpoke_agent_waiting{{agent="{key}",reason="removed"}}': "1.0"
    }
    with rig.redis.client() as client:
        wait_until(lambda: client.exists(keys.removed(ONE)), 20, "the note for the host")
        # The next try is 2.5 times as far away as it took to be sure.
        retry_in_s = facts(bridge, "stream.closed")[-1]["retry_in_s"]
        assert 3 < retry_in_s < 7
        # Somebody restored cattle's database.
        rig.cattle.add_agent(**agent_of(ONE))
        wait_served(rig, [ONE])
        wait_until(lambda: not client.exists(keys.removed(ONE)), 20, "no note")
    assert metrics(bridge, "cowpoke_agent_waiting") == {}
    assert ask(rig, ONE).state == "success"
