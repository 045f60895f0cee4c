"""`cowpoke status` and `cowpoke dead-letters` on a real Redis, also one that others wrote to."""

import json

import pytest
from click.testing import CliRunner
from cryptography.fernet import Fernet

from cowpoke import keys
from cowpoke.cli.main import main
from cowpoke.joined import JoinedAgent, agent_hash, hand_over
from cowpoke.lease import LaneProcess, Lease
from cowpoke.liveness import Leases
from cowpoke.removed import Removal, sealed_removal
from cowpoke.seal import ClusterKeyring

HOST = "h-1"


@pytest.fixture
def queue_key():
    """A QUEUE_KEY of the test's own."""
    return Fernet.generate_key().decode()


@pytest.fixture
def cowpoke(redis_url, queue_key):
    """Call the command with the test's Redis and key."""

    def call(*arguments, **env):
        return CliRunner().invoke(
            main, arguments, env={"REDIS_URL": redis_url, "QUEUE_KEY": queue_key, **env}
        )

    return call


@pytest.fixture
def worker(redis_client, queue_key):
    """A live worker of the host, and some work for it."""
    lanes = (
        LaneProcess(lane="compute", boot_id="w-1.compute.1"),
        LaneProcess(lane="images", boot_id="w-1.images.1", consumes=False),
    )
    lease = Lease(worker_id="w-1", host_uuid=HOST, lanes=lanes, version="0.2.0")
    Leases(redis_client).renew(lease, ClusterKeyring(queue_key).host(HOST))
    redis_client.sadd(keys.HOSTS, HOST)
    redis_client.zadd(keys.SEEN, {"h-2": 1})
    redis_client.lpush(f"host.{HOST}", "message")
    for event_id, state in (("e-1", "queued"), ("e-2", "claimed"), ("e-3", "claimed")):
        redis_client.hset(keys.event(HOST, event_id), "state", state)
        redis_client.zadd(keys.open_events(HOST), {event_id: 1})
    redis_client.xadd(keys.outbox(HOST), {"id": "e-0"})
    redis_client.xadd(keys.OUTCOMES, {"id": "e-0"})
    Leases(redis_client).renew_bridge("b-1")
    redis_client.xgroup_create(keys.OUTCOMES, "bridges", id="0")
    redis_client.xreadgroup("bridges", "b-1", {keys.OUTCOMES: ">"}, count=1)
    return lease


def test_status_of_a_working_installation(cowpoke, worker):
    """Every number, as JSON."""
    ended = cowpoke("status", "--json")
    assert ended.exit_code == 0
    found = json.loads(ended.stdout)
    assert found["problems"] == []
    assert found["bridges"] == [{"bridge_id": "b-1", "alive": True, "outcomes": 1}]
    assert found["outcomes"] == {keys.OUTCOMES: 1, keys.CONTROL_OUTCOMES: 0}
    first, second = found["hosts"]
    assert (first["host_uuid"], second["host_uuid"], second["workers"]) == (HOST, "h-2", [])
    assert first["queues"] == {"compute": 1, "control": 0, "images": 0}
    assert first["open_events"] == {"claimed": 2, "queued": 1}
    assert (first["outbox"], first["dead_letters"]) == (1, 0)
    (live,) = first["workers"]
    assert 0 < live["lease_ms"] <= 5000
    assert [lane["lane"] for lane in live["lease"]["lanes"]] == ["compute", "images"]


def test_status_as_a_table(cowpoke, worker):
    """What people read first."""
    text = cowpoke("status").stdout
    assert "bridges: 1 live" in text
    assert "claimed=2 queued=1" in text
    assert "compute images(waits)" in text


def test_status_of_an_empty_redis(cowpoke):
    """Before the first bridge ran."""
    ended = cowpoke("status")
    assert ended.exit_code == 0
    assert "hosts: 0" in ended.stdout
    assert "joined hosts: 0; no host has joined" in ended.stdout


@pytest.fixture
def joined(redis_client, queue_key):
    """Hosts that joined in all states, by what each is called."""
    keyring = ClusterKeyring(queue_key)

    def removal(host, agent):
        note = Removal(host_uuid=host, agent_hash=agent_hash(agent), since_ms=1_000)
        redis_client.set(keys.removed(host), sealed_removal(keyring.host(host), note))

    for host in ("served", "waits", "removed", "again"):
        agent = JoinedAgent(
            host_uuid=host,
            cattle_url="http://cattle:8080/v1",
            access_key=f"key-{host}",
            secret_key="hush-hush",
            joined_ms=2_000,
        )
        hand_over(redis_client, keyring.host(host), agent)
    redis_client.set(keys.served("served"), agent_hash("key-served"))
    redis_client.set(keys.served("waits"), agent_hash("key-of-another-agent"))
    removal("removed", "key-removed")
    removal("again", "key-that-it-had-before")
    removal("configured", "key-configured")
    redis_client.zadd(keys.SEEN, {"configured": 1})
    redis_client.set(keys.joined("odd"), b"\xff\x1b[2J")
    redis_client.hset(keys.joined("wrong"), "f", "v")
    redis_client.set(keys.removed("waits"), b"\xff")


