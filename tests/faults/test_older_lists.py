"""A list of containers that was made before a container started: a bridge leaves it out."""

import threading

from cowpoke.outcomes import success
from tests.bridges import ACTIVATE, EVENT, HOST


def test_a_list_older_than_a_started_container_does_not_reach_cattle(make_rig):
    """A 14.12: cattle would destroy the container that it knows and the list lacks."""
    listing, started = threading.Event(), threading.Event()

    def script(event, _):
        if event.base_name != "ping":
            return success({})
        listing.set()
        assert started.wait(20)
        host = {"type": "host", "uuid": HOST}
        resources = [host, {"type": "hostUuid", "uuid": HOST}]
        return success({"options": {"instances": True}, "resources": resources})

    rig = make_rig()
    rig.start_worker(script=script)
    rig.start_bridge()
    rig.wait_subscribed()
    ask = {"options": {"instances": True, "resources": True}}
    ping = rig.cattle.send("ping", ask, resource_type="agent", resource_id="1a5")
    assert listing.wait(10)
    assert rig.cattle.call(ACTIVATE, {}, **EVENT, wait_s=10).state == "success"
    started.set()
    pong = rig.cattle.wait(ping, 10)
    assert (pong.state, pong.data) == (
        "success",
        {"resources": [{"type": "host", "uuid": HOST}]},
    )
