"""The one image that the places of an event name, in the forms of servers of all versions.

Row numbers (A, W) refer to docs/parity.md.
"""

import pytest

from tests.factories import instance_data
from worker.errors import PayloadError
from worker.payload import image_of, instance_of, pull_of

NUMBER = "a1" * 32
REGISTRY = "127.0.0.1:5055"


def image(docker_image=None, *, uuid="64d21781-295e-40ac-b3db-9f575b9bbe34", name=None):
    """An image row."""
    return {"uuid": uuid, "name": name, "data": {"dockerImage": docker_image or {}}}


def resolved(row):
    """The reference that an image event with this row asks for."""
    data = {"imageStoragePoolMap": {"image": row, "storagePool": {"kind": "docker"}}}
    return image_of(data).reference.reference


@pytest.mark.parametrize(
    ("row", "reference"),
    [
        # Since 2016: the registry is in `server` only.
        (image({"fullName": "foo:1", "server": REGISTRY}), f"{REGISTRY}/foo:1"),
        (image({"fullName": "foo:1", "server": REGISTRY}, name=f"{REGISTRY}/foo:1"),
         f"{REGISTRY}/foo:1"),
        (image({"fullName": "foo:1", "server": f"http://{REGISTRY}/v2/"}), f"{REGISTRY}/foo:1"),
        (image({"fullName": "foo", "server": "R.Example"}), "r.example/foo:latest"),
        (image({"fullName": "foo", "tag": "1", "server": REGISTRY}), f"{REGISTRY}/foo:1"),
        (image({"fullName": "team/app:1", "server": "index.docker.io"},
               name="index.docker.io/team/app:1"), "team/app:1"),
        (image({"fullName": "library/redis", "server": "docker.io"}), "redis:latest"),
        (image({"fullName": "app:1", "server": "r.example/team"}, name="r.example/team/app:1"),
         "r.example/team/app:1"),
        (image({"fullName": f"app@sha256:{NUMBER}", "server": REGISTRY}),
         f"{REGISTRY}/app@sha256:{NUMBER}"),
        (image({"fullName": f"sha256:{NUMBER}", "server": "index.docker.io"},
               name=f"index.docker.io/sha256:{NUMBER}"), f"sha256:{NUMBER}"),
        # Before: the registry is part of the names.
        (image({"fullName": f"{REGISTRY}/foo:1"}), f"{REGISTRY}/foo:1"),
        (image({"fullName": f"{REGISTRY}/foo:1", "qualifiedName": f"{REGISTRY}/foo", "tag": "1",
                "repository": "foo", "server": REGISTRY}, uuid=f"docker:{REGISTRY}/foo:1"),
         f"{REGISTRY}/foo:1"),
        (image({"qualifiedName": f"{REGISTRY}/foo", "tag": "1"}), f"{REGISTRY}/foo:1"),
        (image({"namespace": "team", "repository": "foo", "tag": "1", "server": REGISTRY}),
         f"{REGISTRY}/team/foo:1"),
        (image({"fullName": f"foo@sha256:{NUMBER}", "qualifiedName": "foo@sha256", "tag": NUMBER}),
         f"foo@sha256:{NUMBER}"),
        (image({"fullName": "a/b/c:1", "server": "a"}), "a/b/c:1"),
        # Only one of the other places.
        (image(uuid="docker:foo:1"), "foo:1"),
        (image(name=f"{REGISTRY}/foo:1"), f"{REGISTRY}/foo:1"),
        # One place without the registry that the other has.
        (image({"fullName": "foo:1"}, name=f"{REGISTRY}/foo:1"), f"{REGISTRY}/foo:1"),
        (image({"fullName": "foo:1", "server": REGISTRY}, uuid="docker:foo:1"),
         f"{REGISTRY}/foo:1"),
        # Blank places, and a title that is no image name.
        (image({"fullName": "foo:1", "server": " ", "tag": "", "qualifiedName": ""}, name=""),
         "foo:1"),
        (image({"fullName": "foo:1"}, name="The Foo"), "foo:1"),
        # A repository that begins like a registry, as another place confirms.
        (image({"fullName": "example.com/p/app:1", "server": "gcr.io"},
               name="gcr.io/example.com/p/app:1"), "gcr.io/example.com/p/app:1"),
        (image({"fullName": "docker.io/library/redis:7", "server": REGISTRY},
               uuid=f"docker:{REGISTRY}/docker.io/library/redis:7"),
         f"{REGISTRY}/docker.io/library/redis:7"),
    ],
)  # fmt: skip
def test_image_is_resolved_from_every_place(row, reference):
    """W 1, A 3.4, A 12.4: each server version writes the name elsewhere."""
    assert resolved(row) == reference


