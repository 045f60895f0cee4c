"""Replies that cattle, or a proxy before it, never takes, beside those that it takes."""

import pytest

from simulator.rig.processes import wait_until
from tests.bridges import ACTIVATE
from tests.floor import allowed_s

PINGS = 10


@pytest.mark.parametrize(("status", "refused"), [(404, 60), (413, 60), (500, 8)])
def test_refused_replies_hold_up_no_pong_and_no_other_reply(rig, status, refused):
    """W 30, W 31: more refusals than the bridge has slots, more errors than close the gate."""
    rig.start_worker()
    rig.start_bridge()
    rig.wait_subscribed()
    rig.cattle.faults(publish_status=status, publish_over_bytes=20_000)
    large = {"text": "x" * 40_000}
    for number in range(refused):
        rig.cattle.send(ACTIVATE, large, resource_type="x", resource_id=f"1x{number}")
    wait_until(lambda: rig.counted("publishes").get(str(status), 0) >= refused, 30, "refusals")
    for number in range(PINGS):
        ping = rig.cattle.call("ping", {}, timeout_ms=15_000, wait_s=20)
        other = {"resource_type": "y", "resource_id": f"1y{number}"}
        call = rig.cattle.call(ACTIVATE, {"n": number}, timeout_ms=15_000, wait_s=20, **other)
        assert (ping.state, call.state) == ("success", "success")
        assert max(ping.elapsed_ms, call.elapsed_ms) < allowed_s(2) * 1000
