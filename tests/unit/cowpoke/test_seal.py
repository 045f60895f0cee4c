"""Sealed content: opened with our keys, refused with any other."""

from contextlib import suppress

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from cowpoke.broker import BrokerSettings
from cowpoke.seal import (
    NO_KEY,
    ClusterKeyring,
    HostKeyring,
    SealBrokenError,
    Sealer,
    derived_key,
    fingerprint,
    host_key,
)

CONTENT = {"password": "hunter2", "list": [1, None, {"a": "ü\ud800"}]}


@pytest.fixture
def keys():
    """Three keys."""
    return [Fernet.generate_key().decode() for _ in range(3)]


def test_opens_what_it_sealed(keys):
    """What was sealed comes out as it was."""
    sealer = Sealer(keys[0])
    assert sealer.open(sealer.seal(CONTENT)) == CONTENT


def test_hides_what_it_sealed(keys):
    """Nothing of the content can be read in sealed text."""
    assert "hunter2" not in Sealer(keys[0]).seal(CONTENT)


def test_reads_and_writes_plain_json_without_a_key():
    """Without a key the text is the content's JSON."""
    sealer = Sealer()
    assert (sealer.seal({"a": 1}), sealer.open('{"a":1}')) == ('{"a":1}', {"a": 1})


def test_refuses_content_of_another_key(keys):
    """A forger's key opens nothing."""
    with pytest.raises(SealBrokenError):
        Sealer(keys[0]).open(Sealer(keys[1]).seal(CONTENT))


def test_refuses_plain_content_when_it_has_a_key(keys):
    """Unsealed content is as good as forged."""
    with pytest.raises(SealBrokenError):
        Sealer(keys[0]).open(Sealer().seal(CONTENT))


def test_refuses_sealed_content_without_a_key(keys):
    """A program that lacks the key says so."""
    with pytest.raises(SealBrokenError):
        Sealer().open(Sealer(keys[0]).seal(CONTENT))


def test_opens_with_an_older_key_while_keys_are_changed(keys):
    """The first key seals, all of them open."""
    old, new = Sealer(keys[0]), Sealer(keys[1], keys[0])
    assert (new.open(old.seal(CONTENT)), new.open(new.seal(CONTENT))) == (CONTENT, CONTENT)
    with pytest.raises(SealBrokenError):
        old.open(new.seal(CONTENT))


def test_takes_the_keys_from_the_settings(keys):
    """QUEUE_KEY holds the keys with commas between, blanks around them or not."""
    settings = BrokerSettings.model_validate({"QUEUE_KEY": f"{keys[1]} , {keys[0]}"})
    old = ClusterKeyring(keys[0]).host("h").seal(CONTENT)
    assert settings.cluster_keyring().host("h").open(old) == CONTENT
    assert settings.cluster_keyring().fingerprints == (fingerprint(keys[1]), fingerprint(keys[0]))


@given(st.text())
def test_refuses_any_other_text(text):
    """Whatever lies in Redis is opened, or refused with the one error."""
    for sealer in (Sealer(), Sealer(Fernet.generate_key().decode())):
        with suppress(SealBrokenError):
            assert isinstance(sealer.open(text), dict)


#: A cluster key, and what contract version 1 makes of it. Another release must make the same.
CLUSTER_KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@pytest.mark.parametrize(
    ("purpose", "derived"),
    [
        ("bridge", "t_dBkZfAYMUC5vzeP69FfMPh2k6FlKBo4oLL58FPdTk="),
        ("host/0e1c", "fgW9w0J7DN9ypnVyVwFdQqjoMhM5P-fMc_vw_pfvMLQ="),
    ],
)
def test_derived_keys_are_those_of_version_1(purpose, derived):
    """A host's key is given to the host once; every release must make the same of QUEUE_KEY."""
    assert derived_key(CLUSTER_KEY, purpose) == derived


def test_host_key_opens_what_is_for_its_host_only(keys):
    """Whoever steals it reads and forges nothing of another host, and nothing of the bridges."""
    cluster = ClusterKeyring(keys[0])
    thief = HostKeyring(host_key(keys[0], "host-1")).host("host-1")
    assert thief.open(cluster.host("host-1").seal(CONTENT)) == CONTENT
    assert cluster.host("host-1").open(thief.seal(CONTENT)) == CONTENT
    for others in (cluster.host("host-2"), cluster.bridge):
        with pytest.raises(SealBrokenError):
            thief.open(others.seal(CONTENT))
        with pytest.raises(SealBrokenError):
            others.open(thief.seal(CONTENT))


def test_no_host_has_the_key_of_the_bridges(keys):
    """Also not one whose uuid is chosen for it."""
    made = {host_key(keys[0], uuid) for uuid in ("bridge", "", "../bridge", "host/bridge")}
    assert derived_key(keys[0], "bridge") not in made
    assert len(made) == 4


def test_fingerprint_names_a_key_without_telling_it(keys):
    """Logs and metrics show it."""
    shown = fingerprint(keys[0])
    assert shown != fingerprint(keys[1])
    assert shown not in keys[0]
    assert keys[0][:8] not in shown
    assert (Sealer().fingerprints, ClusterKeyring().fingerprints) == ((NO_KEY,), (NO_KEY,))


def test_seals_with_the_first_key_that_others_have(keys):
    """While keys are changed a worker with `new,old` seals with what every bridge opens."""
    both, old = Sealer(keys[1], keys[0]), Sealer(keys[0])
    careful = both.sealing_with(old.fingerprints)
    assert old.open(careful.seal(CONTENT)) == CONTENT
    assert careful.open(both.seal(CONTENT)) == CONTENT
    assert both.sealing_with(both.fingerprints) is both
    assert both.sealing_with(["of somebody else"]) is both


def test_without_a_key_nothing_is_sealed_for_anybody():
    """Bridge and workers without keys understand each other."""
    assert ClusterKeyring().host("h").open(HostKeyring().host("h").seal(CONTENT)) == CONTENT
