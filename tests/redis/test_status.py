"""`cowpoke status`, `workers` and `hosts list|show|forget` on a real Redis."""

import json

import pytest
from click.testing import CliRunner
from cryptography.fernet import Fernet

from cowpoke import keys
from cowpoke.bridge_lease import WebsocketState
from cowpoke.broker import BrokerSettings, connect
from cowpoke.cli.main import main
from cowpoke.joined import JoinedAgent, agent_hash, hand_over
from cowpoke.removed import Removal, sealed_removal
from cowpoke.seal import ClusterKeyring
from tests.redis.overviews import BRIDGE, ERROR, HOST, PULLS, WORKER, Installation


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
def installation(redis_url, redis_client, queue_key):
    """One bridge, one host with one worker."""
    with connect(BrokerSettings.model_validate({"REDIS_URL": redis_url})) as client:
        yield Installation(client, ClusterKeyring(queue_key)).begin()


def test_status_of_a_healthy_installation_exits_with_0(cowpoke, installation):
    """On one screen, and as JSON."""
    installation.bridge(errors=(ERROR,))
    installation.event("e-1", "claimed")
    ended = cowpoke("status")
    assert ended.exit_code == 0, ended.output
    assert ended.stdout.startswith("nothing needs a person\n")
    for part in (
        "server        http://cattle:8080/v1",
        "b-1 on hub-1, 0.2.0, up 60 s",
        "websockets    1 open",
        "hosts         1, 1 with a worker",
        "h-1   web-1  1        compute 1, control 1, images 1  28.5    open",
        "stream.closed  agent-1: cut  3",
    ):
        assert part in ended.stdout, ended.stdout
    assert len(ended.stdout.splitlines()) < 30
    found = json.loads(cowpoke("status", "--json").stdout)
    assert found["needs_person"] is False
    assert found["bridges"][0]["websockets"][0]["state"] == "open"
    assert found["hosts"][0]["workers"][0]["lease"]["hostname"] == "web-1"
    assert found["hosts"][0]["open_states"] == {"claimed": 1}


def test_status_exits_with_1_and_says_what_to_do(cowpoke, installation):
    """When something needs a person."""
    installation.leases.give_up(HOST, WORKER)
    ended = cowpoke("status")
    assert ended.exit_code == 1
    assert ended.stdout.startswith("1 problem needs a person\n")
    assert "host-without-worker" in ended.stdout
    assert "cowpoke hosts forget" in ended.stdout
    ended = cowpoke("status", "--json")
    assert ended.exit_code == 1
    (found, *_) = json.loads(ended.stdout)["problems"]
    assert (found["code"], found["subject"]) == ("host-without-worker", HOST)


def test_hosts_with_problems_are_shown_first(cowpoke, installation):
    """One screen has no room for a thousand hosts."""
    installation.client.zadd(keys.SEEN, {f"a-{number:02}": 1 for number in range(40)})
    installation.client.lpush(keys.dead_letters("z-1"), "{}")
    installation.client.sadd(keys.HOSTS, "z-1")
    shown = cowpoke("status").stdout
    assert "... and 22 more: cowpoke hosts list" in shown
    assert "\nz-1 " in shown
    assert len(cowpoke("hosts", "list").stdout.splitlines()) == 43


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
            hostname=f"{host}.example.org",
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


def test_a_joined_host_without_a_worker_keeps_its_name(cowpoke, installation, joined):
    """Whoever is to start the worker must know where; a worker that lives knows better."""
    agent = JoinedAgent(
        host_uuid=HOST,
        cattle_url="http://cattle:8080/v1",
        access_key="key",
        secret_key="hush-hush",
        hostname="name-before.example.org",
    )
    hand_over(installation.client, installation.keyring.host(HOST), agent)
    names = {
        host["host_uuid"]: host["hostname"]
        for host in json.loads(cowpoke("hosts", "list", "--json").stdout)
    }
    assert names["served"] == "served.example.org"
    assert names[HOST] == "web-1"
    assert "served.example.org" in cowpoke("status").stdout


