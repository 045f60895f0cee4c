"""When a bridge is subscribed, and when not: hosts away, refusals, agents given up, silence."""

import json

import pytest

from simulator.rig.processes import wait_until
from tests.bridges import ACTIVATE, AGENT, EVENT, send_many, states


def test_there_is_no_subscription_before_there_is_a_worker(rig):
    """An agent without a host would only be pinged and missed; a worker makes it subscribe."""
    bridge = rig.start_bridge()
    bridge.wait_for_line("host.unknown", 20)
    assert rig.counted("connects") == 0
    rig.start_worker()
    rig.wait_subscribed()
    assert rig.cattle.call(ACTIVATE, {}, **EVENT).state == "success"


def start(count):
    """The data of an activate of an instance that cattle started so often."""
    return {"instanceHostMap": {"instance": {"startCount": count}}}


def test_first_start_at_an_absent_host_gets_an_error(rig):
    """W 4: shortly before the deadline the user is told that the host is offline."""
    rig.start_bridge()
    with rig.worker():
        rig.wait_subscribed()
    call = rig.cattle.call(ACTIVATE, start(0), **EVENT, timeout_ms=8000)
    assert call.state == "error"
    assert "host-offline" in json.dumps(call.reply)
    assert call.elapsed_ms > 1500


@pytest.mark.parametrize(
    ("name", "data"), [(ACTIVATE, start(3)), ("storage.volume.activate", {}), ("ping", {})]
)
def test_replayed_call_runs_when_the_worker_is_back(rig, name, data):
    """W 4: no answer while the host is absent; cattle's next event finds the worker."""
    bridge = rig.start_bridge()
    with rig.worker():
        rig.wait_subscribed()
    event_id = rig.cattle.send(
        name, data, **EVENT, timeout_ms=2000, retries_new_id=100, backoff_ms=100
    )
    wait_until(lambda: rig.cattle.record(event_id)["state"] == "timeout", 20, "a timeout")
    wait_until(lambda: '"expire": 1' in bridge.output(), 20, "the event to expire")
    rig.start_worker()
    assert rig.cattle.wait(event_id, 20).state == "success"
    events = rig.cattle.records()
    assert [one["state"] for one in events[:-1]] == ["timeout"] * (len(events) - 1)
    assert not any(one["replies"] for one in events[:-1])


def test_a_host_that_comes_back_in_time_does_its_work(rig):
    """Events wait for a worker that is restarted."""
    rig.start_bridge()
    with rig.worker():
        rig.wait_subscribed()
    ids = send_many(rig, 5)
    rig.start_worker()
    assert states(rig, ids) == {"success"}


def test_the_work_of_a_dead_worker_comes_back(rig):
    """What a killed process had is given to the next one within seconds."""
    rig.start_bridge()
    with rig.worker(script=lambda *_: None) as worker:
        rig.wait_subscribed()
        ids = send_many(rig, 3)
        wait_until(lambda: len(worker.claimed) == 3, 10, "three events taken")
    rig.start_worker()
    assert states(rig, ids) == {"success"}


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "CATTLE_SECRET_KEY"), (403, "registering"), (422, "several")]
)
def test_a_refused_subscription_is_explained_once_and_not_hurried(rig, status, advice):
    """One line with what to do, and no storm of tries."""
    rig.cattle.faults(refuse_subscribe_status=status)
    rig.start_worker()
    bridge = rig.start_bridge()
    line = json.loads(bridge.wait_for_line("stream.closed", 20))
    assert advice in line["reason"]
    assert str(status) in line["reason"]
    assert line["retry_in_s"] >= (1 if status == 403 else 30)
    assert bridge.output().count("stream.closed") == rig.counted("refused_subscribes") == 1


def test_keys_that_a_server_without_security_does_not_know_are_a_trap(make_rig):
    """The server opens the socket as admin's and stays silent; the bridge sees whose it is."""
    rig = make_rig(security_enabled=False)
    rig.start_worker()
    bridge = rig.start_bridge(CATTLE_SECRET_KEY="wrong")
    line = json.loads(bridge.wait_for_line("stream.closed", 20))
    assert (line["ending"], "admin" in line["reason"]) == ("wrong-account", True)
    assert line["retry_in_s"] >= 30


def test_an_agent_that_is_let_in_later_is_subscribed(rig):
    """A refusal while the agent registers is not for ever."""
    rig.cattle.faults(refuse_subscribe_status=403)
    rig.start_worker()
    rig.start_bridge().wait_for_line("stream.closed", 20)
    rig.cattle.faults_off()
    rig.wait_subscribed()


def test_a_cattle_that_is_not_there_is_waited_for(rig):
    """The bridge starts without its server, and says what it tries to reach."""
    rig.start_worker()
    bridge = rig.start_bridge(CATTLE_URL="http://127.0.0.1:9/v1")
    line = json.loads(bridge.wait_for_line("stream.closed", 20))
    assert "127.0.0.1:9" in line["reason"]
    assert bridge.terminate() == 0


def agent_state(rig, access_key):
    """What cattle thinks of an agent."""
    (agent,) = [one for one in rig.cattle.agents() if one["access_key"] == access_key]
    return agent["state"]


def test_an_agent_that_cattle_gave_up_is_won_back(make_rig):
    """C 8: its pongs did not arrive for long while its websocket stood."""
    rig = make_rig(
        ping_interval_s=0.1,
        ping_timeout_s=0.2,
        reconnect_after_misses=2,
        reconnect_ping_timeout_s=0.1,
        reconnect_ping_sends=2,
        disconnect_after_s=0.5,
    )
    rig.start_worker()
    bridge = rig.start_bridge(BRIDGE_UNASKED_TIMEOUT_S="1")
    rig.wait_subscribed()
    key = AGENT["access_key"]
    rig.cattle.faults(publish_status=503)
    wait_until(lambda: agent_state(rig, key) == "disconnected", 20, "cattle to give it up")
    rig.cattle.faults_off()
    wait_until(lambda: agent_state(rig, key) == "active", 30, "the agent to be active")
    assert "stream.resubscribed" in bridge.output()
    assert "stream.closed" not in bridge.output()
    rig.wait_subscribed()


def test_an_agent_of_a_service_account_is_woken(make_rig):
    """A 1.3: a service account's subscription wakes nobody, so the bridge asks cattle to."""
    service = {"access_key": "service", "secret_key": "service-secret", "kind": "service"}
    rig = make_rig(agents=[{**AGENT, "agent_id": 5, "state": "disconnected"}, service])
    rig.start_worker()
    rig.start_bridge(
        CATTLE_ACCESS_KEY="service", CATTLE_SECRET_KEY="service-secret", CATTLE_AGENT_ID="1a5"
    ).wait_for_line("agent.reconnect_requested", 20)
    wait_until(lambda: agent_state(rig, AGENT["access_key"]) == "active", 20, "an active agent")
    assert rig.cattle.call(ACTIVATE, {"a": 1}, **EVENT, agent=5).data == {"a": 1}


def test_a_silence_with_pongs_is_a_silence(make_rig):
    """C 7: a proxy that answers websocket pings and delivers nothing is left."""
    rig = make_rig(heartbeat_s=1000)
    rig.start_worker()
    bridge = rig.start_bridge(CATTLE_EVENT_READ_TIMEOUT="12")
    rig.wait_subscribed()
    # Longer than the bridge's own pings of the websocket are apart (10 s).
    line = json.loads(bridge.wait_for_line("stream.closed", 20))
    assert "not even a heartbeat" in line["reason"]
