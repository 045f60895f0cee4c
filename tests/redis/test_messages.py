"""The message that the ledger pushes, held against what kombu itself publishes and consumes."""

import json

import pytest
from celery import Celery
from kombu import Connection, Consumer, Exchange, Queue

from cowpoke.messages import task_message
from cowpoke.version import CONTRACT_VERSION
from tests.ledgers import HOST

QUEUE = f"host.{HOST}"


@pytest.fixture
def broker(redis_url):
    """A connection of kombu's to the test's Redis."""
    options = {"priority_steps": [0], "polling_interval": 0.1}
    with Connection(redis_url, transport_options=options) as connection:
        yield connection


def shape(value):
    """A message without its values: the keys and types of everything."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return type(value).__name__


def test_it_is_what_kombu_publishes(redis_url, client):
    """Every key and type of a message that Celery sends is in ours; only the version is added."""
    app = Celery("sender", broker=redis_url, set_as_current=False)
    app.conf.broker_transport_options = {"priority_steps": [0]}
    app.send_task("ping", args=("e1",), task_id="e1", queue=QUEUE, ignore_result=False)
    app.close()
    theirs = json.loads(client.rpop(QUEUE))
    ours = json.loads(task_message(event_id="e1", task_name="ping", queue=QUEUE, summary="r"))
    assert ours["headers"].pop("v") == CONTRACT_VERSION
    ours_shape, their_shape = shape(ours), shape(theirs)
    assert ours_shape == their_shape
    same = ("lang", "task", "id", "kwargsrepr", "retries", "root_id", "eta", "expires")
    assert {key: ours["headers"][key] for key in same} == {
        key: theirs["headers"][key] for key in same
    }
    assert ours["body"] == theirs["body"]
    assert (ours["content-type"], ours["content-encoding"]) == (
        theirs["content-type"],
        theirs["content-encoding"],
    )
    assert ours["properties"]["body_encoding"] == theirs["properties"]["body_encoding"]


def test_kombu_consumes_it(broker, client, ledgers):
    """A consumer of kombu's gets the event's id as the task's only argument."""
    event_id = ledgers.accept(data={"password": "hunter2"})
    got = []

    def take(body, message):
        got.append((body, message.headers["task"], message.headers["id"]))
        message.ack()

    queue = Queue(QUEUE, Exchange(QUEUE), routing_key=QUEUE)
    with Consumer(broker, [queue], callbacks=[take], accept=["json"]):
        try:
            while not got:
                broker.drain_events(timeout=5)
        except TimeoutError:
            pytest.fail("kombu did not deliver the message")
    ((args, kwargs, _), task, task_id) = got[0]
    assert (args, kwargs, task, task_id) == ([event_id], {}, "compute.instance.activate", event_id)
    assert client.llen(QUEUE) == 0
    assert client.exists("unacked") == 0


def test_a_message_that_kombu_gives_back_returns_to_its_queue(broker, client, ledgers):
    """A worker that stops returns what it had prefetched to where it came from."""
    ledgers.accept()
    queue = Queue(QUEUE, Exchange(QUEUE), routing_key=QUEUE)
    with Consumer(broker, [queue], callbacks=[lambda _, m: m.requeue()], accept=["json"]):
        broker.drain_events(timeout=5)
    broker.close()
    assert client.llen(QUEUE) == 1
