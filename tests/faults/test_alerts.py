"""Every alert fires and clears: a real Prometheus, a real bridge, faults of all kinds."""

import json
import os
import signal
import socket

import pytest

from cowpoke.outcomes import error, success
from simulator.rig.processes import WaitTimeoutError, wait_until
from tests.bridges import ACTIVATE, AGENT, EVENT
from tests.faults.alert_faults import ALERTS, Faults
from tests.prometheus import DASHBOARD, Prometheus, alerts

WITHIN_S = 60


def ending(event, _):
    """How an event ends: as its data say."""
    return error("engine-busy", "busy") if event.data.get("fails") else success({})


class Watch:
    """What fires, and what has fired so far."""

    def __init__(self, prometheus):
        self._prometheus = prometheus
        self.fired = set()

    def wait_firing(self, *wanted):
        """Wait until these fire, others may too; what fires is kept."""
        self._wait(lambda firing: set(wanted) - firing, "to fire")

    def wait_silent(self):
        """Wait until nothing fires."""
        self._wait(lambda firing: firing, "to clear")

    def _wait(self, missing, what):
        left = set()

        def is_over():
            firing = self._prometheus.firing()
            self.fired |= firing
            left.clear()
            left.update(missing(firing))
            return not left

        try:
            wait_until(is_over, WITHIN_S, what, interval_s=0.3)
        except WaitTimeoutError:
            raise AssertionError(f"waited {WITHIN_S} s for these {what}: {sorted(left)}") from None


@pytest.fixture
def program(debian_program):
    """The path of Prometheus."""
    return debian_program("prometheus", package="prometheus")


@pytest.fixture
def faults(rig):
    """What programs in trouble leave in the Redis of the rig."""
    made = Faults(rig.redis.url, rig.key)
    yield made
    made.close()


@pytest.mark.timeout(400)
def test_every_alert_fires_and_clears(rig, program, faults):
    """What lies in Redis all at once, then errors, cattle, Redis and the bridge one by one."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    faults.cause()
    rig.start_worker(script=ending)
    bridge = rig.start_bridge(BRIDGE_HTTP_PORT=str(port))
    with Prometheus(program, f"127.0.0.1:{port}") as prometheus:
        watch = Watch(prometheus)
        watch.wait_firing(*(ALERTS - {"CowpokeEventsStuck"}))
        faults.cause_stuck()
        watch.wait_firing(*ALERTS)
        faults.heal()
        rig.wait_subscribed()
        watch.wait_silent()
        assert watch.fired >= ALERTS

        for number in range(8):
            rig.cattle.call(
                ACTIVATE,
                {"fails": True},
                **{**EVENT, "resource_id": f"1ihm{number}"},
                agent=AGENT["access_key"],
            )
        watch.wait_firing("CowpokeManyErrors")
        rig.cattle.faults(refuse_subscribe_status=503, drop_sockets=True)
        watch.wait_firing("CowpokeCattleUnreachable", "CowpokeBridgeNotReady")
        rig.cattle.faults_off()
        watch.wait_silent()

        faults.client.replicaof("127.0.0.1", 1)
        watch.wait_firing("CowpokeRedisRefusesWrites")
        faults.client.replicaof("NO", "ONE")
        watch.wait_silent()

        os.kill(rig.redis.pid, signal.SIGSTOP)
        try:
            watch.wait_firing("CowpokeRedisDown")
        finally:
            os.kill(rig.redis.pid, signal.SIGCONT)
        watch.wait_silent()

        bridge.kill()
        watch.wait_firing("CowpokeNoBridge")
        bridge.start()
        watch.wait_silent()
        assert watch.fired == {one.name for one in alerts()}
        for text in dashboard_queries():
            assert prometheus.query(text) is not None, text


def dashboard_queries():
    """Return what the panels of the dashboard ask, of this job and host."""
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"].replace("$job", "cowpoke").replace("$host", "host-1")
            yield query.replace("$__rate_interval", "20s")
