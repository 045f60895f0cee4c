"""Dead letters in a real Redis: bounded, without secrets, readable whatever the list holds."""

import base64
import json

import pytest

from cowpoke import dead_letters, keys

KEY = keys.dead_letters("host-1")
PASSWORD = "hunter2-hunter2"


def add(client, content, reason="it is not JSON"):
    """Put one item aside."""
    return dead_letters.add(client, KEY, where="host.host-1", reason=reason, content=content)


def test_dead_letter_holds_place_reason_and_content(client):
    """Newest first."""
    add(client, b"first")
    add(client, b"\xff second")
    newest, oldest = dead_letters.read(client, KEY)
    assert (newest.where, newest.reason) == ("host.host-1", "it is not JSON")
    assert (newest.content, oldest.content) == ("\\xff second", "first")
    assert newest.at_ms >= oldest.at_ms > 1_700_000_000_000


def test_list_is_bounded_and_expires(client):
    """Whoever floods a queue does not fill Redis with dead letters."""
    for number in range(keys.DEAD_MOST + 20):
        add(client, b"x" * 1_000_000 if number % 50 == 0 else b"x", reason="r" * 10_000)
    assert client.llen(KEY) == keys.DEAD_MOST
    assert 0 < client.pttl(KEY) <= keys.DEAD_TTL_MS
    assert client.memory_usage(KEY) < 500_000
    assert len(dead_letters.read(client, KEY)) == keys.DEAD_MOST


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"password": PASSWORD}),
        json.dumps({"password": PASSWORD})[:-1],
        json.dumps({"data": {"environment": {"A": PASSWORD}}}),
        json.dumps({"a": [{"registryCredential": {"secretValue": PASSWORD}}]}),
        json.dumps({"body": base64.b64encode(PASSWORD.encode()).decode()}),
        json.dumps({"headers": {"argsrepr": f"('{PASSWORD}',)", "kwargsrepr": PASSWORD}}),
        f"docker login --password {PASSWORD} and token={PASSWORD}",
        f"https://user:{PASSWORD}@registry.example.org/v2",
        json.dumps([{"token": PASSWORD, "user": "me"}]),
    ],
)
def test_dead_letter_holds_no_secret(client, content):
    """Neither in clear nor in base64."""
    add(client, content.encode())
    kept = client.lindex(KEY, 0)
    assert PASSWORD not in kept
    assert base64.b64encode(PASSWORD.encode()).decode()[:16] not in kept


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[" * 20_000,
        b'{"a":' * 900 + b"1" + b"}" * 900,
        json.dumps({"password": "\ud800\ud800\ud800"}).encode(),
        json.dumps({"headers": {"headers": {"headers": 1}}}).encode(),
        b"\x00\x1b[31m",
        b"9" * 16_000,
    ],
)
def test_any_content_can_be_put_aside(client, content):
    """It is shown as far as it can be."""
    assert add(client, content)
    assert len(dead_letters.read(client, KEY)) == 1


def test_unreadable_dead_letters_are_shown_as_such(client):
    """The others are read."""
    add(client, b"good")
    for entry in (b"{", b"5", b'{"at_ms": "x"}', b'{"at_ms": 1e999}', b"[" * 5000):
        client.lpush(KEY, entry)
    letters = dead_letters.read(client, KEY)
    assert [letter.reason for letter in letters[:-1]] == ["this is not a dead letter"] * 5
    assert letters[-1].content == "good"


def test_key_of_another_type_holds_up_nothing(client):
    """It is replaced by the list at the next dead letter."""
    client.set(KEY, "x")
    assert dead_letters.read(client, KEY) == []
    assert add(client, b"good")
    assert [letter.content for letter in dead_letters.read(client, KEY)] == ["good"]
