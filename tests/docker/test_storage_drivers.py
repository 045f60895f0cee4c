"""Containers with volumes of Rancher's flex drivers on a real Engine (B.3).

Row numbers (B) refer to docs/parity.md.
"""

import shutil

import docker.errors
import pytest

from simulator.rig.processes import wait_until
from tests.drivers import REPLY, map_of, volume, with_volumes
from worker.errors import StorageDriverAbsentError

START = "compute.instance.activate"
STOP = "compute.instance.deactivate"
END = "compute.instance.remove"
FLEX = ["Capabilities", "Create", "Attach", "Mount"]
#: Writes a file with its first argument into the volume, shows it, runs on.
WRITE = ["sh", "-c", 'echo "$0" >> /data/seen; exec /sleep.sh']


@pytest.fixture
def host(make_host, make_driver):
    """A host whose drivers are those of the test."""
    return make_host(WORKER_STORAGE_DIR=str(make_driver.folder))


@pytest.fixture
def instance(new_instance):
    """Data of an instance that mounts `volume` at `/data`."""

    def make(name, driver="rancher-nfs", mode="", command=WRITE, word="x"):
        changes = with_volumes(volume(name, driver), binds=[])
        fields = {"dataVolumes": [f"{name}:/data{mode}"], "command": [*command, word]}
        return new_instance(
            fields, volumesFromDataVolumeMounts=changes["volumesFromDataVolumeMounts"]
        )

    return make


def seen(folder):
    """What containers wrote into a volume."""
    return wait_until(
        lambda: (folder / "seen").exists() and (folder / "seen").read_text().split(),
        20,
        f"a file in {folder}",
    )


@pytest.mark.parametrize("name", ["rancher-nfs", "rancher-ebs", "rancher-secrets"])
def test_a_container_works_in_the_folder_that_the_driver_mounted(
    host, instance, make_driver, containers_of, docker_client, name
):
    """What it writes is in the driver's folder; Docker has no volume of that name (B.3)."""
    driver = make_driver(name)
    data = instance("vol1", name, word="hello")
    host.run(START, data)
    folder = driver.folder_of("vol1")
    assert seen(folder) == ["hello"]
    (mount,) = containers_of(data)[0]["Mounts"]
    assert (mount["Type"], mount["Source"], mount["RW"]) == ("bind", str(folder), True)
    assert driver.actions() == FLEX
    with pytest.raises(docker.errors.NotFound):
        docker_client.inspect_volume("vol1")


def test_containers_share_a_volume_each_with_its_mode(
    host, instance, make_driver, containers_of, docker_client
):
    """One may write, the other may only read (B.3)."""
    driver = make_driver()
    host.run(START, instance("vol1", word="first"))
    assert seen(driver.folder_of("vol1")) == ["first"]
    reader = instance("vol1", mode=":ro", command=["sh", "-c", "cat /data/seen; touch /data/$0"])
    host.run(START, reader)
    (container,) = containers_of(reader)
    assert docker_client.wait(container["Id"])["StatusCode"] != 0
    said = docker_client.logs(container["Id"]).decode()
    assert "first" in said
    assert "Read-only file system" in said


def test_stop_start_and_removal_leave_the_volume(host, instance, make_driver):
    """Only a start asks the driver, and gets back a mount that the host has lost (B.3)."""
    driver, data = make_driver(), instance("vol1", word="again")
    folder = driver.folder_of("vol1")
    host.run(START, data)
    assert seen(folder) == ["again"]
    host.run(STOP, {**data, "processData": {"timeout": 0}})
    assert driver.actions() == FLEX
    shutil.rmtree(folder)  # as after a reboot: nothing is mounted there
    host.run(START, data)
    assert seen(folder) == ["again"]
    assert driver.actions() == FLEX * 2
    host.run(END, data)
    assert driver.actions() == FLEX * 2
    assert seen(folder) == ["again"]


def test_a_removed_volume_is_gone_at_its_driver(host, instance, make_driver):
    """After its container; twice (B.3)."""
    driver, data = make_driver(), instance("vol1")
    host.run(START, data)
    host.run(END, data)
    driver.removing.add("vol1")
    for event in ("storage.volume.remove", "volume.remove"):
        assert host.run(event, map_of("vol1")) == REPLY
    assert (driver.created, driver.folder_of("vol1").exists()) == ({}, False)


def test_no_container_is_made_before_its_driver_is_there(
    host, instance, make_driver, containers_of
):
    """Then one (B.3)."""
    data = instance("vol1")
    for _ in range(2):
        with pytest.raises(StorageDriverAbsentError):
            host.run(START, data)
    assert containers_of(data) == []
    make_driver()
    for _ in range(2):
        host.run(START, data)
    assert len(containers_of(data)) == 1
