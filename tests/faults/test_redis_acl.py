"""The whole system with the least rights in Redis, and what one host can do to another then."""

import contextlib
import json
import threading
import urllib.request

import pytest
import redis

from cowpoke import keys
from simulator import sample
from simulator.rig.loopback_server import free_port
from simulator.rig.processes import Program, wait_until
from tests.faults.acl_cluster import AGENTS, OTHER, OWN, AclCluster
from tests.faults.faulty_system import facts, new_instance, wait_lane
from tests.faults.scripted_engine import Drop, Held, Pull

CREATE = ("POST", "/containers/create")
PULL = ("POST", "/images/create")
LANES = 3


@pytest.fixture(scope="module")
def server():
    """A Redis of the module's own: an endless script concerns all who use it."""
    from simulator.rig.redis_server import RedisServer  # noqa: PLC0415

    # So that a script counts as endless soon.
    with RedisServer(options={"lua-time-limit": "200"}) as started:
        yield started


@pytest.fixture(scope="module")
def cluster(scripted, server, tmp_path_factory):
    """The running cluster; each test leaves its programs running."""
    with server.client() as client:
        if int(client.info("server")["redis_version"].partition(".")[0]) < 7:
            pytest.skip("a Redis before 7.0 has no selectors")
    with AclCluster(scripted, server, tmp_path_factory.mktemp("cluster")) as running:
        assert running.users.refused() == []
        yield running


@pytest.fixture
def nothing_refused(cluster):
    """The test's programs need no right that they do not have: ACL LOG stays empty."""
    cluster.users.refused()
    yield
    assert [shown(entry) for entry in cluster.users.refused()] == []


def shown(entry):
    """What of an entry of ACL LOG says who lacked which right."""
    return {name: entry[name] for name in ("username", "reason", "object", "context")}


@pytest.mark.usefixtures("nothing_refused")
@pytest.mark.parametrize("host", [OWN, OTHER])
def test_main_job_needs_no_more_rights(cluster, host):
    """Start, stop and remove a container; pings are answered all the time."""
    call, instance = cluster.start_container(host)
    cluster.assert_answered_once(call, instance)
    instance = sample.after(instance, call.data)
    for event in (sample.instance_deactivate(instance), sample.instance_remove(instance)):
        assert cluster.ask(event, agent=AGENTS[host]["access_key"]).state == "success"
    pings = cluster.cattle.stats()["pings"]["answered"]
    more = pings + 2 * len(AGENTS)
    wait_until(lambda: cluster.cattle.stats()["pings"]["answered"] > more, 20, "answered pings")


@pytest.mark.usefixtures("nothing_refused")
def test_pull_with_progress_needs_no_more_rights(cluster, scripted):
    """An activate moves to the images lane, and its progress reaches cattle."""
    held = threading.Event()
    lines = [{"status": "Downloading", "id": "1", "progressDetail": {"current": 1, "total": 2}}]
    scripted.script(*PULL, Pull(lines, wait=held))
    instance = new_instance(image="example/pulled:1")
    event_id = cluster.send(sample.instance_activate(instance), agent=AGENTS[OWN]["access_key"])
    wait_until(lambda: cluster.cattle.record(event_id)["progress"], 20, "progress")
    held.set()
    cluster.assert_answered_once(cluster.cattle.wait(event_id, 30), instance)


@pytest.mark.usefixtures("nothing_refused")
@pytest.mark.parametrize("part", ["worker", "lane", "bridge"])
def test_recovery_needs_no_more_rights(cluster, scripted, part):
    """A part dies in the middle of an activate; the event is answered once."""
    held, instance = Held(), new_instance()
    scripted.script(*CREATE, held)
    event_id = cluster.send(sample.instance_activate(instance), agent=AGENTS[OWN]["access_key"])
    held.wait_reached()
    if part == "worker":
        cluster.worker.kill()
        held.let_go()
        cluster.restart_worker()
    elif part == "lane":
        printed = cluster.kill_lane("compute")
        held.let_go()
        wait_lane(cluster.worker, "compute", after_chars=printed)
    else:
        cluster.bridge.kill()
        held.let_go()
        cluster.bridge.start()
    cluster.assert_answered_once(cluster.cattle.wait(event_id, 30), instance)
    cluster.wait_subscribed(len(AGENTS))


@pytest.mark.usefixtures("nothing_refused")
def test_drain_needs_no_more_rights(cluster, scripted):
    """A worker requeues what it cannot finish in its time, and the next one finishes it."""
    held, instance = Held(), new_instance()
    with cluster.start_worker(WORKER_DRAIN_TIMEOUT_S="0.5") as short:
        cluster.wait_lanes(short)
        # Only one worker is left to take the event.
        cluster.worker.terminate()
        scripted.script(*CREATE, held)
        event_id = cluster.send(sample.instance_activate(instance), agent=AGENTS[OWN]["access_key"])
        held.wait_reached()
        short.terminate()
        requeued = [fact["events"] for fact in facts(short, "lane.requeued")]
        assert [event_id] in requeued
    held.let_go()
    cluster.restart_worker()
    cluster.assert_answered_once(cluster.cattle.wait(event_id, 30), instance)


