"""A worker is told to stop: what it can finish it finishes, the rest is the next worker's.

And the broker's visibility timeout never decides about a task.
"""

import signal
import time

import pytest

from simulator import sample
from simulator.rig.processes import Program, wait_until
from tests import factories
from tests.faults.faulty_system import new_instance
from tests.faults.scripted_engine import Held, Pull
from tests.floor import allowed_s

CREATE = "/containers/create"
PULL = "/images/create"
DRAIN_S = 1.0


@pytest.fixture(scope="module")
def system(make_system):
    """One system whose workers drain for a second."""
    return make_system(
        simulator={"SIMULATOR_CLOCK_OFFSET_MS": "3600000"},
        worker={"WORKER_DRAIN_TIMEOUT_S": str(DRAIN_S)},
    )


def test_a_pull_longer_than_the_drain_is_done_by_the_next_worker(system, scripted):
    """C 38: TERM during a long pull; the worker is gone in bounded time, the event is not."""
    stalled = Held()
    pulled = scripted.count("POST", PULL)
    scripted.script("POST", PULL, Pull(wait=stalled.released, arrives=False))
    event_id = system.cattle.send(
        "storage.image.activate",
        factories.image_data(full_name="example/long:1"),
        resource_type="imageStoragePoolMap",
        resource_id="1ispm7",
        timeout_ms=60_000,
    )
    wait_until(lambda: scripted.count("POST", PULL) == pulled + 1, 20, "the pull")
    began_s = time.monotonic()
    assert system.worker.terminate() == 0
    # The drain, the time to leave the broker, and a slow machine.
    assert time.monotonic() - began_s < allowed_s(DRAIN_S + 5 + 3)
    stalled.let_go()
    system.restart_worker()
    call = system.cattle.wait(event_id, 30)
    assert (call.state, call.duplicates) == ("success", [])
    assert scripted.count("POST", PULL) == pulled + 2


def test_many_restarts_during_one_pull_are_no_poison(system, scripted):
    """C 38, C 40: a worker that is told to stop has not died of what it was doing."""
    stalled = Held()
    pulled = scripted.count("POST", PULL)
    scripted.script("POST", PULL, *[Pull(wait=stalled.released, arrives=False)] * 3)
    event_id = system.cattle.send(
        "storage.image.activate",
        factories.image_data(full_name="example/restarts:1"),
        resource_type="imageStoragePoolMap",
        resource_id="1ispm8",
        timeout_ms=90_000,
    )
    for times in range(1, 4):
        wait_until(lambda n=times: scripted.count("POST", PULL) == pulled + n, 20, "the pull")
        system.worker.terminate()
        system.restart_worker()
    stalled.let_go()
    call = system.cattle.wait(event_id, 30)
    assert (call.state, call.duplicates) == ("success", [])


def test_what_ends_within_the_drain_is_finished(system, scripted):
    """C 38: TERM during a create that takes a moment; the worker that began answers it."""
    held, instance = Held(), new_instance()
    scripted.script("POST", CREATE, held)
    created = scripted.count("POST", CREATE)
    event_id = system.send(sample.instance_activate(instance))
    held.wait_reached()
    printed = len(system.worker.output())
    system.worker.send_signal(signal.SIGTERM)
    stopping = r'"lane": "compute".*"lane\.stopping"|"lane\.stopping".*"lane": "compute"'
    system.worker.wait_for_line(stopping, after_chars=printed)
    held.let_go()
    try:
        assert system.worker.wait() == 0
        call = system.cattle.wait(event_id, 10)
        system.assert_answered_once(call, instance)
        assert scripted.count("POST", CREATE) == created + 1
    finally:
        system.restart_worker()


def test_workers_come_and_go_under_load(system, scripted):
    """Scaling up and down loses nothing and doubles nothing."""
    sent = []

    def send(count):
        for _ in range(count):
            instance = new_instance()
            sent.append((system.send(sample.instance_activate(instance)), instance))

    send(40)
    with system.start_worker() as second, system.start_worker() as third:
        system.wait_lanes(second)
        system.wait_lanes(third)
        send(60)
        second.send_signal(signal.SIGTERM)
        send(60)
        third.send_signal(signal.SIGTERM)
        send(40)
        assert (second.wait(), third.wait()) == (0, 0)
    for event_id, instance in sent:
        system.assert_answered_once(system.cattle.wait(event_id, 40), instance)


def test_a_task_longer_than_the_visibility_timeout_runs_once(system, scripted):
    """C 33: the broker would give the task again after a second; nobody runs it beside itself."""
    system.worker.terminate()
    environment = {**system.worker.environment}
    with Program("tests.faults.long_task_worker", environment=environment) as impatient:
        system.wait_lanes(impatient)
        held, instance = Held(), new_instance()
        created = scripted.count("POST", CREATE)
        scripted.script("POST", CREATE, held)
        event_id = system.send(sample.instance_activate(instance))
        held.wait_reached()
        time.sleep(5)  # five visibility timeouts, with a look of the broker's every half second
        held.let_go()
        system.assert_answered_once(system.cattle.wait(event_id, 20), instance)
        assert scripted.count("POST", CREATE) == created + 1
    system.restart_worker()


def test_a_server_whose_clock_is_an_hour_ahead_changes_nothing(system):
    """Deadlines are counted from the time of receipt, by our own clock."""
    instance = new_instance()
    call = system.ask(sample.instance_activate(instance), timeout_ms=10_000)
    system.assert_answered_once(call, instance)