def test_agents_of_hosts_as_json(cowpoke, joined):
    """Who joined, whom a bridge serves, and whom cattle does not know any more."""
    ended = cowpoke("status", "--json")
    assert ended.exit_code == 0
    assert "hush-hush" not in ended.output
    found = json.loads(ended.stdout)
    agents = {host["host_uuid"]: host["agent"] for host in found["hosts"]}
    assert agents["served"] == {
        "joined": True,
        "access_key": "key-served",
        "cattle_url": "http://cattle:8080/v1",
        "joined_ms": 2_000,
        "served": True,
        "removed_since_ms": None,
    }
    since = {host: one and one["removed_since_ms"] for host, one in agents.items()}
    assert since == {
        "served": None,
        "waits": None,
        "again": None,
        "odd": None,
        "wrong": None,
        "removed": 1_000,
        "configured": 1_000,
    }
    assert [host for host, one in agents.items() if one and one["served"]] == ["served"]
    assert not agents["configured"]["joined"]
    assert agents["wrong"] is None
    assert len(found["problems"]) == 2


def test_agents_of_hosts_as_a_table(cowpoke, joined):
    """What people look for when a host does nothing."""
    text = cowpoke("status").stdout
    assert "joined hosts: 5\n" in text
    assert "removed in Rancher, noticed 1970-01-01T00:00:01Z" in text
    assert "in the settings of a bridge" in text
    assert "unreadable" in text
    assert "\x1b" not in text


def test_a_bad_entry_concerns_only_itself(cowpoke, worker, redis_client):
    """Wrong types, no UTF-8, control characters, a forged lease: each is one line."""
    redis_client.sadd(keys.HOSTS, b"\xff\x1b[2J", "h-3")
    redis_client.set(keys.open_events("h-3"), "a string")
    redis_client.set("host.h-3.images", "a string")
    redis_client.sadd(keys.workers(HOST), "w-forged", "w-dead")
    redis_client.set(keys.lease(HOST, "w-forged"), b"\xff{", px=5000)
    redis_client.set(keys.event(HOST, "e-1"), "a string")
    redis_client.hset(keys.event(HOST, "e-2"), "state", b"\xfe")
    redis_client.delete(keys.OUTCOMES)
    redis_client.set(keys.OUTCOMES, "a string")
    ended = cowpoke("status", "--json")
    assert ended.exit_code == 0
    found = json.loads(ended.stdout)
    assert len(found["problems"]) == 7
    hosts = {host["host_uuid"]: host for host in found["hosts"]}
    assert set(hosts) == {HOST, "h-2", "h-3"}
    assert hosts["h-3"]["queues"] == {"compute": 0, "control": 0, "images": None}
    assert hosts[HOST]["open_events"] == {"claimed": 1, "unreadable": 2}
    assert [one["lease"] is None for one in hosts[HOST]["workers"]] == [False, True]
    text = cowpoke("status").stdout
    assert "unreadable entries: 7" in text
    assert "\x1b" not in text


def test_another_key_shows_no_lease(cowpoke, worker):
    """The worker is there, and what it says cannot be read."""
    text = cowpoke("status", QUEUE_KEY=Fernet.generate_key().decode()).stdout
    assert "sealed with another key" in text


@pytest.mark.parametrize("command", ["status", "dead-letters"])
def test_an_absent_redis_is_one_sentence(cowpoke, command):
    """With nothing of the url's password."""
    ended = cowpoke(command, REDIS_URL="redis://:hush-hush@127.0.0.1:1/0")
    assert ended.exit_code == 1
    assert f"cowpoke {command}: Redis does not answer" in ended.output
    assert "hush-hush" not in ended.output
    assert "Traceback" not in ended.output


def letter(at_ms, content="x"):
    """An entry as a program writes it."""
    return json.dumps(
        {"at_ms": at_ms, "where": "host.h-1", "reason": "no JSON", "content": content}
    )


def test_dead_letters_of_all_hosts_newest_first(cowpoke, redis_client):
    """Those of the bridges among them, and what is no entry of ours."""
    redis_client.sadd(keys.HOSTS, HOST)
    redis_client.lpush(keys.dead_letters(HOST), letter(1_000), letter(3_000))
    redis_client.lpush(keys.BRIDGE_DEAD_LETTERS, letter(2_000), b"\xff\x1b", '{"at_ms": "x"}')
    lines = cowpoke("dead-letters", "--json").stdout.splitlines()
    assert [json.loads(line)["at_ms"] for line in lines] == [3_000, 2_000, 1_000, None, None]
    text = cowpoke("dead-letters").stdout
    assert "1970-01-01T00:00:03Z  h-1  host.h-1  no JSON  x" in text
    assert text.endswith("5 dead letters\n")
    assert "\x1b" not in text


def test_dead_letters_are_cleared_when_told(cowpoke, redis_client):
    """Of one host, or of all; the bridges' list stays when a host is named."""
    redis_client.lpush(keys.dead_letters(HOST), letter(1_000))
    redis_client.lpush(keys.BRIDGE_DEAD_LETTERS, letter(2_000))
    assert cowpoke("dead-letters", HOST, "--clear").stdout.endswith("1 dead letters removed\n")
    assert redis_client.keys("*") == [keys.BRIDGE_DEAD_LETTERS.encode()]
    cowpoke("dead-letters", "--clear")
    assert redis_client.keys("*") == []


def test_secrets_of_the_settings_are_not_shown(cowpoke, redis_client, queue_key):
    """Somebody may have put the key into a message."""
    redis_client.lpush(keys.BRIDGE_DEAD_LETTERS, letter(1_000, f"key {queue_key}"))
    for options in ((), ("--json",)):
        assert queue_key not in cowpoke("dead-letters", *options).stdout
