"""Parts of a Rancher host that meet: joining, managed networks, storage drivers, a restart."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from simulator.join_rig import JoinRig
from simulator.plugin_manager.program import plugin_manager, start
from simulator.rig.containers import remove_containers
from simulator.rig.processes import wait_until
from tests import factories
from tests.drivers import volume
from tests.managed_networks import ADDRESS, managed

START = "compute.instance.activate"


@pytest.fixture
def rig(redis_server, engine, tmp_path):
    """A hub with two bridges, and a host that has joined."""
    redis_server.client().flushall()
    with JoinRig(
        redis=redis_server,
        folder=tmp_path / "rancher",
        engine_environment=engine.environment,
    ) as made:
        yield made


@pytest.fixture
def new_instance(docker_client, test_image):
    """Make the data of instances; their containers are removed at the end."""
    made = []

    def make(fields, **changes):
        made.append(str(uuid.uuid4()))
        given = {"name": f"t-{made[-1]}", "image": factories.image(test_image)}
        return factories.instance_data(fields, uuid=made[-1], **given, **changes)

    yield make
    for own in made:
        label = {"label": f"io.rancher.container.uuid={own}"}
        left = docker_client.containers(all=True, filters=label)
        remove_containers(docker_client, *(one["Id"] for one in left))


def taken(rig):
    """The container events that cattle took."""
    return [one for one in rig.cattle.container_events(inspect=False) if one["status"] < 300]


def test_leave_with_an_activate_that_waits_for_its_network(
    rig, new_instance, make_driver, docker_client, engine_host
):
    """One instance with a volume of a flex driver in a managed network: started and answered.

    The host leaves while the event waits for the address, and the bridges know no agent any more.
    """
    driver = make_driver("rancher-nfs")
    cni = rig.state_dir / "cni"
    other = rig.start_bridge()
    rig.start_worker(WORKER_STORAGE_DIR=str(make_driver.folder), WORKER_NETWORK_STATE_DIR=str(cni))
    rig.bridge = rig.start_bridge()
    wait_until((rig.state_dir / ".docker_uuid").exists, 30, "a uuid")
    assert rig.run("join", rig.registration_url()).returncode == 0
    rig.wait_host()
    access_key = rig.note().access_key
    fields = {
        "dataVolumes": ["vol1:/data"],
        "command": ["sh", "-c", "touch /data/x; exec /sleep.sh"],
    }
    data = managed(new_instance, fields, volumesFromDataVolumeMounts=[volume("vol1")], late_s=6)
    with start(plugin_manager(engine_host, cni)):
        event_id = rig.cattle.send(
            START, data, resource_type="instanceHostMap", resource_id="1ihm1", agent=access_key
        )
        label = {
            "label": f"io.rancher.container.uuid={data['instanceHostMap']['instance']['uuid']}"
        }
        wait_until(lambda: docker_client.containers(filters=label), 30, "the container")
        left = rig.run("leave")
        assert left.returncode == 0, left.stdout + left.stderr
        assert rig.cattle.record(event_id)["state"] == "waiting"
        call = rig.cattle.wait(event_id, 30)
    assert (call.state, call.duplicates) == ("success", [])
    report = call.data["instanceHostMap"]["instance"]["+data"]
    assert report["+fields"]["dockerIp"] == ADDRESS
    (found,) = docker_client.containers(filters=label)
    binds = docker_client.inspect_container(found["Id"])["HostConfig"]["Binds"]
    assert sorted(binds) == [f"{driver.folder_of('vol1')}:/data:rw", "rancher-cni:/.r:ro"]
    wait_until((driver.folder_of("vol1") / "x").exists, 20, "the program's file")
    assert other.running
    assert rig.bridge.running


def test_bridge_killed_while_a_host_joins(rig, new_instance, docker_client, test_image):
    """The next bridge takes the host, and reports what happened to a container meanwhile."""
    rig.start()
    with ThreadPoolExecutor() as pool:
        run = pool.submit(rig.run, "join", rig.registration_url())
        wait_until(rig.cattle.registers, 30, "a register object")
        rig.bridge.kill()
        by_hand = docker_client.create_container(test_image, command=["/sleep.sh"])["Id"]
        try:
            docker_client.start(by_hand)
            rig.bridge = rig.start_bridge()
            done = run.result()
            assert done.returncode == 0, done.stdout + done.stderr
            rig.wait_host()
            wait_until(
                lambda: by_hand in {one["event"]["externalId"] for one in taken(rig)},
                30,
                "the start of the container in cattle",
            )
        finally:
            remove_containers(docker_client, by_hand)
    assert len(rig.cattle.registers()) == 1
