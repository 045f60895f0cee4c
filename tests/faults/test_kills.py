"""Kill -9 of a worker's process or of the whole worker, at every point of an activate.

After the parts are back every event has one final reply, no container exists twice, and the first
redelivery starts within 5 s.
"""

import os
import signal
import time

import psutil
import pytest

from simulator import sample
from simulator.rig.processes import is_alive, wait_until
from tests.faults.faulty_system import (
    REDELIVERED_WITHIN_S,
    facts,
    lane_pid,
    new_instance,
    wait_lane,
)
from tests.faults.scripted_engine import Held
from tests.floor import allowed_s

LANES = ("compute", "control", "images")
LIST = ("GET", "/containers/json", False)
POINTS = {
    "before the create": LIST,
    "in the create": ("POST", "/containers/create", False),
    "after the create": ("POST", "/containers/create", True),
    "in the start": ("POST", "/containers/[^/]+/start", False),
    "after the start": ("POST", "/containers/[^/]+/start", True),
    "before the outcome": ("GET", "/containers/[0-9a-f]{64}/json", False),
}


@pytest.fixture(scope="module")
def system(make_system):
    """One system for the module; each test leaves its worker running."""
    return make_system()


def hold_at(scripted, point):
    """Hold the next activate at a point."""
    method, path, after = POINTS[point]
    held = Held(after=after)
    scripted.script(method, path, held)
    return held


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_worker_finishes_what_it_had_begun(system, scripted, point):
    """C 11, C 34: the whole worker dies at any step; the next one makes it one container."""
    instance, held = new_instance(), hold_at(scripted, point)
    event_id = system.send(sample.instance_activate(instance))
    held.wait_reached()
    system.worker.kill()
    held.let_go()
    system.restart_worker()
    back_s = time.monotonic()
    call = system.cattle.wait(event_id, 30)
    assert time.monotonic() - back_s < allowed_s(REDELIVERED_WITHIN_S)
    system.assert_answered_once(call, instance)


def test_no_lane_outlives_its_supervisor(system, scripted):
    """Only the parent is killed; the kernel ends its lanes, the next worker goes on."""
    instance, held = new_instance(), hold_at(scripted, "in the create")
    event_id = system.send(sample.instance_activate(instance))
    held.wait_reached()
    lanes = [psutil.Process(lane_pid(system.worker, lane)) for lane in LANES]
    os.kill(system.worker.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, lanes)), 5, "the end of its lanes")
    system.worker.wait()
    held.let_go()
    system.restart_worker()
    system.assert_answered_once(system.cattle.wait(event_id, 30), instance)


@pytest.mark.parametrize("point", ["in the create", "before the outcome"])
def test_a_killed_lane_finishes_what_it_had_begun(system, scripted, point):
    """C 11, C 34: one process dies, the supervisor starts it anew, the others never notice."""
    instance, held = new_instance(), hold_at(scripted, point)
    control = lane_pid(system.worker, "control")
    event_id = system.send(sample.instance_activate(instance))
    held.wait_reached()
    printed = system.kill_lane("compute")
    held.let_go()
    wait_lane(system.worker, "compute", after_chars=printed)
    back_s = time.monotonic()
    call = system.cattle.wait(event_id, 30)
    assert time.monotonic() - back_s < allowed_s(REDELIVERED_WITHIN_S)
    system.assert_answered_once(call, instance)
    assert lane_pid(system.worker, "control") == control


def test_a_sibling_takes_over_from_a_killed_worker(system, scripted):
    """C 34: two workers of a host; the event of the killed one is done by the other."""
    instance = new_instance()
    with system.start_worker() as sibling:
        system.wait_lanes(sibling)
        held = hold_at(scripted, "in the create")
        event_id = system.send(sample.instance_activate(instance))
        held.wait_reached()
        system.wait_claimed(event_id)
        taker, other = system.worker, sibling
        if system.boot_of(event_id) not in {fact["boot"] for fact in facts(taker, "lane.ready")}:
            taker, other = sibling, system.worker
        taker.kill()
        killed_s = time.monotonic()
        held.let_go()
        call = system.cattle.wait(event_id, 30)
        # Its lease has 4 s to run out, and a bridge looks every second.
        assert time.monotonic() - killed_s < allowed_s(8)
        system.assert_answered_once(call, instance)
        assert other.running
        if taker is system.worker:
            system.restart_worker()


