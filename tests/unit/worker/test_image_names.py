"""How images' names and pulls' progress lines are read."""

import base64
import json

import pytest

from worker.engine.images import Credential, ImageName
from worker.engine.layers import Layers
from worker.errors import PayloadError

DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("redis", "redis:latest"),
        ("docker:redis:7", "redis:7"),
        ("team/app:1.2", "team/app:1.2"),
        ("localhost:5000/team/app", "localhost:5000/team/app:latest"),
        ("localhost:5000/team/app:1", "localhost:5000/team/app:1"),
        (f"team/app@{DIGEST}", f"team/app@{DIGEST}"),
        (f"localhost:5000/app:1@{DIGEST}", f"localhost:5000/app@{DIGEST}"),
    ],
)
def test_a_name_is_taken_apart(text, reference):
    """A colon before the last slash is a port; a digest is no tag (A 12.2)."""
    assert ImageName.parse(text).reference == reference


@pytest.mark.parametrize("text", ["", "docker:", ":1", "a b:1", "app@x", "app@sha256:1"])
def test_a_text_that_is_no_name_is_refused(text):
    """The error quotes what was found."""
    with pytest.raises(PayloadError, match="wanted an image's"):
        ImageName.parse(text)


def test_a_credential_shows_nowhere():
    """Not in its representation, and not in a registry's words that quote it (A 12.6)."""
    credential = Credential(username="u", password="s3cr3t", server_address="https://r")
    assert "s3cr3t" not in repr(credential)
    assert credential.scrub(f"bad s3cr3t {credential.header}") == "bad *** ***"
    said = json.loads(base64.urlsafe_b64decode(credential.header))
    assert said == {"username": "u", "password": "s3cr3t", "serveraddress": "https://r"}


def line(layer, status, current=0, total=0):
    """A progress line of the Engine's."""
    return {
        "id": layer,
        "status": status,
        "progressDetail": {"current": current, "total": total} if total else {},
    }


def test_percent_is_the_layers_mean_and_never_falls():
    """Downloads are seven tenths of a layer; a layer seen late takes nothing back (A 12.8)."""
    layers = Layers()
    layers.read({"status": "Pulling from team/app", "id": "latest"})
    assert layers.percent is None
    layers.read(line("a", "Downloading", 50, 100))
    assert (layers.text, layers.percent) == ("Downloading", 35)
    layers.read(line("b", "Pulling fs layer"))
    assert layers.percent == 35
    layers.read(line("a", "Pull complete"))
    layers.read(line("b", "Already exists"))
    assert layers.percent == 100


def test_only_what_is_new_counts_as_progress():
    """The same line again is a standstill (C 21)."""
    layers = Layers()
    assert layers.read(line("a", "Downloading", 5, 100))
    assert not layers.read(line("a", "Downloading", 5, 100))
    assert layers.read(line("a", "Downloading", 6, 100))
    assert not layers.read({"no": "status"})
    assert not layers.read({"status": None, "progressDetail": None})


@pytest.mark.parametrize("detail", [None, [], "x", {"current": "x"}, {"current": 5, "total": None}])
def test_odd_details_do_no_harm(detail):
    """A stream is the Engine's; nothing in it may stop a pull."""
    layers = Layers()
    assert layers.read({"id": "a", "status": "Downloading", "progressDetail": detail})
    assert layers.percent == 0