def test_agents_of_hosts_are_in_the_json(cowpoke, joined):
    """Who joined, whom a bridge serves, and whom cattle does not know any more."""
    ended = cowpoke("hosts", "list", "--json")
    assert ended.exit_code == 0
    assert "hush-hush" not in ended.output
    agents = {host["host_uuid"]: host["agent"] for host in json.loads(ended.stdout)}
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


def test_agents_of_hosts_are_in_the_tables(cowpoke, joined):
    """What people look for when a host does nothing."""
    text = cowpoke("hosts", "list").stdout
    assert text.count("removed in Rancher") == 2
    assert text.count("not served") == 4
    assert "\x1b" not in text
    shown = cowpoke("hosts", "show", "removed").stdout
    assert "in Rancher, noticed 1970-01-01T00:00:01Z" in shown


def test_one_host_is_shown_with_all_parts(cowpoke, installation):
    """By uuid, by the beginning of it, or by name."""
    installation.figures(PULLS)
    installation.event("e-1", age_ms=2_000)
    for name in (HOST, "h-", "web-1"):
        text = cowpoke("hosts", "show", name).stdout
        for part in (
            *("name          web-1", "28.5", "API 1.51", "e-1 ping, queued", "compute  1"),
            *("b-1     agent-1  open", "pull          1      0       2.0 s"),
            "pulls: 1, 0 failed, 3.0 MiB downloaded",
        ):
            assert part in text, text
    found = json.loads(cowpoke("hosts", "show", HOST, "--json").stdout)
    assert (found["host"]["host_uuid"], found["problems"]) == (HOST, [])


def test_a_host_must_be_named_clearly(cowpoke, installation):
    """Nothing is guessed."""
    installation.client.sadd(keys.HOSTS, "h-2")
    for name, said in (("h-", "2 hosts fit h-: h-1, h-2"), ("x", "no host has the uuid")):
        ended = cowpoke("hosts", "show", name)
        assert (ended.exit_code, said in ended.output) == (1, True)


def test_workers_are_listed_with_their_calls(cowpoke, installation):
    """And as JSON."""
    installation.figures(PULLS)
    text = cowpoke("workers").stdout
    assert f"{WORKER}     {HOST}   web-1" in text
    assert "compute, control, images" in text
    (found,) = json.loads(cowpoke("workers", "--json").stdout)
    assert (found["worker_id"], found["host_uuid"]) == (WORKER, HOST)
    assert found["figures"]["images"]["calls"]["pull"]["count"] == 1


def test_an_empty_name_is_no_host(cowpoke, installation):
    """Such as that of a variable which a script did not set, where there is one host only."""
    ended = cowpoke("hosts", "forget", "", "--force", "--yes")
    assert (ended.exit_code, "no host has" in ended.output) == (1, True)
    assert installation.client.exists(keys.workers(HOST))


def test_a_host_in_use_is_not_forgotten(cowpoke, installation):
    """Its workers live, or its events are open."""
    ended = cowpoke("hosts", "forget", HOST, "--yes")
    assert (ended.exit_code, "1 of its workers live" in ended.output) == (1, True)
    installation.leases.give_up(HOST, WORKER)
    installation.event("e-1")
    ended = cowpoke("hosts", "forget", HOST, "--yes")
    assert (ended.exit_code, "1 of its events are open" in ended.output) == (1, True)
    assert installation.client.exists(keys.event(HOST, "e-1"))


