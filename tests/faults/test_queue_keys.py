"""A worker whose QUEUE_KEY differs from the bridge's takes nothing, says so, and resumes."""

import pytest
from cryptography.fernet import Fernet

from cowpoke import keys
from cowpoke.seal import ClusterKeyring, host_key
from simulator import sample
from simulator.rig.processes import Program, wait_until
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


def health(system, **keys):
    """What `cowpoke health` says about a worker with these keys; its exit code and its lines."""
    environment = {**system.worker.environment, **keys}
    with Program("worker", "health", environment=environment) as asked:
        return asked.wait(), asked.output()


def test_worker_waits_for_a_bridge_with_its_key(system):
    """W 32: it says so in its health check too, and goes on when the bridge gets the key."""
    new = Fernet.generate_key().decode()
    system.worker.terminate()
    with system.start_worker(QUEUE_KEY=new) as stranger:
        wait_fact(stranger, "queue_key.mismatch", LANES)
        code, said = health(system, QUEUE_KEY=new)
        assert (code, "QUEUE_KEY: " in said) == (1, True)
        system.bridge.terminate()
        system.bridge.environment["QUEUE_KEY"] = f"{new},{system.queue_key}"
        system.bridge.start()
        wait_fact(stranger, "lane.ready", LANES, timeout_s=60)
        system.wait_subscribed()
        instance = new_instance()
        system.assert_answered_once(system.ask(sample.instance_activate(instance)), instance)
        assert health(system, QUEUE_KEY=new)[0] == 0
        assert stranger.terminate() == 0


def test_notes_that_others_wrote_stop_no_worker(system):
    """W 32: neither at its start nor while it runs; it names the bridges whose notes it ignores."""
    client, name = system.redis.client(), keys.host_keys(system.host_uuid)
    (true,) = client.hvals(name)
    stranger = ClusterKeyring(Fernet.generate_key().decode())
    notes = {
        "text": "no note",
        "bytes": b"\xff\xfe",
        "copied": true,
        "stranger": stranger.host(system.host_uuid).seal({"bridge": "stranger"}),
    }
    client.hset(name, mapping=notes)
    for bridge_id in notes:
        client.set(keys.bridge(bridge_id), "forged")
    system.worker.terminate()
    host = {"QUEUE_KEY": "", "HOST_KEY": host_key(system.queue_key, system.host_uuid)}
    with system.start_worker(**host) as worker:
        system.wait_lanes(worker)
        ignored = facts(worker, "queue_key.note_ignored")[0]["bridges"]
        assert sorted(ignored) == sorted(notes)
        instance = new_instance()
        system.assert_answered_once(system.ask(sample.instance_activate(instance)), instance)
        assert facts(worker, "queue_key.mismatch") == []
