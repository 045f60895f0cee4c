"""Whatever another program writes to Redis for a worker, its lanes run on and answer pings."""

import time

import pytest
from celery import Celery

from cowpoke import dead_letters, keys
from cowpoke.broker import connect
from cowpoke.clock import Clock
from cowpoke.events import Event
from cowpoke.ledger.intake import Arrival, IntakeLedger
from cowpoke.ledger.states import Accepted
from cowpoke.routes import Lane
from cowpoke.seal import ClusterKeyring
from cowpoke.settings import BrokerSettings
from simulator import sample
from simulator.rig.processes import wait_until
from tests.faults.faulty_system import FaultySystem, facts, new_instance, wait_fact
from tests.faults.scripted_engine import Held
from tests.floor import allowed_s
from tests.hostile_messages import UNREADABLE, as_item, command, encoded, ours

LANES = 3
PLAIN_PING = {"name": "ping", "data": {"options": {}}, "resource_type": "agent"}
FAR = "9999-12-31T23:59:59+00:00"
FOLLOW_UP = [{"task": "ping", "args": ["x"], "kwargs": {}, "options": {}}]
#: Wanted for one worker at rest, leases and all; Celery's share of it.
COMMANDS_A_SECOND = 1.5


@pytest.fixture(scope="module")
def system(scripted, tmp_path_factory):
    """One system on a Redis of its own."""
    from simulator.rig.redis_server import RedisServer  # noqa: PLC0415

    state_dir = tmp_path_factory.mktemp("state")
    with (
        RedisServer() as server,
        FaultySystem(scripted, redis=server, state_dir=state_dir) as running,
    ):
        running.wait_lanes()
        yield running


@pytest.fixture(autouse=True)
def same_lanes(system):
    """No lane ends in any of these tests, unless the test restarts the worker."""
    before = len(facts(system.worker, "lane.died"))
    yield
    assert len(facts(system.worker, "lane.died")) == before
    assert facts(system.worker, "lane.crashed") == []


@pytest.fixture
def open_event(system, scripted):
    """An event without an answer: bridges remove the queues of a host that has none."""
    held, instance = Held(), new_instance()
    scripted.script("POST", "/containers/create", held)
    event_id = system.send(sample.instance_activate(instance), timeout_ms=90_000)
    held.wait_reached()
    yield
    held.let_go()
    system.assert_answered_once(system.cattle.wait(event_id, 60), instance)


def queues(system):
    """The queues of the host's lanes."""
    host = f"host.{system.host_uuid}"
    return [host, f"{host}.control", f"{host}.images"]


def letters(system):
    """The dead letters of the host, newest first."""
    return dead_letters.read(system.redis.client(), keys.dead_letters(system.host_uuid))


def assert_well(system):
    """Each lane takes messages: a ping and an activate are answered."""
    call = system.call(**PLAIN_PING, timeout_ms=20_000)
    assert call.state == "success", call.message
    instance = new_instance()
    system.assert_answered_once(system.ask(sample.instance_activate(instance)), instance)
    client = system.redis.client()
    wait_until(lambda: not any(map(client.llen, queues(system))), 20, "empty queues")


@pytest.mark.parametrize("lane", range(LANES), ids=["compute", "control", "images"])
def test_items_that_are_no_messages_go_to_the_dead_letters(system, open_event, lane):
    """Each with its reason; the lane takes the next message."""
    client, queue = system.redis.client(), queues(system)[lane]
    client.delete(keys.dead_letters(system.host_uuid))
    before = len(facts(system.worker, "message.dead_lettered"))
    client.lpush(queue, *(as_item(item) for item in UNREADABLE.values()))
    wait_until(lambda: len(letters(system)) == len(UNREADABLE), 20, "the dead letters")
    assert {letter.where for letter in letters(system)} == {queue}
    assert all(letter.reason for letter in letters(system))
    logged = facts(system.worker, "message.dead_lettered")[before:]
    assert len(logged) == len(UNREADABLE)
    assert_well(system)


