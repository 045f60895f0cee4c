"""The Redis ACL rules on a real server: what each user may do, and what is refused."""

import pytest
import redis

from bridge.container_events.streams import ContainerEventStreams
from bridge.hosts.forgetting import forget_gone
from bridge.hosts.presence import Presence
from cowpoke import keys
from cowpoke.acl import bridge_rules, flower_rules, host_rules
from cowpoke.clock import Clock
from cowpoke.events import Event
from cowpoke.forgetting import forget_host
from cowpoke.host_keys import check_keys, leave_notes
from cowpoke.joined import JoinedAgent, JoinedNotes, hand_over, handed_over, take_back
from cowpoke.lease import LaneProcess, Lease
from cowpoke.ledger.due import BridgeSweeper
from cowpoke.ledger.execution import WorkerLedger
from cowpoke.ledger.intake import Arrival, IntakeLedger
from cowpoke.ledger.outbox import Outboxes
from cowpoke.ledger.recovery import Sweeper
from cowpoke.ledger.states import Accepted, Verdict
from cowpoke.liveness import Leases
from cowpoke.outcomes import progress, success
from cowpoke.overview import read_overview
from cowpoke.routes import Lane, queue_for
from cowpoke.seal import ClusterKeyring
from worker.container_events.writing import ContainerEventWriter

OWN, OTHER = "h.1", "h.10"
READS = ("EXISTS {}", "GET {}", "HGETALL {}", "LINDEX {} 0", "SMEMBERS {}", "ZRANGE {} 0 -1")
WRITES = (
    *("SET {} forged", "HSET {} f forged", "LPUSH {} forged", "SADD {} forged", "ZADD {} 1 forged"),
    *("PEXPIRE {} 1", "XADD {} * f forged"),
)
DELETIONS = (
    *("DEL {}", "HDEL {} f", "LREM {} 0 x", "LPOP {}", "SREM {} x", "ZREM {} x"),
    *("LTRIM {} 1 0", "XADD {} MAXLEN 0 * f v", "BRPOP {} 0.1"),
)


def keys_of(host):
    """One key of each kind that belongs to a host."""
    return [
        *(keys.event(host, "e-1"), keys.open_events(host), keys.fifo(host, "instance:1")),
        *(keys.outbox(host), keys.lease(host, "w-1"), keys.workers(host), keys.started(host)),
        *(keys.dead_letters(host), keys.wake(host, "1"), keys.joined(host)),
        *(keys.container_events(host), keys.figures(host, "w-1")),
        *(queue_for(host, lane) for lane in Lane),
    ]


BRIDGE_KEYS = [
    *(*keys.OUTCOME_STREAMS, keys.DUE, keys.HOSTS, keys.ALIVE, keys.SEEN, keys.BRIDGE_DEAD_LETTERS),
    *(keys.agent("a"), keys.served(OTHER), keys.posting("e-1"), keys.reporting(OWN)),
    keys.websockets("b-1"),
    "_kombu.binding_deadlines",
]


@pytest.fixture
def as_user(redis_server, redis_client):
    """Clients of users with the rules of each part: `as_user(rules)`; ACL LOG begins empty."""
    if int(redis_client.info("server")["redis_version"].partition(".")[0]) < 7:
        pytest.skip("a Redis before 7.0 has no selectors")
    redis_client.execute_command("ACL", "LOG", "RESET")
    clients = {}

    def make(rules):
        if rules.user not in clients:
            redis_client.execute_command("ACL", "SETUSER", rules.user, ">pw", *rules.words())
            url = redis_server.url.replace("redis://", f"redis://{rules.user}:pw@")
            clients[rules.user] = redis.Redis.from_url(url, decode_responses=True)
        return clients[rules.user]

    yield make
    for user, client in clients.items():
        client.close()
        redis_client.execute_command("ACL", "DELUSER", user)


@pytest.fixture
def host(as_user):
    """The user of the host `OWN`."""
    return as_user(host_rules(OWN))