def test_a_host_that_is_gone_leaves_nothing_behind(cowpoke, installation, redis_client):
    """Every kind of key of it, and no key of others; `--force` does it with open events too."""
    client = installation.client
    installation.leases.give_up(HOST, WORKER)
    installation.event("e-1")
    client.rpush(keys.fifo(HOST, "instance:1"), "e-1")
    client.zadd(keys.DUE, {keys.member(HOST, "e-1"): 1, keys.member("h-10", "e-1"): 1})
    client.zadd(keys.ALIVE, {keys.member(HOST, WORKER): 1, keys.member("h-10", "w"): 1})
    agent = JoinedAgent(
        host_uuid=HOST, cattle_url="http://cattle/v1", access_key="ak", secret_key="sk"
    )
    hand_over(client, installation.keyring.host(HOST), agent)
    client.hset(keys.figures(HOST, "w-0"), "compute", "x")
    client.lpush(keys.dead_letters(HOST), "{}")
    client.set(keys.event("h-10", "e-1"), "of another host")
    client.sadd(keys.HOSTS, "h-10")
    client.zadd(keys.SEEN, {"h-10": 1})
    asked = cowpoke("hosts", "forget", HOST, "--force")
    assert (asked.exit_code, "give --yes" in asked.output) == (1, True)
    ended = cowpoke("hosts", "forget", HOST, "--force", "--yes")
    assert (ended.exit_code, f"forgot host {HOST}" in ended.output) == (0, True), ended.output
    left = {name.decode() for name in redis_client.keys("*")}
    assert left == {
        *(keys.bridge(BRIDGE), keys.websockets(BRIDGE), keys.event("h-10", "e-1")),
        *(keys.HOSTS, keys.SEEN, keys.DUE, keys.ALIVE),
    }
    assert client.smembers(keys.HOSTS) == {"h-10"}
    assert client.zrange(keys.SEEN, 0, -1) == ["h-10"]
    assert client.zrange(keys.DUE, 0, -1) == ["h-10 e-1"]
    assert client.zrange(keys.ALIVE, 0, -1) == ["h-10 w"]


def test_another_key_shows_no_lease(cowpoke, installation):
    """The worker is there, and what it says cannot be read."""
    other = Fernet.generate_key().decode()
    assert "sealed with another key" in cowpoke("workers", QUEUE_KEY=other).stdout
    ended = cowpoke("status", QUEUE_KEY=other)
    assert (ended.exit_code, "keys-differ" in ended.stdout) == (1, True)


def test_text_of_others_cannot_move_the_cursor(cowpoke, installation):
    """A worker chooses its name, and whoever writes to Redis the names of hosts."""
    installation.lease(hostname="web-1")
    installation.websocket(WebsocketState.CONNECTING, reason="\x1b[2Jcut\n")
    installation.client.sadd(keys.HOSTS, b"\xff\x1b[2J")
    for arguments in (("status",), ("hosts", "list"), ("hosts", "show", HOST), ("workers",)):
        assert "\x1b" not in cowpoke(*arguments).stdout
    assert cowpoke("status", "--json").stdout.isascii()


@pytest.mark.parametrize(
    "command",
    [("status",), ("workers",), ("dead-letters",), ("hosts", "list"), ("hosts", "show", "x")],
    ids=" ".join,
)
def test_an_absent_redis_is_one_sentence(cowpoke, command):
    """With nothing of the url's password."""
    ended = cowpoke(*command, REDIS_URL="redis://:hush-hush@127.0.0.1:1/0")
    assert ended.exit_code == 1
    assert f"cowpoke {' '.join(command[:2]).removesuffix(' x')}" in ended.output
    assert "Redis does not answer" in ended.output
    assert "hush-hush" not in ended.output
    assert "Traceback" not in ended.output


def test_an_absent_redis_is_a_problem_in_the_json(cowpoke):
    """For programs that read only standard output."""
    ended = cowpoke("status", "--json", REDIS_URL="redis://127.0.0.1:1/0")
    assert ended.exit_code == 1
    # The sentence that follows goes to standard error, which this runner does not separate.
    found, _ = json.JSONDecoder().raw_decode(ended.stdout)
    assert (found["needs_person"], found["problems"][0]["code"]) == (True, "redis-down")
