"""Pulls that outlast everybody's patience but their own, and what a long run leaves in memory."""

import psutil
import pytest

from cowpoke.routes import Lane
from simulator import sample
from simulator.rig.processes import wait_until
from tests.faults.faulty_system import lane_pid, new_instance
from tests.faults.scripted_engine import Pull
from worker.engine.progress import REPEAT_EVERY_S

PULL = "/images/create"
IDLE_S = 2.0
#: Nothing grows with the number of events; allocators and pools settle within this.
MOST_GROWTH_BYTES = 8 * 1024 * 1024
#: Each slot keeps one connection to the Engine and one to Redis once it needed them; a slot that
#: the warm-up left idle makes its own later. Of 680 events none may cost a file.
MOST_NEW_FILES = 2 * 16
AT_ONCE = 50


@pytest.fixture(scope="module")
def system(make_system):
    """One system that ends a silent pull soon."""
    return make_system(
        worker={"WORKER_PULL_IDLE_TIMEOUT_S": str(IDLE_S), "WORKER_JANITOR_EVERY_S": "0"}
    )


def test_a_pull_longer_than_the_deadline_ends_well(system, scripted):
    """C 12, W 26: its progress prolongs the event, and its end is the event's success."""
    instance = new_instance(image="example/long-pull:1")
    line = {"status": "Downloading", "id": "l1"}
    lines = [{**line, "progressDetail": {"current": n, "total": 100}} for n in range(100)]
    before = scripted.count("POST", PULL)
    scripted.script("POST", PULL, Pull(lines, every_s=0.1))
    event = sample.image_activate(instance)
    call = system.ask(event, timeout_ms=4_000)
    assert call.state == "success", call.message
    assert call.elapsed_ms > 2 * 4_000
    system.assert_answered_once(system.ask(sample.instance_activate(instance)), instance)
    assert scripted.count("POST", PULL) == before + 1


def test_a_slow_pull_that_moves_is_not_cut(system, scripted):
    """C 23, A 1.25, A 12.8: it takes long, succeeds, and cattle hears how far it is."""
    line = {"status": "Downloading", "id": "l1"}
    lines = [{**line, "progressDetail": {"current": n, "total": 100}} for n in range(80)]
    scripted.script("POST", PULL, Pull(lines, every_s=0.1))
    call = system.ask(sample.image_activate(new_instance(image="example/slow:1")))
    assert call.state == "success", call.message
    assert call.elapsed_ms > 3 * IDLE_S * 1000
    percents = [reply["transitioningProgress"] for reply in call.progress[1:]]
    assert percents == sorted(percents)
    assert percents[0] < percents[-1]
    # 80 lines in 8 s, and cattle hears of it once a second.
    assert 4 <= len(call.progress) <= 10


def test_pull_of_many_timeouts_keeps_its_event_alive_by_progress(system, scripted):
    """W 3: a first layer that is here already, then bytes that do not change the percentage.

    cattle's time for the event runs out three times; each progress begins it anew.
    """
    timeout_s = 2 * REPEAT_EVERY_S
    line = {"status": "Downloading", "id": "l2"}
    lines = [
        {"status": "Already exists", "id": "l1"},
        *(
            {**line, "progressDetail": {"current": n, "total": 10**9}}
            for n in range(1, round(3 * timeout_s / 0.1))
        ),
    ]
    scripted.script("POST", PULL, Pull(lines, every_s=0.1))
    event = sample.image_activate(new_instance(image="example/large:1"))
    call = system.cattle.wait(system.send(event, timeout_ms=round(timeout_s * 1000)), 60)
    assert call.state == "success", call.message
    assert call.elapsed_ms > 2.5 * timeout_s * 1000
    percents = [reply.get("transitioningProgress", 0) for reply in call.progress]
    assert max(percents[:-1]) < 100


def test_a_long_run_leaks_nothing(system, scripted):
    """C 29: no-op activates and pulls by the hundred; memory and open files stay as they were."""
    instances = [new_instance() for _ in range(AT_ONCE)]
    run_all(system, [sample.instance_activate(one) for one in instances])

    run_all(system, pulls("warm-up", 20))
    for _ in range(5):
        run_all(system, [sample.instance_activate(one) for one in instances])
    processes = {lane: psutil.Process(lane_pid(system.worker, lane)) for lane in Lane}
    processes["bridge"] = psutil.Process(system.bridge.pid)
    before = {name: used(process) for name, process in processes.items()}
    for n in range(12):
        run_all(system, [sample.instance_activate(one) for one in instances])
        run_all(system, pulls(f"leak-{n}", 7))

    def growth():
        return {
            name: (used(process)[0] - before[name][0], used(process)[1] - before[name][1])
            for name, process in processes.items()
        }

    wait_until(
        lambda: all(
            size < MOST_GROWTH_BYTES and files < MOST_NEW_FILES for size, files in growth().values()
        ),
        5,
        f"memory and files as they were, but they grew: {growth()}",
    )
    assert len(scripted.containers) >= AT_ONCE


def pulls(name, count):
    """Wants of so many images that are not here."""
    wanted = [new_instance(image=f"example/{name}-{n}:1") for n in range(count)]
    return [sample.image_activate(one) for one in wanted]


def run_all(system, events):
    """Send all, then wait for all."""
    ids = [system.send(event) for event in events]
    assert {system.cattle.wait(event_id, 40).state for event_id in ids} == {"success"}


def used(process):
    """A process's memory in bytes, and how many files it has open."""
    return process.memory_info().rss, process.num_fds()