@pytest.mark.parametrize("lane", range(LANES), ids=["compute", "control", "images"])
@pytest.mark.parametrize("command", ["SET {} x", "HSET {} a x", "ZADD {} 1 x", "XADD {} * a x"])
def test_key_of_another_type_in_place_of_a_queue_is_removed(system, open_event, lane, command):
    """It would refuse every event of the lane."""
    client, queue = system.redis.client(), queues(system)[lane]
    wait_until(lambda: not client.exists(queue), 20, "an empty queue")
    client.execute_command(*command.format(queue).split())
    wait_until(lambda: not client.exists(queue), 20, "the key to be removed")
    assert letters(system)[0].where == queue
    assert_well(system)


def test_keys_that_kombu_would_use_stop_no_worker(system):
    """Neither tables of bindings nor unacknowledged messages are read."""
    client = system.redis.client()
    names = ["unacked", "unacked_index", "unacked_mutex", "_kombu.binding_deadlines"]
    exchanges = ["celery.pidbox", "reply.celery.pidbox", *queues(system)]
    names += [f"_kombu.binding.{one}" for one in exchanges]
    names += [f"_kombu.binding_permanent.{one}" for one in exchanges]
    for name in names:
        client.set(name, "\udcff".encode("utf-8", "surrogateescape"))
    system.worker.terminate()
    system.restart_worker()
    assert_well(system)
    client.delete(*names)
    assert len(inspected(system)) == LANES
    assert not [key for key in client.keys("*") if key.startswith(b"unacked")]


def inspected(system):
    """Which lanes answer `celery inspect ping`."""
    with Celery(broker=system.redis.url, set_as_current=False) as app:
        return app.control.inspect(timeout=20, limit=LANES).ping() or {}


def forged(event_id, *, properties=None, embedded=None, **headers):
    """A message that names an event, with headers, properties and callbacks of an attacker's."""
    message = ours(event_id, **headers)
    message["properties"].update({"delivery_tag": "the same for all", **(properties or {})})
    if embedded:
        message["body"] = encoded([[event_id], {}, embedded])
    return as_item(message)


FORGED = [
    {"ignore_result": True},
    {"expires": "2001-01-01T00:00:00"},
    {"eta": FAR},
    {"eta": "garbage"},
    {"timelimit": [0.001, 0.001]},
    {"retries": 10**300},
    {"retries": "many"},
    {"shadow": {"a": 1}, "root_id": 5, "parent_id": [], "group": "g", "group_index": "x"},
    {"stamped_headers": ["a"], "stamps": {"a": 1}, "replaced_task_nesting": "deep"},
    {"compression": "zlib"},
    {"argsrepr": {"a": 1}, "kwargsrepr": 7, "origin": None, "lang": "c"},
    {"embedded": dict.fromkeys(("callbacks", "errbacks", "chain", "chord"), FOLLOW_UP)},
    {"properties": {"reply_to": ["x"], "correlation_id": 5, "delivery_info": 5, "priority": "x"}},
]


def test_forged_message_neither_drops_nor_settles_nor_delays_an_event(system):
    """The true messages are gone; the forged ones name the same events."""
    client, queue = system.redis.client(), queues(system)[0]
    before = len(letters(system))
    system.worker.terminate()
    sent = {}
    for _ in FORGED:
        instance = new_instance()
        event_id = system.send(sample.instance_activate(instance), timeout_ms=60_000)
        sent[event_id] = instance
    wait_until(lambda: client.llen(queue) == len(sent), 20, "the events in the queue")
    client.delete(queue)
    items = [forged(event_id, **parts) for event_id, parts in zip(sent, FORGED, strict=True)]
    client.lpush(queue, *items)
    system.restart_worker()
    for event_id, instance in sent.items():
        system.assert_answered_once(system.cattle.wait(event_id, 60), instance)
    assert len(letters(system)) == before


def test_message_of_an_unknown_event_is_dropped(system):
    """As one of another host's, or of an event that is over."""
    client, queue = system.redis.client(), queues(system)[0]
    before = len(facts(system.worker, "event.dropped"))
    client.lpush(queue, as_item(ours("nobodys-event")))
    wait_fact(system.worker, "event.dropped", before + 1)
    assert facts(system.worker, "event.dropped")[-1]["event_id"] == "nobodys-event"
    assert_well(system)


