"""The note of a host that joined: who opens it, and what is refused."""

import dataclasses

import pytest
from cryptography.fernet import Fernet

from cowpoke.envelopes import UnknownVersionError
from cowpoke.joined import NOTE_CHARS, JoinedAgent, opened_note, sealed_note
from cowpoke.seal import ClusterKeyring, HostKeyring, SealBrokenError, host_key
from cowpoke.urls import api_url

KEY = Fernet.generate_key().decode()
HOST = "host-1"
SEALER = ClusterKeyring(KEY).host(HOST)
AGENT = JoinedAgent(
    host_uuid=HOST,
    cattle_url="http://cattle:8080/v1",
    access_key="ak",
    secret_key="s3cret",
    joined_ms=5,
    hostname="web-1.example.org",
)
CONTENT = SEALER.open(sealed_note(SEALER, AGENT))


def test_a_bridge_opens_what_a_host_sealed_with_its_own_key():
    """The host has no other key than HOST_KEY."""
    text = sealed_note(HostKeyring(host_key(KEY, HOST)).host(HOST), AGENT)
    assert opened_note(SEALER, text, host_uuid=HOST) == AGENT
    assert "s3cret" not in text


@pytest.mark.parametrize(
    ("found", "shown"), [(None, ""), (7, ""), ("web-1", "web-1"), ("w" * 300, "w" * 255)]
)
def test_a_strange_name_of_the_machine_does_no_harm(found, shown):
    """Earlier releases write none, and it is only for people."""
    text = SEALER.seal({**CONTENT, "hostname": found})
    assert opened_note(SEALER, text, host_uuid=HOST).hostname == shown


def test_the_secret_is_in_no_representation():
    """It would end in a log or a traceback."""
    assert "s3cret" not in repr(AGENT)


def test_the_note_of_another_host_is_refused():
    """Neither moved to another key, nor written by another host for this one."""
    text = sealed_note(SEALER, AGENT)
    with pytest.raises(SealBrokenError):
        opened_note(ClusterKeyring(KEY).host("host-2"), text, host_uuid="host-2")
    with pytest.raises(SealBrokenError, match="another host"):
        opened_note(SEALER, text, host_uuid="host-2")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "lease"}, "no note"),
        ({"v": None}, "version"),
        ({"access_key": None}, "incomplete"),
        ({"access_key": ""}, "access_key"),
        ({"access_key": "a:b"}, "colon"),
        ({"access_key": "a\r\nX: 1"}, "access_key"),
        ({"secret_key": "ä"}, "secret_key"),
        ({"secret_key": ["s"]}, "incomplete"),
        ({"secret_key": "s" * 257}, "secret_key"),
        ({"url": "ftp://cattle/v1"}, "http"),
        ({"url": f"http://cattle/{'v' * 1000}"}, "too long"),
        ({"joined_ms": "soon"}, "incomplete"),
        ({"joined_ms": 10**30}, "incomplete"),
    ],
)
def test_what_is_no_note_of_ours_is_refused(change, says):
    """The host's own key sealed it, but a host may be anybody's."""
    text = SEALER.seal({**CONTENT, **change})
    with pytest.raises(SealBrokenError, match=says) as caught:
        opened_note(SEALER, text, host_uuid=HOST)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "null", "{}", "x" * 100, "gAAAA" + "x" * NOTE_CHARS])
def test_rubbish_is_refused(text):
    """Whoever writes to Redis writes it."""
    with pytest.raises(SealBrokenError):
        opened_note(SEALER, text, host_uuid=HOST)


def test_a_note_of_a_later_version_is_left_to_a_later_bridge():
    """It may mean something else there."""
    with pytest.raises(UnknownVersionError):
        opened_note(SEALER, SEALER.seal({**CONTENT, "v": 99}), host_uuid=HOST)


def test_unknown_fields_are_skipped():
    """A later release of the same version may add some."""
    assert opened_note(SEALER, SEALER.seal({**CONTENT, "more": 1}), host_uuid=HOST) == AGENT


def test_keys_that_nobody_would_accept_are_not_sealed():
    """The command that joins says so, not a bridge on another machine."""
    with pytest.raises(ValueError, match="secret_key"):
        sealed_note(SEALER, dataclasses.replace(AGENT, secret_key=""))
    with pytest.raises(ValueError, match="http"):
        sealed_note(SEALER, dataclasses.replace(AGENT, cattle_url="cattle:8080/v1"))


@pytest.mark.parametrize(
    ("url", "spelled"),
    [
        ("http://cattle:8080/v1", "http://cattle:8080/v1"),
        (" HTTP://Cattle:8080/v1/schemas/ ", "http://cattle:8080/v1"),
        ("https://Rancher.example.com:443/v1/", "https://rancher.example.com/v1"),
        ("http://10.0.0.1:80/v1", "http://10.0.0.1/v1"),
        ("http://[FD00::1]:8080/v1", "http://[fd00::1]:8080/v1"),
        ("http://cattle.:8080/V1", "http://cattle:8080/V1"),
    ],
)
def test_one_cattle_has_one_spelling(url, spelled):
    """A bridge compares the url of a note with its own."""
    assert api_url(url) == spelled
    assert api_url(spelled) == spelled


@pytest.mark.parametrize(
    "url",
    [
        *("", "cattle", "ftp://cattle/v1", "http://", "http://u:p@cattle/v1", "http://u@cattle/v1"),
        *("http://cattle/v1?x=1", "http://cattle/v1#x", "http://cattle:99999/v1", "http://c/\x00"),
        "http://[::1/v1",
    ],
)
def test_what_is_no_url_of_cattle_is_refused(url):
    """The message shows nothing of it: it may hold a password."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- also urlsplit's own
        api_url(url)
    assert "u:p" not in str(caught.value)
