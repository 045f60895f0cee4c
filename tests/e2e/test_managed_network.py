"""Managed networks through the whole system: an activate waits in the queue, not in a slot.

Row numbers (B) refer to docs/parity.md.
"""

import time
import uuid

import pytest

from simulator.plugin_manager.program import plugin_manager, start
from simulator.rig.containers import remove_containers
from simulator.rig.processes import wait_until
from tests import factories
from tests.managed_networks import ADDRESS, WITHOUT_SUBNET, managed
from tests.system import System

#: Of the systems here; the usual 25 s would only make the tests longer.
ADDRESS_WAIT_S = 8.0
SLOTS = 2


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory):
    """The folder of plugin-manager's state files."""
    return tmp_path_factory.mktemp("cni")


@pytest.fixture
def connecting(engine_host, state_dir):
    """The stand-in, which connects what starts."""
    with start(plugin_manager(engine_host, state_dir)) as program:
        yield program


@pytest.fixture(scope="module")
def system(redis_server, engine, test_image, state_dir, tmp_path_factory):
    """A system with two slots for containers."""
    redis_server.client().flushall()
    with System(
        redis=redis_server,
        state_dir=tmp_path_factory.mktemp("state"),
        engine_environment=engine.environment,
        worker={
            "WORKER_CONCURRENCY": str(SLOTS),
            "WORKER_NETWORK_STATE_DIR": str(state_dir),
            "WORKER_NETWORK_ADDRESS_WAIT_S": str(ADDRESS_WAIT_S),
        },
    ) as running:
        yield running


@pytest.fixture
def new_instance(docker_client, test_image):
    """Make the data of instances; their containers are removed at the end."""
    made = []

    def make(fields, **changes):
        made.append(str(uuid.uuid4()))
        given = {"name": f"t-{made[-1]}", "image": factories.image(test_image), "id": len(made)}
        return factories.instance_data(fields, uuid=made[-1], **given, **changes)

    yield make
    for own in made:
        left = docker_client.containers(all=True, filters=_label(own))
        remove_containers(docker_client, *(one["Id"] for one in left))


def _label(instance_uuid):
    return {"label": f"io.rancher.container.uuid={instance_uuid}"}


def send(system, data, name="compute.instance.activate"):
    """Send an event of the instance; its id."""
    resource_id = f"1ihm-{data['instanceHostMap']['instance']['uuid']}"
    return system.cattle.send(name, data, resource_type="instanceHostMap", resource_id=resource_id)


def started(docker_client, data):
    """Wait until the instance's container runs; its inspect."""

    def running():
        found = docker_client.containers(
            filters=_label(data["instanceHostMap"]["instance"]["uuid"])
        )
        return docker_client.inspect_container(found[0]["Id"]) if found else None

    return wait_until(running, 30, "a running container")


def address(call):
    """The address in the reply of a success."""
    assert call.state == "success", call.message
    return call.data["instanceHostMap"]["instance"]["+data"]["+fields"]["dockerIp"]


def test_reply_has_the_address_of_a_slow_network(system, connecting, new_instance):
    """B.2: the network comes 3 s after the start, and the reply after that."""
    data = managed(new_instance, {"kernelMemory": 1}, late_s=3, card=WITHOUT_SUBNET)
    began_s = time.monotonic()
    call = system.cattle.wait(send(system, data))
    assert address(call).startswith("10.77.")
    assert time.monotonic() - began_s >= 3
    # A warning of the first try.
    assert "kernelMemory is ignored" in call.message


def test_waiting_activates_hold_no_slot(system, connecting, new_instance, docker_client):
    """B.2: more events wait for addresses than there are slots, and the next one is not delayed."""
    waiting = [managed(new_instance, mode="nothing", card=WITHOUT_SUBNET) for _ in range(SLOTS * 4)]
    ids = [send(system, data) for data in waiting]
    for data in waiting:
        started(docker_client, data)
    began_s = time.monotonic()
    assert address(system.cattle.wait(send(system, managed(new_instance)))) == ADDRESS
    took_s = time.monotonic() - began_s
    open_ids = [one for one in ids if system.cattle.record(one)["state"] == "waiting"]
    assert open_ids, "nothing waited any more; the test says nothing"
    assert took_s < ADDRESS_WAIT_S
    for call in map(system.cattle.wait, ids):
        assert call.state == "error"
        assert "Timeout getting IP address" in call.message


def test_error_of_cni_is_the_reply(system, connecting, new_instance):
    """B.2: what plugin-manager wrote after its last try, for the user to read."""
    call = system.cattle.wait(send(system, managed(new_instance, mode="error")))
    assert call.state == "error"
    assert "Couldn't bring up network: stand-in: no address is free" in call.message


def test_worker_killed_while_it_waits_loses_nothing(
    system, connecting, new_instance, docker_client
):
    """B.2: kill -9 after the start; the next process finishes the event, same container."""
    data = managed(new_instance, late_s=4, card=WITHOUT_SUBNET)
    sent = send(system, data)
    before = started(docker_client, data)
    system.worker.kill()
    printed = len(system.worker.output())
    system.worker.start()
    system.worker.wait_for_line('"lane.ready"', 30, after_chars=printed)
    call = system.cattle.wait(sent)
    assert address(call).startswith("10.77.")
    after = docker_client.inspect_container(before["Id"])
    assert after["State"]["StartedAt"] == before["State"]["StartedAt"]
    assert call.duplicates == []


def test_container_stopped_while_its_event_waits(system, connecting, new_instance, docker_client):
    """B.2: a stop by hand ends the wait; the event succeeds and does not start it again."""
    data = managed(new_instance, mode="nothing", card=WITHOUT_SUBNET)
    sent = send(system, data)
    container = started(docker_client, data)
    docker_client.stop(container["Id"], timeout=20)
    call = system.cattle.wait(sent)
    assert address(call) is None
    state = docker_client.inspect_container(container["Id"])["State"]
    assert (state["Running"], state["ExitCode"]) == (False, 143)


def test_deactivate_follows_a_waiting_activate(system, connecting, new_instance, docker_client):
    """B.2: events of one instance run in order; the stop is not lost behind the wait."""
    data = managed(new_instance, mode="nothing")
    first = send(system, data)
    container = started(docker_client, data)
    second = send(system, data, "compute.instance.deactivate")
    assert address(system.cattle.wait(first)) == ADDRESS
    assert system.cattle.wait(second).state == "success"
    assert not docker_client.inspect_container(container["Id"])["State"]["Running"]


def test_network_services_start_after_the_container(
    system, engine_host, state_dir, new_instance, docker_client
):
    """B.2: on a fresh host the container waits for plugin-manager, and so does the event."""
    data = managed(new_instance, card=WITHOUT_SUBNET)
    sent = send(system, data)
    started(docker_client, data)
    with start(plugin_manager(engine_host, state_dir)):
        assert address(system.cattle.wait(sent)).startswith("10.77.")


def test_container_connected_before_plugin_manager_restarted(
    system, connecting, state_dir, new_instance
):
    """B.2: a killed plugin-manager comes back without a state file; eth0 has the address."""
    data = managed(new_instance, card=WITHOUT_SUBNET)
    first = system.cattle.wait(send(system, data))
    before = address(first)
    connecting.kill()
    container_id = first.data["instanceHostMap"]["instance"]["externalId"]
    for file in (state_dir / container_id).iterdir():
        file.unlink()
    start(connecting)
    assert address(system.cattle.wait(send(system, data))) == before
    assert list((state_dir / container_id).iterdir()) == []
