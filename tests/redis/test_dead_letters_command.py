"""`cowpoke dead-letters` on a real Redis, also one that others wrote to."""

import json

import pytest
from click.testing import CliRunner
from cryptography.fernet import Fernet

from cowpoke import keys
from cowpoke.cli.main import main

HOST = "h-1"


@pytest.fixture
def queue_key():
    """A QUEUE_KEY of the test's own."""
    return Fernet.generate_key().decode()


@pytest.fixture
def cowpoke(redis_url, queue_key):
    """Call `cowpoke dead-letters` with the test's Redis and key."""

    def call(*arguments):
        env = {"REDIS_URL": redis_url, "QUEUE_KEY": queue_key}
        return CliRunner().invoke(main, ("dead-letters", *arguments), env=env)

    return call


def letter(at_ms, content="x"):
    """An entry as a program writes it."""
    return json.dumps(
        {"at_ms": at_ms, "where": "host.h-1", "reason": "no JSON", "content": content}
    )


def listed(cowpoke, *arguments):
    """The letters, as programs read them."""
    return json.loads(cowpoke("list", *arguments, "--json").stdout)


def test_letters_of_all_hosts_are_listed_newest_first(cowpoke, redis_client):
    """Those of the bridges among them, and what is no entry of ours."""
    redis_client.sadd(keys.HOSTS, HOST)
    redis_client.lpush(keys.dead_letters(HOST), letter(1_000), letter(3_000))
    redis_client.lpush(keys.BRIDGE_DEAD_LETTERS, letter(2_000), b"\xff\x1b", '{"at_ms": "x"}')
    found = listed(cowpoke)
    assert [one["at_ms"] for one in found] == [3_000, 2_000, 1_000, None, None]
    text = cowpoke().stdout
    assert f"{found[0]['id']}  1970-01-01T00:00:03Z  h-1        host.h-1" in text
    assert text.endswith("5 dead letters\n")
    assert "\x1b" not in text
    assert len(listed(cowpoke, HOST)) == 2


def test_one_letter_is_shown_whole(cowpoke, redis_client):
    """The list shows its beginning only."""
    redis_client.lpush(keys.BRIDGE_DEAD_LETTERS, letter(2_000, "x" * 1_900))
    (one,) = listed(cowpoke)
    assert "x" * 1_900 not in cowpoke().stdout
    assert "x" * 1_900 in cowpoke("show", one["id"]).stdout
    assert json.loads(cowpoke("show", one["id"], "--json").stdout) == one
    missing = cowpoke("show", "beef")
    assert (missing.exit_code, "no dead letter has the id beef" in missing.output) == (1, True)


def test_letters_are_dropped_only_when_told(cowpoke, redis_client):
    """By id, of one host, or all; without a terminal only with `--yes`."""
    redis_client.sadd(keys.HOSTS, HOST)
    redis_client.lpush(keys.dead_letters(HOST), letter(1_000), letter(2_000), letter(3_000))
    redis_client.lpush(keys.BRIDGE_DEAD_LETTERS, letter(4_000), b"\xff")
    first = listed(cowpoke, HOST)[0]
    refused = cowpoke("drop", first["id"])
    assert (refused.exit_code, "give --yes" in refused.output) == (1, True)
    assert len(listed(cowpoke)) == 5
    assert cowpoke("drop", first["id"], "--yes").stdout == "1 dead letters removed\n"
    assert [one["at_ms"] for one in listed(cowpoke, HOST)] == [2_000, 1_000]
    assert cowpoke("drop", "--host", HOST, "--yes").stdout == "2 dead letters removed\n"
    assert redis_client.llen(keys.BRIDGE_DEAD_LETTERS) == 2
    assert cowpoke("drop", "--all", "--yes").stdout == "2 dead letters removed\n"
    assert redis_client.keys("*") == [keys.HOSTS.encode()]
    assert cowpoke("drop", "--all").stdout == "0 dead letters removed\n"


def test_a_list_of_another_type_is_shown_and_can_be_dropped(cowpoke, redis_client):
    """Nothing of ours is in it."""
    redis_client.set(keys.BRIDGE_DEAD_LETTERS, "a string")
    (one,) = listed(cowpoke)
    assert "WRONGTYPE" in one["reason"]
    cowpoke("drop", one["id"], "--yes")
    assert redis_client.keys("*") == []


@pytest.mark.parametrize("arguments", [(), ("beef", "--all"), ("--all", "--host", "h")], ids=str)
def test_drop_needs_to_know_what(cowpoke, arguments):
    """Exactly one of the ways."""
    assert cowpoke("drop", *arguments, "--yes").exit_code == 2


def test_secrets_of_the_settings_are_not_shown(cowpoke, redis_client, queue_key):
    """Somebody may have put the key into a message."""
    redis_client.lpush(keys.BRIDGE_DEAD_LETTERS, letter(1_000, f"key {queue_key}"))
    (one,) = listed(cowpoke)
    for arguments in ((), ("list", "--json"), ("show", one["id"])):
        assert queue_key not in cowpoke(*arguments).stdout
