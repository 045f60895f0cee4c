"""Many answers at once: they share a few connections to cattle."""

import json

import pytest

from simulator.rig.processes import wait_until
from simulator.rig.proxy import Proxy
from simulator.rig.redis_server import RedisServer
from tests.bridges import ACTIVATE, BridgeRig

REPLIES = 500
CONCURRENCY = 8


@pytest.fixture
def rig():
    """A cattle and a worker; the test starts the bridge."""
    with RedisServer() as server, BridgeRig(server) as running:
        running.start_worker()
        yield running


def test_a_burst_of_replies_goes_out_over_few_connections(rig):
    """C 6: as many as BRIDGE_PUBLISH_CONCURRENCY and the websocket, kept alive, no warnings."""
    address = rig.url.split("/")[2]
    with Proxy(address) as way:
        bridge = rig.start_bridge(
            CATTLE_URL=rig.url.replace(address, way.address),
            BRIDGE_PUBLISH_CONCURRENCY=str(CONCURRENCY),
            CATTLE_EVENT_READ_TIMEOUT="15",
        )
        rig.wait_subscribed()
        rig.cattle.faults(delay_publish_ms=30)
        for number in range(REPLIES):
            rig.cattle.send(ACTIVATE, {}, resource_type="x", resource_id=f"1x{number}")
        wait_until(lambda: rig.counted("finals") == REPLIES, 40, f"{REPLIES} replies")
        assert way.connections <= CONCURRENCY + 1
        assert rig.counted("publishes") == {"201": REPLIES}
        levels = {json.loads(line)["level"] for line in bridge.output().splitlines()}
        assert levels <= {"info", "debug"}
        bridge.terminate()
