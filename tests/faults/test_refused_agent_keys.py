"""A bridge whose keys cattle refuses holds up no reply that another bridge can send."""

import threading

from cowpoke.outcomes import success
from simulator.rig.processes import wait_until
from tests.bridges import AGENT, send_many, states
from tests.faults.faulty_system import facts, wait_fact

CONFIG = "config.update"


def wrong_keys(rig, **more):
    """Start a bridge whose keys cattle does not know."""
    return rig.start_bridge(CATTLE_ACCESS_KEY="wrong", CATTLE_SECRET_KEY="wrong-secret", **more)


def test_bridge_with_wrong_keys_beside_a_right_one_delays_no_reply(rig):
    """W 32: every reply arrives in time, the first ones and those of later probes."""
    rig.start_worker()
    rig.start_bridge()
    stranger = wrong_keys(rig)
    rig.wait_subscribed()
    stranger.wait_for_line("bridge.ready", 30)
    rounds_after = 2
    # Which bridge reads a reply is chance: until the wrong one had some, and then twice more.
    for _ in range(30):
        ids = send_many(rig, 30)
        assert states(rig, ids, 15) == {"success"}
        rounds_after -= bool(facts(stranger, "replies.handed_over"))
        if rounds_after < 0:
            break
    assert facts(stranger, "replies.handed_over")
    assert rig.counted("duplicates_other_id") == 0


def test_replies_held_by_a_bridge_with_wrong_keys_are_sent_by_the_next(rig):
    """W 32: it read them while it was alone; it lives on, and another bridge gets them at once."""
    done = threading.Event()
    worker = rig.start_worker(script=lambda *_: done.wait(30) and success({}))
    first = rig.start_bridge()
    rig.wait_subscribed()
    ids = send_many(rig, 5)
    # All of them: an event that is on its way when its bridge is killed is cattle's to send again.
    with rig.redis.client() as client:
        wait_until(lambda: len(client.keys("cowpoke:event:*")) == len(ids), 20, "all recorded")
    wait_until(lambda: worker.claimed, 20, "an event taken")
    first.kill()
    stranger = wrong_keys(rig)
    stranger.wait_for_line("bridge.ready", 30)
    done.set()
    wait_fact(stranger, "replies.handed_over", timeout_s=30)
    rig.start_bridge()
    assert states(rig, ids, 20) == {"success"}
    assert stranger.running
    assert stranger.terminate() == 0


def test_bridge_alone_sends_its_replies_when_its_keys_work_again(make_rig):
    """W 32: cattle refuses the keys for a while; what was given back is read again and sent."""
    rig = make_rig()
    rig.start_worker()
    bridge = rig.start_bridge()
    rig.wait_subscribed()
    rig.cattle.faults(publish_status=401)
    ids = send_many(rig, 20)
    wait_fact(bridge, "replies.handed_over", timeout_s=30)
    rig.cattle.faults_off()
    wait_until(lambda: rig.outcomes_left() == 0, 60, "every reply sent")
    assert rig.counted("duplicates_other_id") == 0
    assert "success" in states(rig, ids, 1)


def test_report_of_a_config_update_with_wrong_keys_is_left_to_another_bridge(rig):
    """W 32: the report before the reply is refused too, and the reply is no error for that."""
    done = threading.Event()
    worker = rig.start_worker(
        script=lambda *_: done.wait(30) and success({"upToDate": ["configscripts"]})
    )
    first = rig.start_bridge()
    rig.wait_subscribed()
    event_id = rig.cattle.send(
        CONFIG,
        {"items": [{"name": "configscripts", "requestedVersion": 1}]},
        resource_type="agent",
        resource_id=AGENT.get("id", "1a1"),
    )
    wait_until(lambda: worker.claimed, 20, "the event taken")
    first.kill()
    stranger = wrong_keys(rig)
    stranger.wait_for_line("bridge.ready", 30)
    done.set()
    wait_fact(stranger, "replies.handed_over", timeout_s=30)
    rig.start_bridge()
    assert rig.cattle.wait(event_id, 20).state == "success"
