"""Images, volumes and the requests that name a container directly.

Row numbers (A, W) refer to docs/parity.md.
"""

import re

import pytest

from tests.factories import image, image_data, volume_data
from worker.errors import PayloadError
from worker.payload import (
    RegistryCredential,
    UnreadableCredential,
    force_stop_of,
    image_of,
    inspect_of,
    pull_of,
    volume_of,
)

CREDENTIAL = {
    "publicValue": "someone",
    "secretValue": "hunter2",
    "data": {"fields": {"email": "a@b.example"}},
    "registry": {"data": {"fields": {"serverAddress": "https://docker.io"}}},
}


def test_image_names():
    """A 12.4: name and tag of an image are read as cattle took them apart."""
    docker_image = image_of(image_data()).data.docker_image
    assert (docker_image.qualified_name, docker_image.tag) == ("example/sleep", "1.0")
    assert image_of(image_data()).reference.reference == "example/sleep:1.0"


def test_image_without_a_name_is_refused():
    """An image event that names no image is an error."""
    with pytest.raises(PayloadError, match="must name an image"):
        _ = image_of(image_data(uuid=None, data=None)).reference


def test_any_pool_will_do():
    """A 13.12: the kind of an image's or volume's pool is not checked."""
    data = image_data()
    data["imageStoragePoolMap"]["storagePool"]["kind"] = "convoy"
    assert image_of(data).reference


def test_credential():
    """A 12.5: account and secret; the registry is that of the image's own name."""
    credential = image_of(image_data(registryCredential=CREDENTIAL)).registry_credential
    assert isinstance(credential, RegistryCredential)
    assert credential.public_value == "someone"
    assert credential.secret_value.get_secret_value() == "hunter2"


@pytest.mark.parametrize(
    ("credential", "place"),
    [
        ({**CREDENTIAL, "secretValue": None}, r"registryCredential\.secretValue is missing"),
        ({**CREDENTIAL, "publicValue": None}, r"registryCredential\.publicValue is missing"),
        ({**CREDENTIAL, "secretValue": ["hunter2"]}, r"registryCredential\.secretValue: .* a list"),
        ({**CREDENTIAL, "secretValue": {"x": "hunter2"}}, r"registryCredential\.secretValue: "),
        ("hunter2", "registryCredential must be an object, found a text"),
        (["hunter2"], "registryCredential must be an object, found a list"),
    ],
)
def test_unreadable_credential_does_not_make_its_event_unreadable(credential, place):
    """W 24: only a pull that needs the credential fails, with the field and without the value."""
    read = image_of(image_data(registryCredential=credential))
    assert isinstance(read.registry_credential, UnreadableCredential)
    assert re.search(place, read.registry_credential.reason)
    assert "hunter2" not in f"{read!r} {read.model_dump_json()}"
    assert read.reference.reference == "example/sleep:1.0"


def test_credential_hides_its_secret():
    """A 12.7: a credential can be printed without telling its secret."""
    read = image_of(image_data(registryCredential=CREDENTIAL))
    assert "hunter2" not in repr(read)
    assert "hunter2" not in read.model_dump_json()


def test_no_credential():
    """A 12.6: a null credential means that none is needed."""
    assert image_of(image_data(registryCredential=None)).registry_credential is None


@pytest.mark.parametrize("build", [{"context": "https://x/c.tar"}, {"remote": "https://x/r.git"}])
def test_build(build):
    """A 12.12: a context or a remote makes an image one to build."""
    read = image_of(
        image_data(data={"dockerImage": {"fullName": "a:1"}, "fields": {"build": build}})
    )
    assert read.build is not None


@pytest.mark.parametrize("build", [None, {}, {"tag": "x"}, {"context": ""}])
def test_no_build(build):
    """A 12.12: without both there is nothing to build from."""
    read = image_of(
        image_data(data={"dockerImage": {"fullName": "a:1"}, "fields": {"build": build}})
    )
    assert read.build is None


