"""What the chaos run reads from a real ledger of events without an answer."""

import pytest

from cowpoke import keys
from cowpoke.outcomes import success
from simulator.chaos.ledger_states import Fate, ledger_states
from tests.ledgers import HOST, QUEUE


@pytest.fixture
def worker(ledgers):
    """A worker process that is alive."""
    return ledgers.start_process()


def let_expire(ledgers, event_id):
    """Let the deadline pass and a sweeper expire the event."""
    ledgers.client.hset(keys.event(HOST, event_id), "deadline_ms", 1)
    assert ledgers.recovery.expire(HOST, ledgers.entries()[event_id])


def test_expired_events_say_where_they_were(client, ledgers, worker):
    """W 39: in a queue, in a FIFO, in transit, with a dead process, or at a worker too late."""
    ledgers.accept("queue", resourceId="1ihm1")
    ledgers.accept("recorded", resourceId="1ihm1")
    for event_id in ("transit", "claimed", "worker"):
        ledgers.accept(event_id)
    client.rpop(QUEUE, 4)
    client.lpush(QUEUE, client.hget(keys.event(HOST, "queue"), "message"))
    worker.claim("claimed")
    ledgers.end_process()
    client.hset(keys.event(HOST, "worker"), "deadline_ms", 0)
    worker.claim("worker")
    for event_id in ("recorded", "queue", "transit", "claimed"):
        let_expire(ledgers, event_id)
    ids = ["queue", "recorded", "transit", "claimed", "worker", "unknown"]
    found = ledger_states(client, [HOST], ids)
    assert [one.expired_in for one in found.values()] == [*ids[:-1], ""]
    assert found["unknown"].fate is Fate.LOST


def test_forgotten_message_is_a_loss(client, ledgers, worker):
    """W 39: a message that vanished, and that no sweeper sent again, is told from a slow one."""
    event_id = ledgers.accept()
    client.rpop(QUEUE)
    ledgers.set_back(event_id, 60_000, "queued_ms")
    let_expire(ledgers, event_id)
    assert ledger_states(client, [HOST], [event_id])[event_id].fate is Fate.LOST


def test_answered_event_says_when(client, ledgers, worker):
    """W 39: an answer long before the deadline that cattle never got is a loss."""
    event_id = ledgers.accept()
    worker.claim(event_id)
    worker.complete(event_id, success({}))
    found = ledger_states(client, [HOST], [event_id])[event_id]
    assert (found.state, found.fate) == ("answered", Fate.LOST)
