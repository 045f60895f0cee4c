"""A real dockerd is killed in the middle of work and comes back."""

import pytest

from simulator import sample
from simulator.rig.engine import start_private_engine
from simulator.rig.errors import RigError
from simulator.rig.image import TEST_IMAGE, build_image
from simulator.rig.processes import wait_until
from tests.faults.faulty_system import UUID_LABEL, new_instance
from tests.system import System


@pytest.fixture(scope="module")
def own_engine(missing_part):
    """A private Engine of the module's own, with the test image."""
    try:
        engine = start_private_engine()
    except (RigError, OSError) as error:
        missing_part(error)
    with engine:
        if not engine.private:
            missing_part("dockerd is killed here: a private one is needed")
        client = engine.client()
        build_image(client, TEST_IMAGE)
        client.close()
        yield engine


@pytest.fixture(scope="module")
def system(redis_server, own_engine, tmp_path_factory):
    """One system on the private Engine."""
    redis_server.client().flushall()
    with System(
        redis=redis_server,
        state_dir=tmp_path_factory.mktemp("state"),
        engine_environment=own_engine.environment,
    ) as running:
        running.worker.wait_for_line("lane.ready")
        yield running


def send(system, instance):
    """Send an activate; its id."""
    event = sample.instance_activate(instance)
    return system.cattle.send(
        event.name,
        event.data,
        resource_type=event.resource_type,
        resource_id=event.resource_id,
    )


def assert_all_done(system, ids):
    """Each event has its one final reply, of success."""
    calls = [system.cattle.wait(event_id, 60) for event_id in ids]
    assert {call.state for call in calls} == {"success"}, [call.message for call in calls]
    assert not any(call.duplicates for call in calls)


@pytest.mark.docker
def test_a_killed_dockerd_costs_time_and_nothing_else(system, own_engine):
    """Kill -9 of dockerd during activates; each ends in one container of its own.

    What ran before ends with dockerd, as Docker has it; cattle's next activate starts it again.
    """
    instances = [new_instance(image=TEST_IMAGE) for _ in range(6)]
    ids = [send(system, instance) for instance in instances]
    wait_until(
        lambda: any(system.cattle.record(one)["state"] == "success" for one in ids),
        30,
        "the first container",
    )
    own_engine.kill()
    own_engine.restart()
    assert_all_done(system, ids)
    assert_all_done(system, [send(system, instance) for instance in instances])
    client = own_engine.client()
    try:
        listed = client.containers(all=True)
    finally:
        client.close()
    uuids = sorted(one["Labels"][UUID_LABEL] for one in listed)
    assert uuids == sorted(instance.uuid for instance in instances)
    assert {one["State"] for one in listed} == {"running"}