@pytest.mark.parametrize(
    ("row", "places"),
    [
        (image({"fullName": "s.example/foo:1", "server": REGISTRY}), ("fullName", "server")),
        (image({"fullName": "s.example/foo:1", "server": "index.docker.io"}),
         ("fullName", "server")),
        (image({"fullName": "foo:1", "server": REGISTRY}, name="s.example/foo:1"),
         ("server", "image.name")),
        (image({"fullName": "foo:1", "server": REGISTRY}, uuid="docker:docker.io/foo:1"),
         ("server", "image.uuid")),
        (image({"fullName": "foo:1", "server": REGISTRY}, uuid="docker:foo:2"),
         ("server", "image.uuid")),
        (image({"fullName": "foo:1"}, uuid="docker:foo"), ("fullName", "image.uuid")),
        (image({"fullName": "foo:1"}, name="bar:1"), ("fullName", "image.name")),
        (image({"fullName": "foo:1", "tag": "2"}), ("fullName", "tag")),
        (image({"fullName": "foo:1", "qualifiedName": "bar", "tag": "1"}),
         ("fullName", "qualifiedName")),
        (image({"fullName": f"foo@sha256:{NUMBER}"}, uuid=f"docker:foo@sha256:{'b' * 64}"),
         ("fullName", "image.uuid")),
    ],
)  # fmt: skip
def test_places_that_contradict_are_an_error_with_both(row, places):
    """W 1: another registry, repository, tag or digest is an error reply and never a guess."""
    with pytest.raises(PayloadError, match="two places of the event name different") as caught:
        resolved(row)
    assert all(f"{place} names" in str(caught.value) for place in places)


@pytest.mark.parametrize("server", ["registry", "ftp://r.example", "r example"])
def test_server_that_cannot_be_part_of_a_name_is_an_error_with_its_place(server):
    """W 1: as a name's first word it would mean an account of Docker Hub's."""
    with pytest.raises(PayloadError, match=r"image\.data\.dockerImage\.server: cannot use"):
        resolved(image({"fullName": "foo:1", "server": server}))


@pytest.mark.parametrize(
    ("row", "image_uuid", "reference"),
    [
        (image({"fullName": "foo:1", "server": REGISTRY}, name=f"{REGISTRY}/foo:1"),
         f"docker:{REGISTRY}/foo:1", f"{REGISTRY}/foo:1"),
        (image({"fullName": "foo:1", "server": REGISTRY}), "docker:foo:1", f"{REGISTRY}/foo:1"),
        (image({"fullName": "foo:1"}), f"docker:{REGISTRY}/foo:1", f"{REGISTRY}/foo:1"),
        (image({"fullName": "nginx", "server": "index.docker.io"}), "docker:library/nginx",
         "nginx:latest"),
        (image({"fullName": "example.com/app:1", "server": "gcr.io"}),
         "docker:gcr.io/example.com/app:1", "gcr.io/example.com/app:1"),
        (None, f"docker:{REGISTRY}/foo", f"{REGISTRY}/foo:latest"),
    ],
)  # fmt: skip
def test_instance_agrees_with_the_users_own_word(row, image_uuid, reference):
    """W 1, A 3.4: `imageUuid` is one more place of an activate."""
    instance = instance_of(instance_data({"imageUuid": image_uuid}, image=row))
    assert str(instance.image_reference) == reference


def test_instance_with_another_registry_than_the_users_is_refused():
    """W 1: a local `foo:1` never stands in for the image of a private registry."""
    row = image({"fullName": "foo:1", "server": REGISTRY})
    instance = instance_of(instance_data({"imageUuid": "docker:docker.io/foo:1"}, image=row))
    with pytest.raises(PayloadError, match=r"dockerImage\.server.*data\.fields\.imageUuid"):
        _ = instance.image_reference


def test_pull_task_has_the_registry_in_server_only():
    """W 1: `resourcePull` has nothing but `dockerImage`."""
    request = {"image": {"data": {"dockerImage": {"fullName": "bar:1", "server": REGISTRY}}}}
    pull = pull_of({"instancePull": {**request, "kind": "docker", "tag": "pull-569"}})
    assert str(pull.image.reference) == f"{REGISTRY}/bar:1"
