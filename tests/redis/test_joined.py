"""Hosts hand the keys of their agents over to the bridges, whatever else lies in Redis."""

import pytest

from cowpoke import keys
from cowpoke.joined import (
    JOINED,
    NOTE_CHARS,
    JoinedAgent,
    JoinedNotes,
    hand_over,
    handed_over,
    opened_note,
    sealed_note,
    take_back,
)
from tests.ledgers import HOST

AGENT = JoinedAgent(
    host_uuid=HOST, cattle_url="http://cattle:8080/v1", access_key="ak", secret_key="sk"
)


@pytest.fixture
def sealer(keyring):
    """The one of the host."""
    return keyring.host(HOST)


@pytest.fixture
def notes(client):
    """What a bridge reads."""
    return JoinedNotes(client)


def test_keys_are_handed_over_and_taken_back(client, sealer, notes):
    """Both are announced on the doorbell of the host."""
    with client.pubsub() as listener:
        listener.subscribe(keys.doorbell(HOST))
        assert listener.get_message(timeout=5)["type"] == "subscribe"
        hand_over(client, sealer, AGENT)
        assert listener.get_message(timeout=5)["data"] == JOINED
        assert handed_over(client, sealer, HOST) == AGENT
        (text,) = notes.read({HOST, "host-2"}).values()
        assert opened_note(sealer, text, host_uuid=HOST) == AGENT
        assert client.pttl(keys.joined(HOST)) == -1
        take_back(client, HOST)
        assert listener.get_message(timeout=5)["data"] == JOINED
    assert notes.read({HOST}) == {}
    assert handed_over(client, sealer, HOST) is None


@pytest.mark.parametrize("kind", ["hash", "text", "bytes", "other key"])
def test_rubbish_in_the_key_counts_as_not_handed_over(client, keyring, sealer, notes, kind):
    """The host hands its keys over anew, and that works."""
    key = keys.joined(HOST)
    match kind:
        case "hash":
            client.hset(key, "f", "v")
        case "text":
            client.set(key, "rubbish")
        case "bytes":
            client.set(key, b"\xff\xfe")
        case _:
            client.set(key, sealed_note(keyring.host("host-2"), AGENT))
    assert handed_over(client, sealer, HOST) is None
    assert set(notes.read({HOST, "host-2"})) == (set() if kind == "hash" else {HOST})
    hand_over(client, sealer, AGENT)
    assert handed_over(client, sealer, HOST) == AGENT


def test_a_huge_value_costs_a_bridge_little(client, notes):
    """Only its beginning is read."""
    client.set(keys.joined(HOST), "x" * 1_000_000)
    assert len(notes.read({HOST})[HOST]) == NOTE_CHARS + 1


def test_hosts_with_a_note_are_found(client, sealer, notes):
    """Also when no worker of them lives; what is no host is not."""
    hand_over(client, sealer, AGENT)
    client.set(f"{keys.JOINED_PREFIX}*[", "x")
    assert notes.hosts() == {HOST}


def test_many_notes_are_read_in_parts(client, sealer, notes):
    """More than one call takes."""
    hosts = [f"h{n}" for n in range(JoinedNotes.AT_ONCE + 5)]
    client.mset({keys.joined(host): "x" for host in hosts})
    assert set(notes.read(set(hosts))) == set(hosts)