def test_build_keys_are_an_allow_list():
    """A 12.15: other keys of a build block are not taken over."""
    build = {"remote": "r", "dockerfile": "D", "networkmode": "host"}
    read = image_of(
        image_data(data={"dockerImage": {"fullName": "a:1"}, "fields": {"build": build}})
    )
    assert read.build is not None
    assert set(read.build.model_dump(exclude_none=True)) == {"remote", "dockerfile"}


def test_pull():
    """A 11.12: mode, tag and completion of a pull are read; the mode is `all` by default."""
    pull = pull_of({"instancePull": {"kind": "docker", "image": image(), "tag": "x"}})
    assert (pull.mode, pull.only_if_cached, pull.is_complete, pull.tag) == (
        "all",
        False,
        False,
        "x",
    )


def test_pull_of_cached_images_only():
    """A 11.13, A 11.15: `cached` and `complete` are claims of the pull."""
    pull = pull_of({"instancePull": {"image": image(), "mode": "cached", "complete": True}})
    assert (pull.only_if_cached, pull.is_complete) == (True, True)


@pytest.mark.parametrize(
    ("read", "key"),
    [
        (pull_of, "instancePull"),
        (inspect_of, "instanceInspect"),
        (force_stop_of, "instanceForceStop"),
    ],
)
def test_requests_for_other_kinds_are_refused(read, key):
    """A 1.12: a request for another driver is refused, one without a kind is ours."""
    request = {"id": "abc", "image": image()}
    assert read({key: request})
    with pytest.raises(PayloadError, match="must be 'docker'"):
        read({key: {**request, "kind": "kvm"}})


def test_inspect_by_id_or_name():
    """A 11.11: an inspect may have an id, a name, or both."""
    request = inspect_of({"instanceInspect": {"id": "abc", "name": "web"}})
    assert (request.id, request.name) == ("abc", "web")


def test_force_stop_needs_an_id():
    """A 11.8: there is no forced stop of nothing."""
    with pytest.raises(PayloadError, match=r"instanceForceStop\.id is missing"):
        force_stop_of({"instanceForceStop": {"kind": "docker"}})


def test_requests_tolerate_more_keys():
    """A 1.15: a request with keys of a newer server is read all the same."""
    assert force_stop_of({"instanceForceStop": {"id": "a", "more": 1}, "processData": {}}).id == "a"


@pytest.mark.parametrize(
    ("fields", "name", "expected"),
    [
        ({"driver": "nfs"}, "v", True),
        ({"driver": "nfs"}, None, False),
        ({}, "v", False),
        (None, None, False),
    ],
)
def test_managed_volumes(fields, name, expected):
    """A 13.1: a volume with a driver and a name is ours to make."""
    assert volume_of(volume_data(fields, name=name)).is_managed is expected


def test_driver_options_are_text():
    """A 13.3: options are text for Docker, null is none."""
    data = volume_data({"driver": "d", "driverOpts": {"a": 1, "b": True, "c": None}}, name="v")
    assert volume_of(data).driver_opts == {"a": "1", "b": "true", "c": ""}
    assert volume_of(volume_data({"driver": "d", "driverOpts": None})).driver_opts == {}


def test_root_volumes_and_their_container():
    """A 13.7: a volume with device number 0 is its container's root."""
    volume = volume_of(volume_data(deviceNumber=0, instance={"uuid": "u", "externalId": "x"}))
    assert volume.is_root
    assert volume.instance is not None
    assert (volume.instance.uuid, volume.instance.external_id) == ("u", "x")


def test_volumes_without_path_keys():
    """A 13.11: a volume that says neither uri nor isHostPath is readable."""
    volume = volume_of(volume_data())
    assert (volume.uri, volume.is_host_path) == (None, False)
    assert volume_of(volume_data({"isHostPath": True}, uri="file:///x")).is_host_path


def test_pool_comes_with_the_volume():
    """A 13.12: the pool is known, whatever its kind."""
    data = volume_data()
    data["volumeStoragePoolMap"]["storagePool"]["kind"] = "convoy"
    pool = volume_of(data).storage_pool
    assert pool is not None
    assert pool.kind == "convoy"
