"""How references to images are read, normalized and compared.

Row numbers (A, W) refer to docs/parity.md.
"""

import base64
import json

import pytest

from worker.engine.images import Credential
from worker.errors import PayloadError
from worker.image_reference import ImageReference, Server

NUMBER = "a1" * 32
DIGEST = f"sha256:{NUMBER}"


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("redis", "redis:latest"),
        ("docker:redis:7", "redis:7"),
        ("team/app:1.2", "team/app:1.2"),
        ("localhost:5000/team/app", "localhost:5000/team/app:latest"),
        ("localhost:5000/team/app:1", "localhost:5000/team/app:1"),
        ("localhost/app:1", "localhost/app:1"),
        ("[::1]:5000/app:1", "[::1]:5000/app:1"),
        (f"team/app@{DIGEST}", f"team/app@{DIGEST}"),
        (f"localhost:5000/app:1@{DIGEST}", f"localhost:5000/app@{DIGEST}"),
        (f"r.example/app@sha256:{NUMBER.upper()}", f"r.example/app@{DIGEST}"),
        ("gcr.io/example.com/team/app:1", "gcr.io/example.com/team/app:1"),
    ],
)
def test_reference_is_read_in_its_parts(text, reference):
    """A colon before the last slash is a port; a digest is no tag (A 12.2)."""
    assert ImageReference.parse(text).reference == reference


@pytest.mark.parametrize(
    "text",
    [
        "nginx:1.25",
        "library/nginx:1.25",
        "docker.io/nginx:1.25",
        "docker.io/library/nginx:1.25",
        "index.docker.io/library/nginx:1.25",
        "Index.Docker.IO/nginx:1.25",
        "registry-1.docker.io/library/nginx:1.25",
        "registry-1.docker.io:443/library/nginx:1.25",
        "registry.hub.docker.com/library/nginx:1.25",
    ],
)
def test_names_of_docker_hub_are_short(text):
    """The Engine stores local tags of Docker Hub's images without registry and `library/` (W 1)."""
    read = ImageReference.parse(text)
    assert (read.reference, read.repository) == ("nginx:1.25", "nginx")
    assert read.server_address == "https://index.docker.io/v1/"
    assert read.merged(ImageReference.parse("nginx:1.25")) is not None


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("docker.io/library/team/app:1", "library/team/app:1"),
        ("r.example/library/app:1", "r.example/library/app:1"),
        ("R.Example:5000/app:1", "r.example:5000/app:1"),
    ],
)
def test_only_official_images_of_docker_hub_are_shortened(text, reference):
    """`library/` elsewhere is a part of the repository; a host has no upper case (W 1)."""
    assert ImageReference.parse(text).reference == reference


@pytest.mark.parametrize("text", [DIGEST, NUMBER, f"docker:{DIGEST}", f"index.docker.io/{DIGEST}"])
def test_image_id_stays_an_id(text):
    """A container of a user's may run an image without a name (W 1)."""
    read = ImageReference.parse(text)
    assert (read.reference, read.is_id) == (DIGEST, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "docker:",
        ":1",
        "a b:1",
        "app@x",
        "app@sha256:1",
        "App:1",
        "Team/app:1",
        "team//app:1",
        "team/app:-1",
        "app:" + "1" * 129,
        "http://r.example/app:1",
        "r.example:port/app:1",
    ],
)
def test_text_that_is_no_image_name_is_refused(text):
    """The error quotes the text."""
    with pytest.raises(PayloadError, match="cannot read the"):
        ImageReference.parse(text)


def test_password_in_an_image_name_is_not_quoted():
    """Some people write it before the host."""
    with pytest.raises(PayloadError) as caught:
        ImageReference.parse("somebody:s3cr3t@r.example/app:1")
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("one", "two", "merged"),
    [
        ("app:1", "r.example/app:1", "r.example/app:1"),
        ("r.example/app:1", "app:1", "r.example/app:1"),
        ("R.EXAMPLE/app:1", "r.example/app:1", "r.example/app:1"),
        ("redis", "docker.io/library/redis:latest", "redis:latest"),
        (f"app@{DIGEST}", f"r.example/app@{DIGEST}", f"r.example/app@{DIGEST}"),
        (f"app:1@{DIGEST}", "app:1", f"app@{DIGEST}"),
        (f"app:1@{DIGEST}", f"app@{DIGEST}", f"app@{DIGEST}"),
        (DIGEST, f"docker.io/{DIGEST}", DIGEST),
    ],
)
def test_references_that_agree_are_merged(one, two, merged):
    """A reference without a registry agrees with one that has it, in either order (W 1)."""
    first, second = ImageReference.parse(one), ImageReference.parse(two)
    assert str(first.merged(second)) == str(second.merged(first)) == merged


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("r.example/app:1", "s.example/app:1"),
        ("r.example/app:1", "docker.io/app:1"),
        ("r.example:5000/app:1", "r.example/app:1"),
        ("app:1", "app:2"),
        ("app", "app:2"),
        ("app:1", "other:1"),
        ("r.example/redis:1", "library/redis:1"),
        (f"app@{DIGEST}", f"app@sha256:{'b2' * 32}"),
        (f"app:1@{DIGEST}", f"app:2@{DIGEST}"),
        (f"app@{DIGEST}", "app:1"),
        (DIGEST, "app:1"),
    ],
)
def test_references_that_contradict_are_not_merged(one, two):
    """Another registry, repository, tag or digest is another image (W 1)."""
    first, second = ImageReference.parse(one), ImageReference.parse(two)
    assert first.merged(second) is None
    assert second.merged(first) is None


@pytest.mark.parametrize(
    ("text", "registry", "prefix"),
    [
        ("127.0.0.1:5055", "127.0.0.1:5055", ""),
        ("http://127.0.0.1:5055/", "127.0.0.1:5055", ""),
        ("HTTPS://R.Example/v2/", "r.example", ""),
        ("https://index.docker.io/v1/", "docker.io", ""),
        ("r.example/team", "r.example", "team"),
        ("localhost", "localhost", ""),
    ],
)
def test_server_is_read_with_scheme_and_path(text, registry, prefix):
    """The paths of the registry's API are no part of an image's name (W 1)."""
    assert Server.parse(text) == Server(registry, prefix)


@pytest.mark.parametrize("text", ["registry", "ftp://r.example", "a b", "u:s3cr3t@r.example", "/x"])
def test_server_that_no_image_name_can_have_is_refused(text):
    """The Engine would take such a name for one of Docker Hub's (W 1)."""
    with pytest.raises(PayloadError, match="cannot use the registry address") as caught:
        Server.parse(text)
    assert "s3cr3t" not in str(caught.value)


def test_credential_is_shown_nowhere():
    """Not in its representation, and not in a registry's words that quote it (A 12.6)."""
    credential = Credential(username="u", password="s3cr3t", server_address="https://r")
    assert "s3cr3t" not in repr(credential)
    assert credential.scrub(f"bad s3cr3t {credential.header}") == "bad *** ***"
    said = json.loads(base64.urlsafe_b64decode(credential.header))
    assert said == {"username": "u", "password": "s3cr3t", "serveraddress": "https://r"}