def test_event_of_a_later_release_ends_with_an_error_that_says_so(system):
    """It is left to workers that know it, until shortly before its deadline."""
    event = Event.model_validate(
        {"id": "later-event", "name": "compute.instance.migrate", "replyTo": "reply.nobody"}
    )
    arrival = Arrival(
        event=event,
        agent="",
        host_uuid=system.host_uuid,
        lane=Lane.COMPUTE,
        remaining_ms=12_000,
    )
    client, entry = system.redis.client(), keys.event(system.host_uuid, event.id)
    with connect(BrokerSettings.model_validate({"REDIS_URL": system.redis.url})) as bridge:
        intake = IntakeLedger(bridge, ClusterKeyring(system.queue_key), Clock(bridge))
        assert intake.accept([arrival]) == [Accepted.QUEUED]
    wait_until(lambda: client.hget(entry, "rejected_ms"), 20, "a worker to reject it")
    wait_until(lambda: client.hget(entry, "state") == b"answered", 30, "its end")
    assert client.hget(entry, "kind") == b"error"
    assert_well(system)


COMMANDS = [
    b"\xff",
    b"",
    b"{",
    b"[" * 50_000,
    b"5",
    {},
    {**command(), "body": 5},
    {**command(), "properties": None},
    {**command(), "properties": {"body_encoding": ["x"]}},
    {**command(), "headers": {"clock": "x"}},
    {**command(), "headers": []},
    {**command(), "content-type": "application/x-python-serialize"},
    command(method=None),
    command(method={"a": 1}),
    command(arguments=[1]),
    command(arguments={"state": 1}),
    command(arguments={"no_such_argument": 1}),
    command(method="query_task", arguments={"ids": 5}),
    command(method="registered", arguments={"taskinfoitems": [["x"], 5]}),
    command(destination=5),
    command(pattern="(x+x+)+y", matcher="pcre"),
    command(pattern=5, matcher="glob"),
    command(reply_to="x", ticket="x"),
    command(reply_to={"exchange": "host.other", "routing_key": "host.other"}, ticket="t"),
    command(reply_to={}, ticket=5),
]


def test_malformed_remote_control_hurts_no_lane(system):
    """Each lane passes over it, and answers the next inspection and the next ping."""
    client = system.redis.client()
    before = len(facts(system.worker, "remote_control.rejected"))
    for message in COMMANDS:
        assert client.publish("/0.celery.pidbox", as_item(message)) == LANES
    assert len(inspected(system)) == LANES
    assert_well(system)
    assert len(facts(system.worker, "remote_control.rejected")) > before
    assert client.keys("host.other*") == []


def test_answer_that_nobody_fetches_expires(system):
    """Whoever asked is gone, or never was there."""
    client, key = system.redis.client(), "x" * 36 + ".reply.celery.pidbox"
    reply_to = {"exchange": "reply.celery.pidbox", "routing_key": "x" * 36}
    client.publish("/0.celery.pidbox", as_item(command(reply_to=reply_to, ticket="t")))
    wait_until(lambda: client.llen(key) == LANES, 20, "the answers")
    assert 0 < client.pttl(key) <= 60_000


def test_lane_at_rest_asks_redis_for_little(system):
    """Waits, heartbeats and health checks of Celery's; no key beside the host's."""
    client = system.redis.client()
    client.delete("_kombu.binding_deadlines")  # of `celery inspect`, which is no part of ours
    system.bridge.terminate()
    client.config_resetstat()
    began_s = time.monotonic()
    time.sleep(15)  # at rest; three or four waits of each lane
    stats = client.info("commandstats")
    took_s = time.monotonic() - began_s
    names = ("brpop", "publish", "ping")
    calls = sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names)
    assert calls / took_s < COMMANDS_A_SECOND
    assert [key for key in client.keys("*") if key.startswith((b"_kombu", b"unacked"))] == []
    began_s = time.monotonic()
    assert system.worker.terminate() == 0
    assert time.monotonic() - began_s < allowed_s(3)