def refused(client, command):
    """Whether the server refuses a command for want of a right."""
    try:
        client.execute_command(*command.split(" "))
    except redis.exceptions.NoPermissionError:
        return True
    except redis.ResponseError as error:
        return "can't access at least one of the keys" in str(error)  # a script's command
    return False


def test_a_host_may_use_its_own_keys(host, redis_client):
    """Every command a worker or kombu sends, on each key of its host."""
    denied = [
        command.format(key)
        for key in keys_of(OWN)
        for command in (*READS, *WRITES, *DELETIONS)
        if refused(host, command.format(key)) or redis_client.delete(key) > 1
    ]
    assert denied == []


@pytest.mark.parametrize("commands", [READS, WRITES, DELETIONS], ids=["read", "write", "delete"])
def test_a_host_is_refused_the_keys_of_another_host_and_of_the_bridges(host, commands):
    """Neither by a command nor by a script that names the key or hides it."""
    allowed = [
        command.format(key)
        for key in (*keys_of(OTHER), *BRIDGE_KEYS)
        for command in commands
        if not refused(host, command.format(key))
    ]
    assert allowed == []


@pytest.mark.parametrize("key", [keys.event(OTHER, "e-1"), keys.OUTCOMES, f"host.{OTHER}"])
def test_a_script_reaches_no_further_than_its_caller(host, key):
    """Redis checks the rights of the caller inside a script too."""
    for script, numbered in (
        ("return redis.call('DEL',KEYS[1])", f"1 {key}"),
        ("return redis.call('DEL',ARGV[1])", f"0 {key}"),
        ("return redis.call('GET',ARGV[1])", f"0 {key}"),
    ):
        name = host.script_load(script)
        assert refused(host, f"EVALSHA {name} {numbered}")


def test_a_host_only_reads_what_bridges_say_of_themselves(host, redis_client):
    """The leases of bridges and the notes about their keys are read-only for a host."""
    redis_client.hset(keys.host_keys(OWN), "b-1", "note")
    redis_client.set(keys.bridge("b-1"), 1)
    assert host.hgetall(keys.host_keys(OWN)) == {"b-1": "note"}
    assert host.mget([keys.bridge("b-1")]) == ["1"]
    assert host.get(keys.removed(OWN)) is None
    assert host.get(keys.served(OWN)) is None
    for command in (
        *(f"DEL {keys.bridge('b-1')}", f"SET {keys.bridge('b-2')} 1"),
        *(f"SET {keys.removed(OWN)} 1", f"GET {keys.removed(OTHER)}"),
        *(f"SET {keys.served(OWN)} 1", f"GET {keys.served(OTHER)}"),
    ):
        assert refused(host, command)
    assert refused(host, f"HSET {keys.host_keys(OWN)} b-2 forged")
    assert refused(host, f"HGETALL {keys.host_keys(OTHER)}")


def test_a_host_hears_remote_control_and_gives_none(host):
    """PUBLISH to the channel of commands would reach every host."""
    assert not refused(host, f"PUBLISH {keys.doorbell(OWN)} outbox")
    assert refused(host, f"PUBLISH {keys.doorbell(OTHER)} outbox")
    assert not refused(host, "PUBLISH /0.celeryev/worker.heartbeat x")
    assert refused(host, "PUBLISH /0.celery.pidbox shutdown")
    assert refused(host, "PUBLISH /0.reply.celery.pidbox x")
    assert refused(host, "PSUBSCRIBE /0.celeryev/*")
    assert refused(host, "PSUBSCRIBE *")
    assert refused(host, f"SUBSCRIBE {keys.doorbell(OWN)}")
    with host.pubsub() as pubsub:
        pubsub.psubscribe("/0.celery.pidbox")
        assert pubsub.get_message(timeout=5)["type"] == "psubscribe"


def test_a_host_answers_inspection_and_reads_no_answer(host):
    """The queue of an answer is named by whoever asked."""
    queue = "0f0f0f0f-1111-2222-3333-444444444444.reply.celery.pidbox"
    assert not refused(host, f"LPUSH {queue} pong")
    assert refused(host, f"BRPOP {queue} 0.1")
    assert not refused(host, f"PEXPIRE {queue} 60000")
    for table in ("celery.pidbox", "reply.celery.pidbox"):
        assert refused(host, f"SADD _kombu.binding.{table} x")


