"""Volumes on a real Engine: of Docker's own driver and of containers (A.13).

Row numbers (A, B, C) refer to docs/parity.md.
"""

import docker.errors
import pytest

from tests import factories
from worker.errors import LockHeldError, ProtectedContainerError
from worker.host.name_store import orphan_volumes

pytestmark = pytest.mark.usefixtures("quick_removals")

ACTIVATE = "storage.volume.activate"
DEACTIVATE = "storage.volume.deactivate"
REMOVE = "storage.volume.remove"
START = "compute.instance.activate"
END = "compute.instance.remove"
REPLY = {"volumeStoragePoolMap": {"volume": {"format": "docker"}}}


@pytest.fixture
def in_use(host, volume_name, new_instance):
    """The data of a running container that has the volume."""
    data = new_instance({"dataVolumes": [f"{volume_name}:/data"]})
    host.run(START, data)
    return data


def managed(name, driver="local", options=None, **changes):
    """The data of an event for a volume of a driver."""
    return factories.volume_data({"driver": driver, "driverOpts": options}, name=name, **changes)


def orphans(host):
    """Names of the volumes that are on record as left over."""
    return [name for name, _ in orphan_volumes(host.host.settings.state_dir).all()]


# -- activate, deactivate --------------------------------------------------------------------------


def test_a_managed_volume_comes_and_goes(host, volume_name, docker_client):
    """Each event twice: present is fine, gone is fine (A 13.1, 13.3, 13.5, 13.6, 13.9, C 15)."""
    data = managed(volume_name)
    for _ in range(2):
        assert host.run(ACTIVATE, data) == REPLY
    assert docker_client.inspect_volume(volume_name)["Driver"] == "local"
    assert host.run(DEACTIVATE, data) == REPLY
    assert docker_client.inspect_volume(volume_name)["Name"] == volume_name
    for _ in range(2):
        assert host.run(REMOVE, data) == REPLY
    with pytest.raises(docker.errors.NotFound):
        docker_client.inspect_volume(volume_name)


def test_a_drivers_options_arrive_as_texts(host, volume_name, docker_client):
    """Numbers too, since the Engine takes texts only; none is fine (A 13.3)."""
    options = {"type": "tmpfs", "device": "tmpfs", "o": 1000}
    host.run(ACTIVATE, managed(volume_name, options=options))
    found = docker_client.inspect_volume(volume_name)["Options"]
    assert found == {"type": "tmpfs", "device": "tmpfs", "o": "1000"}


@pytest.mark.parametrize(
    ("fields", "changes"), [({}, {"name": "x"}), ({"driver": "local"}, {}), (None, {})]
)
def test_a_volume_without_driver_or_name_needs_nothing(host, fields, changes):
    """No call at all (A 13.1, 13.2)."""
    assert host.calls_of(ACTIVATE, factories.volume_data(fields, **changes)) == {}


@pytest.mark.parametrize("kind", ["convoy", "docker", None])
def test_any_kind_of_pool_will_do(host, volume_name, kind):
    """Cattle has pools of other drivers (A 13.12)."""
    data = managed(volume_name)
    data["volumeStoragePoolMap"]["storagePool"]["kind"] = kind
    assert host.run(ACTIVATE, data) == REPLY
    assert host.run(REMOVE, data) == REPLY


@pytest.mark.parametrize("name", [ACTIVATE, REMOVE])
def test_a_volume_that_is_worked_on_is_waited_for(make_host, volume_name, name):
    """One event at a time per volume, on all workers of a host (A 13.13)."""
    host = make_host(WORKER_LOCK_WAIT_S="0.1")
    with make_host().host.locks.hold(f"volume:{volume_name}"), pytest.raises(LockHeldError):
        host.run(name, managed(volume_name))


# -- remove ----------------------------------------------------------------------------------------


def test_a_volume_in_use_becomes_an_orphan_and_its_removal_succeeds(host, in_use, volume_name):
    """Cattle must not ask for ever: it is noted once, however often cattle asks (A 13.8, C 28)."""
    for _ in range(2):
        assert host.run(REMOVE, managed(volume_name)) == REPLY
    assert orphans(host) == [volume_name]


def test_an_orphan_that_is_removed_after_all_is_forgotten(host, in_use, volume_name):
    """The container is gone, cattle asks once more (A 13.8)."""
    host.run(REMOVE, managed(volume_name))
    host.run(END, in_use)
    host.run(REMOVE, managed(volume_name))
    assert orphans(host) == []


def test_an_orphan_that_is_wanted_again_is_none(host, in_use, volume_name):
    """Its new user's data must not be tidied away (A 13.8)."""
    host.run(REMOVE, managed(volume_name))
    host.run(ACTIVATE, managed(volume_name))
    assert orphans(host) == []


def test_an_orphan_that_a_new_container_mounts_by_its_name_is_none(
    host, in_use, volume_name, new_instance
):
    """It is not among the volumes that cattle manages for it, and is its data all the same."""
    host.run(REMOVE, managed(volume_name))
    host.run(START, new_instance({"dataVolumes": [f"{volume_name}:/again", "/tmp:/tmp"]}))
    assert orphans(host) == []


def test_an_orphan_on_a_full_disk_is_still_a_success(host, in_use, volume_name, tmp_path):
    """The record cannot be written: the removal is answered all the same (C 10)."""
    (tmp_path / "orphans").write_text("a file where the folder should be")
    assert host.run(REMOVE, managed(volume_name)) == REPLY


def test_removing_a_root_volume_removes_its_container(host, new_instance, containers_of):
    """DeviceNumber 0 stands for the container; gone is fine (A 13.7)."""
    data = new_instance()
    host.run(START, data)
    instance = data["instanceHostMap"]["instance"]
    for _ in range(2):
        root = factories.volume_data(deviceNumber=0, instance=instance)
        assert host.run(REMOVE, root) == REPLY
        assert containers_of(data) == []


def test_the_root_of_our_own_part_is_not_removed(host, native_part, docker_client):
    """A container of this installation stays (A 13.7, parity B.6)."""
    instance = native_part("redis")["instanceHostMap"]["instance"]
    with pytest.raises(ProtectedContainerError):
        host.run(REMOVE, factories.volume_data(deviceNumber=0, instance=instance))
    assert docker_client.inspect_container(instance["externalId"])["State"]["Running"]


def test_a_root_volume_without_instance_has_nothing_to_remove(host):
    """No container is named: none is looked for (A 13.7, 13.11)."""
    assert host.run(REMOVE, factories.volume_data(deviceNumber=0)) == REPLY


@pytest.mark.parametrize("changes", [{}, {"uri": None}, {"uri": "nfs://x/y"}, {"name": "x"}])
def test_a_volume_of_which_little_is_known_is_removed_without_doing_anything(host, changes):
    """Neither uri nor isHostPath need be there (A 13.11)."""
    assert host.run(REMOVE, factories.volume_data(**changes)) == REPLY
    assert host.run(REMOVE, factories.volume_data(None, **changes)) == REPLY
