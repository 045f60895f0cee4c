"""What is read of an instance and of the host and process around it.

Row numbers (A, B, W) refer to docs/parity.md.
"""

import pytest

from tests.factories import image, instance_data, nic
from worker.errors import PayloadError
from worker.payload import instance_of, process_of


def test_smallest_instance():
    """A uuid is all that an instance needs."""
    instance = instance_of({"instanceHostMap": {"instance": {"uuid": "u"}}})
    assert (instance.uuid, instance.nics, instance.image_reference) == ("u", (), None)


def test_an_instance_has_a_uuid():
    """Without a uuid the container could never be found again."""
    with pytest.raises(PayloadError, match=r"instance\.uuid is missing"):
        instance_of(instance_data(uuid=None))


def test_hosts_of_another_kind_are_refused():
    """A 1.12: an event for another driver gets an error with the kind."""
    with pytest.raises(PayloadError, match=r"must be 'docker'.*'kvm'"):
        instance_of(instance_data(host={"kind": "kvm"}))


@pytest.mark.parametrize("host", [None, {}, {"id": 1}, {"kind": None}, {"kind": "docker"}])
def test_a_missing_kind_is_docker(host):
    """A 1.12: a host that does not say its kind is taken for Docker's."""
    assert instance_of(instance_data(host=host)).host.kind in (None, "docker")


def test_image_row_and_user_that_name_different_images_are_refused():
    """A 3.4, W 1: neither is preferred, and the error names both places."""
    instance = instance_of(instance_data({"imageUuid": "docker:other:2"}, image=image("a/b:1")))
    with pytest.raises(PayloadError, match=r"dockerImage\.fullName names a/b:1.*imageUuid names o"):
        _ = instance.image_reference


@pytest.mark.parametrize("uuid", ["docker:other:2", "other:2"])
def test_image_the_user_wrote_is_the_fallback(uuid):
    """A 3.4: without an image row the user's image is used, without cattle's scheme."""
    instance = instance_of(instance_data({"imageUuid": uuid}, image=None))
    assert str(instance.image_reference) == "other:2"


def test_no_op_flag():
    """A 2.13: the flag of the process says that nothing may be changed."""
    data = instance_data(processData={"containerNoOpEvent": True})
    assert process_of(data).is_no_op
    assert instance_of(data).process.is_no_op
    assert not process_of(instance_data()).is_no_op


@pytest.mark.parametrize(("value", "expected"), [(0, 0), ("0", 0), (7, 7), (None, None)])
def test_stop_timeout_zero_is_kept(value, expected):
    """A 11.1: a timeout of zero is zero, not absent."""
    assert process_of({"processData": {"timeout": value}}).timeout_s == expected


def test_negative_stop_timeout_is_refused():
    """A timeout below zero is refused."""
    with pytest.raises(PayloadError, match=r"processData\.timeout"):
        process_of({"processData": {"timeout": -1}})


@pytest.mark.parametrize("data", [None, [], {}, {"processData": None}])
def test_no_process_is_no_options(data):
    """An event without processData has no options."""
    assert not process_of(data).is_no_op


def test_native_containers_are_known():
    """A 3.14: a container that the user made is marked."""
    assert instance_of(instance_data(nativeContainer=True, externalId="abc")).is_native


@pytest.mark.parametrize("changes", [{"systemContainer": "NetworkAgent"}, {"system": True}])
def test_both_system_flags_count(changes):
    """B.1: old servers name the role, new ones say true."""
    assert instance_of(instance_data(**changes)).is_system
    assert not instance_of(instance_data()).is_system


def test_mac_of_the_lowest_card():
    """A 8.6: the card with the lowest device number gives the MAC, wherever it stands."""
    nics = [nic(deviceNumber=None), nic(deviceNumber=2), nic(deviceNumber=1, macAddress="02:aa")]
    assert instance_of(instance_data(nics=nics)).mac_address == "02:aa"


@pytest.mark.parametrize("nics", [None, [], [nic(macAddress=None)]])
def test_no_mac(nics):
    """A 8.7: no cards or a card without MAC are no error."""
    assert instance_of(instance_data(nics=nics)).mac_address is None


def test_volumes_to_make_first():
    """A 6.10: the volumes that must exist before the container are read as volumes."""
    volume = {"name": "v", "data": {"fields": {"driver": "d", "driverOpts": {"size": 1}}}}
    (read,) = instance_of(
        instance_data(volumesFromDataVolumeMounts=[volume])
    ).volumes_from_data_volume_mounts
    assert read.is_managed
    assert read.driver_opts == {"size": "1"}


def test_labels_of_other_shapes_are_ignored():
    """Where a server keeps rows under `labels`, the instance is still readable."""
    assert instance_of(instance_data(labels=[{"key": "a"}])).label("a") is None
    assert instance_of(instance_data(labels={"a": "b"})).label("a") == "b"


@pytest.mark.parametrize("blank", ["", "  ", None])
def test_a_blank_public_port_is_none(blank):
    """A 6.2: such a port is exposed, and not published."""
    (port,) = instance_of(instance_data(ports=[{"privatePort": 80, "publicPort": blank}])).ports
    assert port.public_port is None


def test_a_random_uuid_of_an_image_is_not_its_name():
    """A 3.4: newer servers give images such uuids; the user's own word counts then."""
    row = {"uuid": "64d21781-295e-40ac-b3db-9f575b9bbe34", "data": {}}
    data = instance_data({"imageUuid": "docker:library/redis:latest"}, image=row)
    assert str(instance_of(data).image_reference) == "redis:latest"
    assert instance_of(instance_data(image=row)).image_reference is None