@pytest.mark.parametrize("part", ["bridge", "host", "flower"])
def test_nobody_may_administer_the_server(as_user, part):
    """Nor see what others do, nor list or empty what is stored."""
    rules = {"bridge": bridge_rules, "host": lambda: host_rules(OWN), "flower": flower_rules}[
        part
    ]()
    client = as_user(rules)
    allowed = [
        command
        for command in (
            *("FLUSHALL", "FLUSHDB", "KEYS *", "RANDOMKEY", "CONFIG GET *", "MONITOR"),
            *(
                "CLIENT LIST",
                "CLIENT KILL TYPE normal",
                "CLIENT PAUSE 1",
                "SCRIPT FLUSH",
                "ACL LIST",
            ),
            *("ACL WHOAMI", "SHUTDOWN NOSAVE", "REPLICAOF NO ONE", "SAVE", "BGSAVE"),
            *("SWAPDB 0 1", "MODULE LIST", "SLOWLOG GET", "PUBSUB CHANNELS", "FUNCTION LIST"),
            *(
                "RENAME a b",
                "COPY a b",
                "MIGRATE h 1 k 0 1",
                "DUMP a",
                "SORT a",
                "OBJECT ENCODING a",
            ),
        )
        if not refused(client, command)
    ]
    assert allowed == []
    assert refused(client, "SCAN 0") == (part != "bridge")


def test_flower_asks_workers_and_changes_no_work(as_user, redis_client):
    """It sees how long the queues are, and nothing of the ledger."""
    flower = as_user(flower_rules())
    redis_client.lpush(f"host.{OWN}", "message")
    assert flower.llen(f"host.{OWN}") == 1
    assert not refused(flower, "PUBLISH /0.celery.pidbox ping")
    with flower.pubsub() as pubsub:
        pubsub.psubscribe("/0.celeryev/*")
        assert pubsub.get_message(timeout=5)["type"] == "psubscribe"
    for command in (*WRITES, *DELETIONS):
        assert refused(flower, command.format(f"host.{OWN}"))
    for key in (*BRIDGE_KEYS[:-1], *keys_of(OWN)[: -len(Lane)]):
        assert refused(flower, f"EXISTS {key}")


def test_a_bridge_uses_all_that_is_ours_and_nothing_else(as_user):
    """A shared Redis may hold other people's keys."""
    bridge = as_user(bridge_rules())
    for key in (*BRIDGE_KEYS[:-1], *keys_of(OWN)):
        assert not refused(bridge, f"DEL {key}")
    for key in ("other", "celery", "unacked", "_kombu.binding.celery.pidbox"):
        assert refused(bridge, f"EXISTS {key}")
    assert refused(bridge, "PUBLISH /0.celery.pidbox shutdown")
    with bridge.pubsub() as pubsub:
        pubsub.psubscribe(f"{keys.DOORBELL_PREFIX}*")
        assert pubsub.get_message(timeout=5)["type"] == "psubscribe"