def test_a_poison_event_is_answered_and_the_worker_lives(system, scripted):
    """C 40: three deaths with one event end in an error reply; the next event is done."""
    event = sample.instance_activate(new_instance())
    held = [hold_at(scripted, "before the create") for _ in range(3)]
    event_id = system.send(event, timeout_ms=60_000)
    for one in held:
        one.wait_reached()
        printed = system.kill_lane("compute")
        one.let_go()
        wait_lane(system.worker, "compute", after_chars=printed)
    call = system.cattle.wait(event_id, 30)
    assert call.state == "error"
    assert call.reply["transitioningInternalMessage"].startswith("event-crashed-workers ")
    assert call.duplicates == []
    instance = new_instance()
    system.assert_answered_once(system.ask(sample.instance_activate(instance)), instance)


def test_a_frozen_worker_is_not_overtaken(system, scripted):
    """A process whose lease ran out while it lives does not run beside its successor."""
    instance, held = new_instance(), hold_at(scripted, "in the create")
    created = scripted.count("POST", "/containers/create")
    with system.start_worker() as sibling:
        system.wait_lanes(sibling)
        event_id = system.send(sample.instance_activate(instance))
        held.wait_reached()
        boot = system.boot_of(event_id)
        owners = {
            fact["boot"]: fact["pid"]
            for w in (system.worker, sibling)
            for fact in facts(w, "lane.ready")
        }
        os.kill(owners[boot], signal.SIGSTOP)
        try:
            # The other process has the event now, and waits for the lock of the frozen one.
            wait_until(lambda: system.boot_of(event_id) not in {boot, ""}, 15, "the sibling's take")
            held.let_go()
        finally:
            os.kill(owners[boot], signal.SIGCONT)
        call = system.cattle.wait(event_id, 30)
        system.assert_answered_once(call, instance)
        assert scripted.count("POST", "/containers/create") == created + 1


def keys_of_celery(client):
    """What Celery and kombu keep in Redis: names, and how much is in them."""
    return {
        key: client.scard(key) if client.type(key) == b"set" else 1
        for key in client.scan_iter()
        if not key.startswith(b"cowpoke:") and not key.startswith(b"host.")
    }


def names_of(worker):
    """What Flower calls each lane of a worker now."""
    return {fact["lane"]: fact["node"] for fact in facts(worker, "lane.ready")}


def test_restarts_leave_nothing_in_redis(system):
    """C 35: a worker that is killed and started again has its old names, and no key is new."""
    with system.redis.client() as client:
        names = names_of(system.worker)
        before = keys_of_celery(client)
        for _ in range(3):
            system.worker.kill()
            system.restart_worker()
        assert names_of(system.worker) == names
        assert keys_of_celery(client) == before


def test_a_killed_bridge_loses_no_reply(system, scripted):
    """An outcome that was made while no bridge ran is sent by the next one."""
    instance, held = new_instance(), hold_at(scripted, "before the outcome")
    event_id = system.send(sample.instance_activate(instance))
    held.wait_reached()
    system.bridge.kill()
    held.let_go()
    system.bridge.start()
    system.assert_answered_once(system.cattle.wait(event_id, 30), instance)
    system.wait_subscribed()


def test_one_of_two_bridges_may_die(system, scripted):
    """Two bridges side by side; killing either loses nothing and doubles nothing."""
    with system.start_bridge() as second:
        system.wait_subscribed(2)
        instances = [new_instance() for _ in range(20)]
        held = hold_at(scripted, "in the create")
        ids = [system.send(sample.instance_activate(one)) for one in instances]
        held.wait_reached()
        second.kill()
        held.let_go()
        for event_id, instance in zip(ids, instances, strict=True):
            system.assert_answered_once(system.cattle.wait(event_id, 30), instance)
