"""Redis comes back with an older copy of its data while events are in flight."""

import time

import pytest

from cowpoke import keys
from simulator import sample
from simulator.rig.processes import wait_until
from tests.faults.faulty_system import FaultySystem, new_instance
from tests.faults.scripted_engine import Held

CREATE = "/containers/create"
#: cattle sends a new event when it got no answer.
REPEATS = {"timeout_ms": 6_000, "retries_new_id": 5, "backoff_ms": 300}


@pytest.fixture(params=["append-only file", "snapshot"])
def server(request, make_redis):
    """A Redis with either kind of file."""
    aof = {"appendonly": True, "appendfsync": "always"}
    made = make_redis(**(aof if request.param == "append-only file" else {}))
    made.kind = request.param
    return made


@pytest.fixture
def system(server, engine, tmp_path):
    """A worker with a single slot, so that events wait in Redis."""
    with FaultySystem(
        engine,
        redis=server,
        state_dir=tmp_path / "state",
        simulator={"SIMULATOR_PING_INTERVAL_S": "1"},
        worker={"WORKER_CONCURRENCY": "1"},
    ) as running:
        running.wait_lanes()
        yield running


def send(system, instance, **more):
    """Send an activate; its id."""
    return system.send(sample.instance_activate(instance), **{**REPEATS, **more})


def open_events(system):
    """How many events of the host are not over, as Redis has it."""
    with system.redis.client() as client:
        return client.zcard(keys.open_events(system.host_uuid))


def test_restored_copy_loses_no_container_and_doubles_none(system, server, engine, tmp_path):
    """What the copy lacks is sent again by cattle; what it has too much is found to be done."""
    copy = tmp_path / "copy"
    copy.mkdir()
    held = Held()
    engine.script("POST", CREATE, held)
    # Of these the copy has one that is claimed and others that are queued.
    before = [new_instance() for _ in range(4)]
    sent = {send(system, one, timeout_ms=20_000): one for one in before}
    held.wait_reached()
    wait_until(lambda: open_events(system) == len(before), 20, "the events in the ledger")
    server.back_up(copy)
    held.let_go()
    for event_id, instance in sent.items():
        system.assert_answered_once(system.cattle.wait(event_id, 30), instance)
    # cattle removes one, whose activate the copy has in its queue.
    removed = before[-1]
    for event in (sample.instance_deactivate(removed), sample.instance_remove(removed)):
        assert system.ask(event).state == "success"
    # Of these the copy has nothing.
    held = Held()
    engine.script("POST", CREATE, held)
    after = [new_instance() for _ in range(4)]
    sent = {send(system, one): one for one in after}
    held.wait_reached()
    server.kill()
    server.put_back(copy)
    held.let_go()
    server.restart()
    for event_id in sent:
        call = system.cattle.wait(event_id, 60)
        assert call.state == "success", call.message
    for instance in (*before[:-1], *after):
        (container,) = system.containers_of(instance)
        assert container["State"]["Running"]
    # Its activate was young enough to run again. cattle hears of that container by a ping, and
    # stops what it has removed.
    wait_until(lambda: _running(system, removed), 30, "the removed instance")
    stop = {"kind": "docker", "id": _running(system, removed)[0]}
    system.cattle.send("compute.instance.force.stop", {"instanceForceStop": stop})
    wait_until(lambda: not _running(system, removed), 30, "the end of the removed instance")
    if server.kind == "snapshot":
        return
    # What was claimed in the copy is done by nobody, and ends at its deadline.
    wait_until(lambda: open_events(system) == 0, 60, "an empty ledger")
    began_s = time.monotonic()
    last = new_instance()
    system.assert_answered_once(system.ask(sample.instance_activate(last)), last)
    assert time.monotonic() - began_s < REPEATS["timeout_ms"] / 1000


def _running(system, instance):
    found = system.containers_of(instance)
    return [one["Id"] for one in found if one["State"]["Running"]]
