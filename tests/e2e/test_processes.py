"""W 9: whole processes of cattle's through the system: failed starts, later starts, removals."""

import uuid

import pytest

from simulator import sample
from simulator.rig.containers import remove_containers


@pytest.fixture
def instance(docker_client, test_image):
    """An instance of the test's own; its containers are removed at the end."""
    made = sample.Instance(
        uuid=str(uuid.uuid4()), name=f"t-{uuid.uuid4().hex[:8]}", image=test_image
    )
    yield made
    remove_containers(docker_client, *(one["Id"] for one in containers_of(docker_client, made)))


def containers_of(docker_client, instance):
    """Every container the Engine has for the instance."""
    label = f"io.rancher.container.uuid={instance.uuid}"
    return docker_client.containers(all=True, filters={"label": label})


def play(system, event):
    """Send an event as cattle's process does; the last of its calls."""
    return system.call(
        event.name,
        event.data,
        resource_type=event.resource_type,
        resource_id=event.resource_id,
        as_process=True,
    )


def test_a_start_that_fails_five_times_and_its_deactivate_are_all_answered(
    system, docker_client, instance
):
    """W 9: each of the six events gets its one reply, and nothing is left of the tries."""
    last = play(system, sample.instance_activate(instance, command=["/no-such-program"]))
    assert (last.state, last.record["attempt"]) == ("error", 5)
    undone = system.cattle.wait(last.record["followed_by"])
    assert (undone.state, undone.record["name"]) == ("success", "compute.instance.deactivate")
    call = last.record
    for _ in range(4):
        call = system.cattle.record(call["retry_of"])
        assert call["state"] == "error"
        assert call["duplicates"] == call["late"] == []
    assert call["retry_of"] is None
    assert containers_of(docker_client, instance) == []


def test_later_events_carry_what_the_replies_reported(system, docker_client, instance):
    """W 9: an instance that ran is started again, stopped, and removed with its root volume."""
    for event in (sample.image_activate(instance), sample.volume_activate(instance)):
        assert play(system, event).state == "success"
    started = play(system, sample.instance_activate(instance))
    (running,) = containers_of(docker_client, instance)
    ran = sample.after(instance, started.data)
    assert (ran.external_id, ran.start_count) == (running["Id"], 1)
    assert play(system, sample.instance_deactivate(ran, stop_timeout_s=1)).state == "success"
    again = sample.after(ran, play(system, sample.instance_activate(ran)).data)
    assert (again.external_id, again.start_count) == (running["Id"], 2)
    assert play(system, sample.instance_deactivate(again, stop_timeout_s=1)).state == "success"
    assert play(system, sample.volume_remove(again)).state == "success"
    assert containers_of(docker_client, instance) == []