@pytest.mark.usefixtures("nothing_refused")
def test_retry_and_dead_letter_need_no_more_rights(cluster, scripted):
    """The Engine fails once; an item of a queue is no message, and a queue is no list."""
    images = f"host.{OWN}.images"
    cluster.users.admin.lpush(f"host.{OWN}", b"\xff no message")
    cluster.users.admin.set(images, "no list")
    scripted.script(*CREATE, Drop())
    cluster.assert_answered_once(*cluster.start_container())
    dead_letters = keys.dead_letters(OWN)
    wait_until(lambda: cluster.users.admin.llen(dead_letters) == 2, 20, "the dead letters")
    assert not cluster.users.admin.exists(images)
    cluster.users.admin.delete(dead_letters)


@pytest.mark.usefixtures("nothing_refused")
@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("status",), "bridge"),
        (("workers",), "bridge"),
        (("hosts", "list"), "bridge"),
        (("dead-letters",), "bridge"),
        (("health",), "worker"),
        (("janitor",), "worker"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_commands_of_operators_need_no_more_rights(cluster, arguments, part):
    """Each with the settings of the program beside which it is run."""
    program = cluster.bridge if part == "bridge" else cluster.worker
    with Program("cowpoke", *arguments, environment=program.environment) as command:
        assert command.wait() == 0, command.output()
        assert "NOPERM" not in command.output()


@pytest.mark.usefixtures("nothing_refused")
def test_celery_inspect_sees_every_lane(cluster):
    """With Flower's user; the lanes answer with the users of their hosts."""
    arguments = ("-A", "worker.app", "inspect", "active_queues", "--json", "--timeout=20")
    environment = {"REDIS_URL": cluster.users.flower_url()}
    with Program("celery", *arguments, environment=environment) as command:
        assert command.wait(60) == 0, command.output()
        answers = json.loads(command.output().splitlines()[0])
    queues = {queue["name"] for found in answers.values() for queue in found}
    assert queues == {queue for host in AGENTS for queue in keys.queues(host)}


@pytest.mark.usefixtures("nothing_refused")
def test_flower_shows_every_lane_and_the_tasks(cluster):
    """Flower itself, with its user and no key."""
    port = free_port()
    arguments = ("-A", "worker.app", "flower", "--address=127.0.0.1", f"--port={port}")
    environment = {"REDIS_URL": cluster.users.flower_url(), "FLOWER_UNAUTHENTICATED_API": "true"}

    def asked(path):
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{port}{path}"
            with urllib.request.urlopen(url, timeout=20) as answer:
                return json.load(answer)
        return {}

    with Program("celery", *arguments, environment=environment):
        wanted = LANES * len(AGENTS)
        wait_until(lambda: len(asked("/api/workers?refresh=1")) >= wanted, 60, "all lanes")
        call, _ = cluster.start_container(OTHER)
        wait_until(lambda: call.id in asked("/api/tasks"), 30, "the task in Flower")


#: On a key of another host or of the bridges. {} is the key, {own} a key of the attacker's host.
READ = (
    *("GET {}", "MGET {own} {}", "HGETALL {}", "HGET {} payload", "LRANGE {} 0 -1", "LLEN {}"),
    *(
        "SMEMBERS {}",
        "ZRANGE {} 0 -1",
        "ZSCORE {} x",
        "XRANGE {} - +",
        "XLEN {}",
        "XREAD STREAMS {} 0",
    ),
    *("EXISTS {}", "TYPE {}", "PTTL {}", "DUMP {}", "GETRANGE {} 0 9", "OBJECT ENCODING {}"),
    *("XINFO STREAM {}", "XPENDING {} bridges", "COPY {} {own}", "SORT {}", "WATCH {}"),
    "XREAD STREAMS {} 0",
)
#: What the attacker may read, beside the signs of life of bridges.
READABLE = (keys.host_keys(OWN), keys.removed(OWN), keys.served(OWN))
FORGE = (
    *("SET {} forged", "SETNX {} forged", "APPEND {} forged", "HSET {} state queued", "INCR {}"),
    *("HSETNX {} f forged", "HINCRBY {} deaths 9", "LPUSH {} forged", "RPUSH {} forged"),
    *("SADD {} forged", "ZADD {} 1 forged", "XADD {} * outcome forged", "LSET {} 0 forged"),
    *("RENAME {own} {}", "COPY {own} {} REPLACE", "LMOVE {own} {} LEFT LEFT", "RPOPLPUSH {own} {}"),
    *("RESTORE {} 0 x", "SINTERSTORE {} {own}", "ZRANGESTORE {} {own} 0 -1", "SETRANGE {} 0 x"),
)
DELETE = (
    *("DEL {}", "UNLINK {}", "GETDEL {}", "HDEL {} payload", "LPOP {}", "RPOP {}", "LREM {} 0 x"),
    *("SREM {} x", "SPOP {}", "ZREM {} x", "ZPOPMIN {}", "XDEL {} 0-1", "RENAME {} {own}"),
    *("PEXPIRE {} 1", "EXPIRE {} 1", "EXPIREAT {} 1", "GETEX {} PX 1", "MOVE {} 1"),
)
TRIM = ("LTRIM {} 1 0", "XTRIM {} MAXLEN 0", "XADD {} MAXLEN 0 * f v", "ZREMRANGEBYRANK {} 0 -1")
HOLD_UP = (
    *("BRPOP {} 0.01", "BLPOP {} 0.01", "BLMOVE {} {own} LEFT LEFT 0.01", "PERSIST {}"),
    *("XGROUP CREATE {} forged 0 MKSTREAM", "XGROUP DESTROY {} bridges", "XACK {} bridges 0-1"),
    *("XREADGROUP GROUP bridges thief STREAMS {} >", "XCLAIM {} bridges thief 0 0-1"),
    "XAUTOCLAIM {} bridges thief 0 0",
)
#: Without a key.
SERVER = (
    *("KEYS *", "SCAN 0", "RANDOMKEY", "DBSIZE", "MONITOR", "FLUSHALL", "FLUSHDB", "SWAPDB 0 1"),
    *("CONFIG GET *", "CONFIG SET maxmemory 1", "ACL LIST", "ACL SETUSER x", "ACL LOG", "SAVE"),
    *("CLIENT LIST", "CLIENT KILL TYPE normal", "CLIENT PAUSE 1", "CLIENT TRACKING ON BCAST"),
    *("SCRIPT FLUSH", "SCRIPT KILL", "FUNCTION FLUSH", "SHUTDOWN NOSAVE", "REPLICAOF NO ONE"),
    *("BGREWRITEAOF", "MIGRATE h 1 k 0 1", "MODULE LIST", "SLOWLOG GET"),
    *("PUBLISH /0.celery.pidbox shutdown", f"PUBLISH {keys.doorbell(OTHER)} outbox"),
    *(f"SUBSCRIBE {keys.doorbell(OTHER)}", "SUBSCRIBE /0.celeryev/task.#", "PSUBSCRIBE *"),
    *("PUBSUB CHANNELS", "SPUBLISH x y"),
)
SCRIPTS = (
    "return redis.call('GET', KEYS[1])",
    "return redis.call('DEL', KEYS[1])",
    "return redis.call('LPUSH', KEYS[1], 'forged')",
    # The key is hidden from the check that Redis does before the script.
    "return redis.call('DEL', ARGV[1])",
    "return redis.call('XADD', ARGV[1], 'MAXLEN', 0, '*', 'f', 'v')",
)


@pytest.fixture
def attacker(cluster):
    """A client of the host `OWN`; what it is refused is no lack of ours."""
    with cluster.users.host_client() as client:
        yield client
    cluster.users.refused()


@pytest.fixture
def at_work(cluster, scripted):
    """The other host, in the middle of an activate that a second one waits for; ended and checked.

    So the ledger has entries, a FIFO and a queue of it. Whatever the test does, both are answered.
    """
    held, instance = Held(), new_instance()
    scripted.script(*CREATE, held)
    agent = AGENTS[OTHER]["access_key"]
    started = cluster.send(sample.instance_activate(instance), agent=agent)
    held.wait_reached()
    waiting = cluster.send(sample.instance_deactivate(instance), agent=agent)
    wait_until(
        lambda: cluster.users.admin.exists(keys.event(OTHER, waiting)), 20, "the second event"
    )
    yield
    held.let_go()
    for event_id in (started, waiting):
        call = cluster.cattle.wait(event_id, 30)
        assert (call.state, call.duplicates) == ("success", [])


def attempts(templates, targets):
    """Each command on each key."""
    return [
        [word.format(target, own=f"host.{OWN}") for word in template.split(" ")]
        for target in targets
        for template in templates
    ]


def foreign_keys(cluster):
    """All keys in Redis that are not of the attacker's host, and some that may come."""
    found = {key.decode() for key in cluster.users.admin.scan_iter()}
    found |= {*keys.queues(OTHER), keys.dead_letters(OTHER), keys.started(OTHER), keys.DUE}
    found |= {keys.outbox(OTHER), keys.wake(OTHER, "1"), *keys.OUTCOME_STREAMS, keys.posting("e")}
    found |= {keys.BRIDGE_DEAD_LETTERS, keys.served(OTHER), keys.agent("x"), keys.SEEN, keys.ALIVE}
    found |= {keys.joined(OTHER), keys.removed(OTHER), keys.container_events(OTHER)}
    found |= {keys.reporting(OWN), keys.reporting(OTHER)}
    return sorted(key for key in found if not is_own(key))


def is_own(key):
    """Whether a key belongs to the attacker's host: its name ends with the host, or goes on."""
    kinds = (
        *("event", "open", "fifo", "outbox", "lease", "workers", "started", "dead", "wake"),
        *("joined", "container-events"),
    )
    names = [f"cowpoke:{kind}:{OWN}" for kind in kinds] + [f"host.{OWN}"]
    return any(key == name or key.startswith((f"{name}:", f"{name}.")) for name in names)


def is_readable(key):
    """Whether the attacker may read a key that is not of its host."""
    return key in READABLE or key.startswith(keys.BRIDGE_PREFIX)


def is_refused(client, words):
    """Whether the server refuses a command for want of a right."""
    try:
        client.execute_command(*words)
    except redis.exceptions.NoPermissionError:
        return True
    except redis.ResponseError as error:
        # A command inside a script.
        return "can't access at least one of the keys" in str(error)
    return False


@pytest.mark.usefixtures("at_work")
@pytest.mark.parametrize(
    "commands",
    [READ, FORGE, DELETE, TRIM, HOLD_UP],
    ids=["read", "forge", "delete", "trim", "hold-up"],
)
def test_host_is_refused_the_keys_of_others(cluster, attacker, commands):
    """NOPERM for each command on each key of the other host and of the bridges."""
    targets = [k for k in foreign_keys(cluster) if commands is not READ or not is_readable(k)]
    assert len(targets) > 20
    tried = attempts(commands, targets)
    assert [words for words in tried if not is_refused(attacker, words)] == []


@pytest.mark.usefixtures("at_work")
def test_host_is_refused_the_keys_of_others_in_scripts(cluster, attacker):
    """A script has the rights of its caller, also for keys that it does not declare."""
    allowed = [
        (script, key)
        for key in foreign_keys(cluster)
        if not is_readable(key)
        for script in SCRIPTS
        for numbered in (["1", key] if "KEYS" in script else ["0", key],)
        if not is_refused(attacker, ["EVAL", script, *numbered])
    ]
    assert allowed == []


@pytest.mark.usefixtures("at_work")
def test_host_only_reads_the_notes_and_signs_of_life_of_bridges(cluster, attacker):
    """Nothing that writes is allowed on them."""
    bridges = [key.decode() for key in cluster.users.admin.scan_iter(f"{keys.BRIDGE_PREFIX}*")]
    assert bridges
    readable = [*READABLE, *bridges]
    tried = attempts((*FORGE, *DELETE, *TRIM, *HOLD_UP), readable)
    assert [words for words in tried if not is_refused(attacker, words)] == []
    assert attacker.hgetall(keys.host_keys(OWN))


@pytest.mark.usefixtures("at_work")
def test_host_is_refused_the_server_and_the_channels_of_others(attacker):
    """It administers nothing, lists nothing, and commands no worker."""
    tried = [command.split(" ") for command in SERVER]
    assert [words for words in tried if not is_refused(attacker, words)] == []


def test_what_no_acl_prevents_is_over_when_an_operator_ends_it(cluster, attacker):
    """docs/security.md: an endless script holds up all; after SCRIPT KILL all goes on."""
    loop = threading.Thread(target=is_refused, args=(attacker, ["EVAL", "while true do end", "0"]))
    loop.start()
    event = sample.instance_activate(new_instance())
    event_id = cluster.send(event, agent=AGENTS[OTHER]["access_key"])

    def killed():
        with contextlib.suppress(redis.RedisError):
            return cluster.users.admin.script_kill()

    wait_until(killed, 20, "the end of the script")
    loop.join(20)
    assert cluster.cattle.wait(event_id, 60).state == "success"


def test_what_hosts_share_does_no_harm(cluster, attacker):
    """docs/security.md: false Celery events and false answers reach Flower, and nobody else."""
    assert attacker.publish("/0.celeryev/worker.offline", "forged") is not None
    assert attacker.lpush("0f0f0f0f-1111-2222-3333-444444444444.reply.celery.pidbox", "forged") == 1
    with attacker.pubsub() as listening:
        listening.psubscribe("/0.celery.pidbox")
        assert listening.get_message(timeout=5)["type"] == "psubscribe"
        for host in AGENTS:
            call, _ = cluster.start_container(host)
            assert call.state == "success"
