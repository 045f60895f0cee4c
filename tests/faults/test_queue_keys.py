"""A worker whose QUEUE_KEY differs from the bridge's takes nothing, says so, and resumes."""

import pytest
from cryptography.fernet import Fernet

from simulator import sample
from simulator.rig.processes import wait_until
from tests.faults.faulty_system import FaultySystem, facts, new_instance, wait_fact

LANES = 3


@pytest.fixture
def system(engine, make_redis, tmp_path):
    """A system of the test's own with the right keys."""
    with FaultySystem(
        engine, redis=make_redis(appendonly=True), state_dir=tmp_path / "state"
    ) as running:
        running.wait_lanes()
        yield running


def waiting_events(system):
    """How many events are in the queue of containers."""
    return system.redis.client().llen(f"host.{system.host_uuid}")


@pytest.mark.parametrize("wrong", [Fernet.generate_key().decode(), ""], ids=["other", "missing"])
def test_worker_with_a_wrong_key_leaves_events_in_the_queue(system, wrong):
    """W 32: it stays up, says so once per lane; the event is done when the keys match."""
    system.worker.terminate()
    with system.start_worker(QUEUE_KEY=wrong) as stranger:
        wait_fact(stranger, "queue_key.mismatch", LANES)
        instance = new_instance()
        event_id = system.send(sample.instance_activate(instance), timeout_ms=90_000)
        wait_until(lambda: waiting_events(system) == 1, 20, "the event in the queue")
        # The lanes live, renew their leases, and take nothing.
        assert len(facts(stranger, "queue_key.mismatch")) == LANES
        assert facts(stranger, "lane.ready") == []
        assert facts(stranger, "lane.died") == []
        assert "QUEUE_KEY" in facts(stranger, "queue_key.mismatch")[0]["advice"]
        system.restart_worker()
        system.assert_answered_once(system.cattle.wait(event_id, 60), instance)
        assert stranger.terminate() == 0


def test_bridge_without_a_key_stops_workers_that_have_one(system):
    """W 32: a key is missing on the other side; running lanes stop taking events and resume."""
    system.bridge.terminate()
    with system.start_bridge(QUEUE_KEY="") as keyless:
        wait_fact(system.worker, "queue_key.mismatch", LANES, timeout_s=60)
        keyless.terminate()
    system.bridge.start()
    wait_fact(system.worker, "queue_key.matches", LANES, timeout_s=60)
    system.wait_subscribed()
    instance = new_instance()
    call = system.ask(sample.instance_activate(instance))
    system.assert_answered_once(call, instance)


def test_event_taken_before_the_difference_is_seen_is_given_back(system):
    """W 32: keys change between two looks; the event is requeued, not answered with an error."""
    new = Fernet.generate_key().decode()
    system.bridge.kill()
    with system.start_bridge(QUEUE_KEY=new):
        wait_until(lambda: system.cattle.stats()["open_sockets"], 20, "the subscription")
        ids = {}
        for _ in range(5):
            instance = new_instance()
            event_id = system.send(sample.instance_activate(instance), timeout_ms=90_000)
            ids[event_id] = instance
        wait_fact(system.worker, "queue_key.mismatch", LANES, timeout_s=60)
        with system.start_worker(QUEUE_KEY=new):
            for event_id, instance in ids.items():
                system.assert_answered_once(system.cattle.wait(event_id, 60), instance)


def test_rotation_of_keys_answers_every_event(system):
    """W 32: `new,old` at the bridge first: the worker waits for it, and nothing is refused."""
    both = f"{Fernet.generate_key().decode()},{system.queue_key}"
    system.bridge.terminate()
    with system.start_bridge(QUEUE_KEY=both):
        wait_fact(system.worker, "queue_key.mismatch", LANES, timeout_s=60)
        system.wait_subscribed()
        instance = new_instance()
        event_id = system.send(sample.instance_activate(instance), timeout_ms=90_000)
        system.worker.terminate()
        with system.start_worker(QUEUE_KEY=both):
            system.assert_answered_once(system.cattle.wait(event_id, 60), instance)
