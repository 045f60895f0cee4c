"""A bridge whose process is frozen for a while, as with its machine or its container."""

import signal
import time
from contextlib import contextmanager

from simulator.rig.processes import wait_until
from tests.bridges import send_many, states

FROZEN_S = 20.0


@contextmanager
def frozen(*programs, at_least_s=FROZEN_S):
    """Freeze programs for the block, and for so many seconds at least."""
    ends_s = time.monotonic() + at_least_s
    for program in programs:
        program.send_signal(signal.SIGSTOP)
    try:
        yield
        wait_until(lambda: time.monotonic() > ends_s, at_least_s + 5, "the end of the pause")
    finally:
        for program in programs:
            program.send_signal(signal.SIGCONT)


def test_frozen_bridge_takes_the_events_that_arrived_meanwhile(rig):
    """W 27: with its usual patience of 15 s, a pause of 20 s costs no event and no websocket."""
    rig.start_worker()
    bridge = rig.start_bridge(CATTLE_EVENT_READ_TIMEOUT="15")
    rig.wait_subscribed()
    with frozen(bridge):
        ids = send_many(rig, 10)
    assert states(rig, ids) == {"success"}
    assert "stream.closed" not in bridge.output()
    assert "bridge.paused" in bridge.output()
    assert rig.counted("connects") == 1


def test_both_bridges_frozen_lose_nothing(rig):
    """W 27: nobody else reads the events then; each is run and answered once."""
    worker = rig.start_worker()
    bridges = [rig.start_bridge(CATTLE_EVENT_READ_TIMEOUT="2") for _ in range(2)]
    rig.wait_subscribed(2)
    with frozen(*bridges):
        ids = send_many(rig, 60)
    assert states(rig, ids) == {"success"}
    assert sorted(event.data["n"] for event in worker.claimed) == list(range(60))
    assert not any("stream.closed" in bridge.output() for bridge in bridges)
    assert rig.counted("duplicates_other_id") == 0


def test_replies_on_their_way_outlast_a_pause(rig):
    """W 27: cattle's answers to replies that were being sent are read after the pause."""
    rig.start_worker()
    bridge = rig.start_bridge(CATTLE_EVENT_READ_TIMEOUT="2")
    rig.wait_subscribed()
    rig.cattle.faults(publish_hang=True)
    ids = send_many(rig, 5)
    wait_until(lambda: rig.outcomes_left() == 5, 10, "five outcomes")
    with frozen(bridge, at_least_s=8):
        rig.cattle.faults_off()
    assert states(rig, ids) == {"success"}
    wait_until(lambda: rig.outcomes_left() == 0, 20, "an empty stream")
    assert rig.counted("duplicates") == 0


def test_silence_after_a_pause_is_noticed(rig):
    """W 27: a server that is really gone is left, with the usual patience after the pause."""
    rig.start_worker()
    bridge = rig.start_bridge(CATTLE_EVENT_READ_TIMEOUT="2")
    rig.wait_subscribed()
    with frozen(bridge, at_least_s=6):
        rig.cattle.faults(accept_but_hang=True)
    bridge.wait_for_line("not even a heartbeat", 20)
    rig.cattle.faults_off()
    rig.wait_counted("connects", 2, timeout_s=30)
