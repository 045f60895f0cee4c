"""Volumes, devices and limits.

Row numbers (A, B) refer to docs/parity.md.
"""

import pytest

from tests.unit.worker.create.mapping import body, host_config
from worker.create import Facts
from worker.errors import PayloadError


def test_volumes():
    """A 6.6: a path is anonymous, two parts are a bind, a third is its mode; names may be bound."""
    made = body({"dataVolumes": ["/a", "/b:/c", "/d:/e:ro", "named:/f:Z"]})
    assert made["Volumes"] == {"/a": {}}
    assert made["HostConfig"] == {"Binds": ["/b:/c:rw", "/d:/e:ro", "named:/f:Z"]}


def test_a_volume_that_its_driver_has_mounted_is_bound_from_there():
    """B.3: each text with its own mode, Docker's root folder or not; one part only is skipped."""
    facts = Facts(mount_points={"v": "/var/lib/docker/v"}, docker_root="/mnt/docker")
    made = body({"dataVolumes": ["v:/a", "v:/b:ro", "v", "/v", "w:/c", "/v:/d"]}, facts=facts)
    assert made["Volumes"] == {"/v": {}}
    assert made["HostConfig"]["Binds"] == [
        *("/var/lib/docker/v:/a:rw", "/var/lib/docker/v:/b:ro", "w:/c:rw", "/v:/d:rw")
    ]


@pytest.mark.parametrize("text", ["/a:/b:ro:z", "/a:", ":/b", "/a::ro", ":"])
def test_other_volumes_are_refused(text):
    """A 6.7: a volume with too many or with empty parts is refused, with the text."""
    with pytest.raises(PayloadError, match="must be PATH, SOURCE:PATH or") as caught:
        body({"dataVolumes": [text]})
    assert repr(text) in caught.value.message


def test_one_source_at_two_places():
    """A 6.8: two binds with the same source are two binds."""
    binds = host_config({"dataVolumes": ["/a:/b", "/a:/c"]})["Binds"]
    assert binds == ["/a:/b:rw", "/a:/c:rw"]


def test_volumes_of_other_containers():
    """A 6.9: other containers are named by id, those that are not here are skipped."""
    others = [{"uuid": "one"}, {"uuid": "nobody", "externalId": "x"}, {"externalId": "two"}, {}]
    facts = Facts(container_ids={"one": "id-1", "two": "id-2"})
    made = host_config(dataVolumesFromContainers=others, facts=facts)
    assert made == {"VolumesFrom": ["id-1", "id-2"]}


@pytest.mark.parametrize("volumes", [None, []])
def test_no_volumes(volumes):
    """A 6.12: no volumes give no key."""
    assert host_config({"dataVolumes": volumes}) == {}
    assert "Volumes" not in body({"dataVolumes": volumes})


@pytest.mark.parametrize(
    ("volume", "root", "binds"),
    [
        (
            "/var/lib/docker:/d:ro",
            "/mnt/docker",
            ["/mnt/docker:/d:ro", "/mnt/docker:/mnt/docker:ro"],
        ),
        ("/var/lib/docker/x:/d", "/mnt/docker", ["/mnt/docker/x:/d:rw"]),
        ("/var/lib/docker:/mnt/docker", "/mnt/docker/", ["/mnt/docker:/mnt/docker:rw"]),
        ("/var/lib/docker:/d", "/var/lib/docker", ["/var/lib/docker:/d:rw"]),
        ("/var/lib/docker-x:/d", "/mnt/docker", ["/var/lib/docker-x:/d:rw"]),
    ],
)
def test_docker_root_elsewhere(volume, root, binds):
    """A 6.11: a bind of Docker's folder goes to where it really is, and is also seen there."""
    assert host_config({"dataVolumes": [volume]}, facts=Facts(docker_root=root))["Binds"] == binds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/dev/a", ("/dev/a", "/dev/a", "rwm")),
        ("/dev/a:/dev/b", ("/dev/a", "/dev/b", "rwm")),
        ("/dev/a:/dev/b:r", ("/dev/a", "/dev/b", "r")),
    ],
)
def test_devices(text, expected):
    """A 4.24: a device has one to three parts; all may be done with it unless said."""
    (made,) = host_config({"devices": [text]})["Devices"]
    keys = ("PathOnHost", "PathInContainer", "CgroupPermissions")
    assert tuple(made[key] for key in keys) == expected


@pytest.mark.parametrize("text", ["/dev/a:/dev/b:r:w", ":/dev/b", "/dev/a:"])
def test_other_devices_are_refused(text):
    """A 4.24: a device with too many or with empty parts is refused."""
    with pytest.raises(PayloadError, match="a device must be"):
        body({"devices": [text]})


def test_device_limits():
    """A 9.1: five lists by kind of limit; null is skipped, zero is kept, empty lists are absent."""
    options = {
        "/dev/a": {"readIops": 1, "writeBps": 0, "weight": None},
        "/dev/b": {"readIops": "2"},
    }
    assert host_config({"blkioDeviceOptions": options}) == {
        "BlkioDeviceReadIOps": [{"Path": "/dev/a", "Rate": 1}, {"Path": "/dev/b", "Rate": 2}],
        "BlkioDeviceWriteBps": [{"Path": "/dev/a", "Rate": 0}],
    }


def test_all_device_limits():
    """A 9.1: each of the five limits has its list."""
    options = {"readIops": 1, "writeIops": 2, "readBps": 3, "writeBps": 4, "weight": 5}
    assert host_config({"blkioDeviceOptions": {"/dev/a": options}}) == {
        "BlkioDeviceReadIOps": [{"Path": "/dev/a", "Rate": 1}],
        "BlkioDeviceWriteIOps": [{"Path": "/dev/a", "Rate": 2}],
        "BlkioDeviceReadBps": [{"Path": "/dev/a", "Rate": 3}],
        "BlkioDeviceWriteBps": [{"Path": "/dev/a", "Rate": 4}],
        "BlkioWeightDevice": [{"Path": "/dev/a", "Weight": 5}],
    }


@pytest.mark.parametrize(
    ("disk", "expected"),
    [("/dev/sda", {"BlkioWeightDevice": [{"Path": "/dev/sda", "Weight": 5}]}), (None, {})],
)
def test_default_disk(disk, expected):
    """A 9.2: the default disk is the one that was measured; without one the limit is skipped."""
    options = {"DEFAULT_DISK": {"weight": 5}}
    assert host_config({"blkioDeviceOptions": options}, facts=Facts(default_disk=disk)) == expected


def test_ulimits():
    """B.1: limits of processes go over with both of their numbers."""
    made = host_config({"ulimits": [{"name": "nofile", "soft": "1", "hard": 0}]})
    assert made == {"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 0}]}
