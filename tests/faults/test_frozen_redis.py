"""A program that is told to stop leaves in its time, also when Redis answers nothing at all."""

import os
import signal
import time

import pytest

from simulator import sample
from simulator.rig.processes import wait_until
from simulator.rig.proxy import Proxy
from simulator.rig.redis_server import RedisServer
from tests.bridges import ACTIVATE, EVENT, BridgeRig, send_many, states
from tests.faults.faulty_system import FaultySystem, new_instance
from tests.faults.scripted_engine import Held

DRAIN_S = 2.0
#: The promise of the docs: the drain time plus this.
LEAVES_WITHIN_S = 5.0


def frozen_by_signal(server):
    """Stop the server's process; the kernel still accepts its connections."""
    os.kill(server.pid, signal.SIGSTOP)
    return lambda: os.kill(server.pid, signal.SIGCONT)


def stop_in_time(program):
    """The exit code of a program that was told to stop; it must be gone in time."""
    began_s = time.monotonic()
    code = program.terminate(60)
    assert time.monotonic() - began_s < DRAIN_S + LEAVES_WITHIN_S
    return code


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_bridge_told_to_stop_with_redis_frozen_leaves_in_time(rig: BridgeRig, busy):
    """W 35: SIGSTOP of Redis; events in memory are sent again by cattle, outcomes stay in Redis."""
    rig.start_worker()
    bridge = rig.start_bridge(BRIDGE_DRAIN_TIMEOUT_S=str(DRAIN_S))
    rig.wait_subscribed()
    rig.cattle.faults(publish_status=503)
    ids = send_many(rig, 5)
    wait_until(lambda: rig.outcomes_left() == 5, 10, "five outcomes")
    thaw = frozen_by_signal(rig.redis)
    try:
        if busy:
            send_many(rig, 50)
        assert stop_in_time(bridge) == 0
    finally:
        thaw()
    rig.cattle.faults_off()
    rig.start_bridge()
    assert states(rig, ids) == {"success"}


def test_bridge_told_to_stop_with_a_silent_network_leaves_in_time(make_rig, make_redis):
    """W 35: packets to Redis vanish, also those of new connections."""
    server = make_redis()
    rig = make_rig(server)
    with Proxy(f"127.0.0.1:{server.port}") as proxy:
        rig.start_worker()
        bridge = rig.start_bridge(
            REDIS_URL=proxy.url(server.url), BRIDGE_DRAIN_TIMEOUT_S=str(DRAIN_S)
        )
        rig.wait_subscribed()
        proxy.black_hole()
        send_many(rig, 20)
        bridge.wait_for_line("intake.blocked", 60)
        assert stop_in_time(bridge) == 0


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_worker_told_to_stop_with_redis_frozen_leaves_in_time(engine, tmp_path, busy):
    """W 35: what it had taken is done by the next worker, once."""
    with (
        RedisServer(appendonly=True) as server,
        FaultySystem(
            engine,
            redis=server,
            state_dir=tmp_path,
            worker={"WORKER_DRAIN_TIMEOUT_S": str(DRAIN_S)},
        ) as system,
    ):
        system.wait_lanes()
        held, instance = Held(), new_instance()
        if busy:
            engine.script("POST", "/containers/create", held)
            event_id = system.send(sample.instance_activate(instance), timeout_ms=90_000)
            held.wait_reached()
        thaw = frozen_by_signal(server)
        try:
            assert stop_in_time(system.worker) == 0
        finally:
            thaw()
            held.let_go()
        if busy:
            system.restart_worker()
            system.assert_answered_once(system.cattle.wait(event_id, 60), instance)


def test_bridge_says_ready_only_after_redis_answered(rig: BridgeRig):
    """W 33: before that it says once why it waits, and goes on when Redis comes."""
    thaw = frozen_by_signal(rig.redis)
    try:
        bridge = rig.start_bridge()
        bridge.wait_for_line("bridge.redis_unavailable", 60)
        assert "bridge.ready" not in bridge.output()
    finally:
        thaw()
    bridge.wait_for_line("bridge.ready", 60)
    assert bridge.output().count('"bridge.redis_unavailable"') == 1
    rig.start_worker()
    rig.wait_subscribed()
    assert rig.cattle.call(ACTIVATE, {"a": 1}, **EVENT).data == {"a": 1}
