"""The whole system while the clock of its Redis jumps by hours, forth and back."""

import pytest

from simulator import sample
from simulator.rig.errors import RigError
from tests.clocks import JumpingRedis
from tests.faults.faulty_system import FaultySystem, facts, new_instance, wait_fact
from tests.faults.scripted_engine import Held

HOURS = 3600


@pytest.fixture
def server(missing_part):
    """A Redis whose clock a test sets."""
    try:
        started = JumpingRedis(appendonly=True).start()
    except RigError as error:
        missing_part(error)
    with started:
        yield started


@pytest.mark.parametrize("seconds", [5 * HOURS, -5 * HOURS])
def test_jump_of_the_clock_refuses_and_doubles_no_event(server, engine, tmp_path, seconds):
    """W 28: an event at work, events sent at the jump, and events after it are done once each."""
    with FaultySystem(engine, redis=server, state_dir=tmp_path) as system:
        system.wait_lanes()
        held, first = Held(), new_instance()
        engine.script("POST", "/containers/create", held)
        instances = {
            system.send(sample.instance_activate(first), timeout_ms=60_000): first,
        }
        held.wait_reached()
        server.jump(seconds)
        for _ in range(10):
            instance = new_instance()
            event_id = system.send(sample.instance_activate(instance), timeout_ms=60_000)
            instances[event_id] = instance
        wait_fact(system.bridge, "redis.clock_jumped")
        held.let_go()
        last = new_instance()
        instances[system.send(sample.instance_activate(last), timeout_ms=60_000)] = last
        for event_id, instance in instances.items():
            system.assert_answered_once(system.cattle.wait(event_id, 60), instance)
        ping = system.cattle.call("ping", {}, resource_type="agent", timeout_ms=10_000)
        assert ping.state == "success"
        assert facts(system.worker, "event.failed") == []