def test_a_whole_event_needs_no_more_rights(as_user, redis_client):
    """From its receipt to its outcome, with the leases and notes around it: ACL LOG stays empty."""
    bridge, host = as_user(bridge_rules()), as_user(host_rules(OWN))
    keyring = ClusterKeyring()
    sealer = keyring.host(OWN)
    Leases(bridge).renew_bridge("b-1")
    leave_notes(bridge, "b-1", {OWN: sealer})
    assert check_keys(host, OWN, sealer).mismatch is None
    lane = LaneProcess(lane=Lane.COMPUTE, boot_id="w-1.compute.1")
    leases = Leases(host)
    leases.renew(Lease(worker_id="w-1", host_uuid=OWN, lanes=(lane,)), sealer)
    assert leases.prolong(OWN, "w-1")
    assert list(leases.of_host(OWN, sealer)) == ["w-1"]
    presence = Presence(bridge, keyring)
    presence.read_all()
    presence.expire()
    assert presence.alive() == {OWN}

    worker = WorkerLedger(host, sealer, Clock(host), host_uuid=OWN, boot_id="w-1.compute.1")
    for event_id in ("e-1", "e-2"):
        accept(bridge, keyring, event_id)
    for event_id in ("e-1", "e-2"):
        assert worker.claim(event_id).verdict is Verdict.CLAIMED
        assert worker.reject(event_id, delay_ms=1)
        assert worker.claim(event_id).verdict is Verdict.CLAIMED
        assert worker.requeue(event_id)
        assert worker.claim(event_id).verdict is Verdict.CLAIMED
        assert worker.progress(event_id, progress("half", 50))
        if event_id == "e-1":
            assert worker.complete(event_id, success({}))
    Sweeper(host, keyring, Clock(host)).sweep_host(OWN)
    leases.give_up(OWN, "w-1")
    sweeper = BridgeSweeper(bridge, keyring, Clock(bridge))
    sweeper.sweep_host(OWN)
    sweeper.sweep_due()
    outboxes = Outboxes(bridge)
    assert outboxes.filled() == [OWN]
    assert not outboxes.collect(OWN)
    assert bridge.xlen(keys.OUTCOMES) == 3
    presence.read_all()
    joined = JoinedAgent(
        host_uuid=OWN, cattle_url="http://cattle/v1", access_key="ak", secret_key="sk"
    )
    hand_over(host, sealer, joined)
    assert handed_over(host, sealer, OWN) == joined
    notes = JoinedNotes(bridge)
    assert (notes.hosts(), set(notes.read([OWN]))) == ({OWN}, {OWN})
    redis_client.delete(keys.joined(OWN))
    redis_client.hset(keys.joined(OWN), "f", "v")
    assert notes.read([OWN]) == {}
    hand_over(host, sealer, joined)
    take_back(host, OWN)
    assert [one.host_uuid for one in read_overview(bridge, keyring).hosts] == [OWN]
    assert redis_client.acl_log() == []


def test_forgetting_a_host_needs_no_more_rights(as_user, redis_client):
    """By a bridge after a month, and by a person at once."""
    bridge = as_user(bridge_rules())
    for forget in (
        lambda: forget_gone(bridge, Presence(bridge, ClusterKeyring())),
        lambda: forget_host(bridge, OWN),
    ):
        redis_client.zadd(keys.SEEN, {OWN: 1})
        redis_client.lpush(f"host.{OWN}", "message")
        forget()
        assert redis_client.keys("*") == []
    assert redis_client.acl_log() == []


def test_container_events_need_no_more_rights(as_user, redis_client):
    """From the worker to the bridge that reports them; also what lies in their place is removed."""
    bridge, host = as_user(bridge_rules()), as_user(host_rules(OWN))
    writer, streams = ContainerEventWriter(host, OWN), ContainerEventStreams(bridge, "b-1")
    redis_client.set(keys.container_events(OWN), "no stream")
    redis_client.zadd(keys.SEEN, {OWN: 1})
    writer.add("sealed")
    (entry,) = streams.step(OWN) or ()
    assert entry.text == streams.text_of(OWN, entry.entry_id) == "sealed"
    assert list(streams.filled()) == [[OWN]]
    streams.release(OWN)
    assert streams.step(OWN, done=entry.entry_id) == []
    assert redis_client.acl_log() == []


def accept(client, keyring, event_id):
    """Record and queue an activate of one instance."""
    event = Event.model_validate(
        {"id": event_id, "name": "compute.instance.activate", "replyTo": "reply.1", "data": {}}
        | {"resourceType": "instance", "resourceId": "7", "timeoutMillis": 60_000}
    )
    arrival = Arrival(event=event, agent="a", host_uuid=OWN, lane=Lane.COMPUTE, remaining_ms=60_000)
    (accepted,) = IntakeLedger(client, keyring, Clock(client)).accept([arrival])
    assert accepted in {Accepted.QUEUED, Accepted.RECORDED}
