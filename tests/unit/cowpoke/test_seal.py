"""Sealed content: opened with our keys, refused with any other."""

from contextlib import suppress

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from cowpoke.broker import BrokerSettings
from cowpoke.seal import SealBrokenError, Sealer

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
    assert Sealer.of(settings).open(Sealer(keys[0]).seal(CONTENT)) == CONTENT


@given(st.text())
def test_refuses_any_other_text(text):
    """Whatever lies in Redis is opened, or refused with the one error."""
    for sealer in (Sealer(), Sealer(Fernet.generate_key().decode())):
        with suppress(SealBrokenError):
            assert isinstance(sealer.open(text), dict)
