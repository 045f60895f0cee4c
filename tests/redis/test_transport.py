"""The lanes' transport on a real Redis: no message lost at its ends, no key beside its own."""

import contextlib
import json
import os
import signal
import time
from queue import Empty

import pytest
import redis
from kombu import Connection, Consumer, Exchange, Queue

from cowpoke import dead_letters, keys
from cowpoke.messages import task_message
from simulator.rig.processes import wait_until
from simulator.rig.proxy import Proxy
from worker.process import transport
from worker.process.transport import BRPOP_S, Transport

HOST = "host-1"
QUEUE = f"host.{HOST}"
NAME = "compute.instance.activate"
#: After the drain time, until it kills a lane.
SUPERVISOR_WAITS_S = 5


@pytest.fixture
def connect_to(request):
    """Connections of the lanes' transport, closed at the end."""
    opened = []

    def connect(url, **options):
        options = {"priority_steps": [0], "host_uuid": HOST, **options}
        opened.append(Connection(url, transport=Transport, transport_options=options))
        return opened[-1]

    yield connect
    for one in opened:
        one.release()


@pytest.fixture
def broker(redis_url, client, connect_to):
    """A connection as a lane has it."""
    return connect_to(redis_url)


def consumer_of(broker, got):
    """A consumer of the host's queue that keeps what it gets, unacknowledged."""
    queue = Queue(QUEUE, Exchange(QUEUE), routing_key=QUEUE)
    return Consumer(broker, [queue], callbacks=[lambda _, m: got.append(m)], accept=["json"])


def push(client, event_id="e1"):
    """Queue an event's message as the ledger does."""
    message = task_message(event_id=event_id, task_name=NAME, queue=QUEUE, summary="r")
    client.lpush(QUEUE, message)


def blocked(client):
    """How many connections wait in BRPOP."""
    return client.info("clients")["blocked_clients"]


def wait_blocked(broker, client):
    """Let a consumer begin to wait for messages."""
    cycle = broker.transport.cycle
    cycle.on_poll_start()
    wait_until(lambda: blocked(client) == 1, 10, "a BRPOP")


def ids_in_queue(client):
    """The events in the queue, the next one first."""
    return [json.loads(one)["headers"]["id"] for one in client.lrange(QUEUE, 0, -1)][::-1]


def drain(broker, client):
    """Let the consumer look until the queue is empty and nothing more arrives."""
    wait_until(lambda: _drained(broker, client), 20, "an empty queue")


def _drained(broker, client):
    try:
        broker.transport.cycle.get(None, timeout=0.1)
    except Empty:
        return not client.llen(QUEUE)
    return False


def test_message_is_delivered_and_leaves_no_key_behind(broker, client):
    """No table of bindings, no unacknowledged messages, no list."""
    got = []
    with consumer_of(broker, got):
        push(client)
        drain(broker, client)
        assert [m.headers["id"] for m in got] == ["e1"]
        assert client.keys("*") == []
        got[0].ack()
    assert client.keys("*") == []


def test_cancelled_consumer_stops_waiting_at_once(broker, client):
    """A lane that is told to stop does not wait until BRPOP ends, and takes no message any more."""
    consumer = consumer_of(broker, [])
    consumer.consume()
    wait_blocked(broker, client)
    began_s = time.monotonic()
    consumer.cancel()
    assert time.monotonic() - began_s < BRPOP_S / 2
    assert blocked(client) == 0
    push(client)
    broker.release()
    assert ids_in_queue(client) == ["e1"]
    assert client.keys("*") == [QUEUE]


def test_message_on_its_way_to_a_stopping_lane_goes_back(broker, client):
    """As the next one, before those that came later; byte for byte."""
    consumer = consumer_of(broker, [])
    consumer.consume()
    wait_blocked(broker, client)
    push(client, "e1")  # Redis hands it over, and nobody reads it
    wait_until(lambda: blocked(client) == 0, 10, "the message to be handed over")
    push(client, "e2")
    consumer.cancel()
    assert ids_in_queue(client) == ["e1", "e2"]


def test_messages_that_wait_for_a_retry_go_back_when_the_lane_ends(broker, client):
    """Those that were acknowledged do not."""
    got = []
    consumer = consumer_of(broker, got)
    consumer.consume()
    for event_id in ("e1", "e2", "e3"):
        push(client, event_id)
    drain(broker, client)
    got[1].ack()
    broker.release()
    assert sorted(ids_in_queue(client)) == ["e1", "e3"]


def test_frozen_redis_holds_up_the_end_for_moments_only(make_redis, connect_to):
    """What was on its way is sent again by the sweeper."""
    server = make_redis()
    broker = connect_to(server.url)
    consumer_of(broker, []).consume()
    wait_blocked(broker, server.client())
    os.kill(server.pid, signal.SIGSTOP)
    try:
        began_s = time.monotonic()
        broker.release()
        assert time.monotonic() - began_s < SUPERVISOR_WAITS_S
    finally:
        os.kill(server.pid, signal.SIGCONT)


def test_dead_connection_is_replaced(redis_url, client, connect_to, monkeypatch):
    """An answer that is overdue never comes; the next message is taken by a new connection."""
    monkeypatch.setattr(transport, "OVERDUE_S", 0.5)
    monkeypatch.setattr(Transport, "brpop_timeout", 1)
    got = []
    with Proxy(redis_url.split("/")[2]) as way:
        broker = connect_to(way.url(redis_url))
        consumer_of(broker, got).consume()
        wait_blocked(broker, client)
        (channel,) = broker.transport.cycle._channels
        way.black_hole()
        wait_until(lambda: _is_dropped(channel), 10, "the dead connection to be dropped")
        wait_until(lambda: not blocked(client), 10, "Redis to end its wait")
        way.heal()
        push(client)
        drain(broker, client)
        assert [m.headers["id"] for m in got] == ["e1"]


def _is_dropped(channel):
    channel.drop_overdue_brpop()
    return not channel._in_poll


def test_queue_of_another_type_is_put_aside(broker, client):
    """The consumer goes on with the next message."""
    got = []
    with consumer_of(broker, got):
        client.set(QUEUE, "not a list")
        wait_until(lambda: _drained_of_wrong_key(broker, client), 20, "the key to be removed")
        push(client)
        drain(broker, client)
    (letter,) = dead_letters.read(client, keys.dead_letters(HOST))
    assert (letter.where, letter.content) == (QUEUE, "not a list")
    assert [m.headers["id"] for m in got] == ["e1"]


def _drained_of_wrong_key(broker, client):
    with contextlib.suppress(Empty):
        broker.transport.cycle.get(None, timeout=0.1)
    return not client.exists(QUEUE)


def test_refusal_of_redis_is_a_lost_connection(broker, client):
    """Such as a replica's; kombu connects anew."""
    client.execute_command("ACL", "SETUSER", "default", "-brpop")
    try:
        with consumer_of(broker, []), pytest.raises(redis.ConnectionError, match="refused BRPOP"):
            drain(broker, client)
    finally:
        client.execute_command("ACL", "SETUSER", "default", "+brpop")
