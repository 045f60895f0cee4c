"""What the chaos run reads from a real ledger of events without an answer."""

import pytest

from cowpoke import keys
from cowpoke.outcomes import success
from simulator.chaos.ledger_states import Fate, ledger_states
from tests.ledgers import accept, end_process, start_process


@pytest.fixture
def boot(client):
    """A worker process that is alive."""
    return start_process(client)


def let_expire(client, ledger, event_id):
    """Let the deadline pass and a sweeper expire the event."""
    client.hset(keys.event(event_id), "deadline_ms", 0)
    (entry,) = [one for one in ledger.open_entries("host-1") if one.event_id == event_id]
    assert ledger.expire(entry)


def test_expired_events_say_where_they_were(client, ledger, boot):
    """W 39: in a queue, in a line, on the way, with a dead process, or at a worker too late."""
    accept(ledger, "queue", resourceId="1ihm1")
    accept(ledger, "recorded", resourceId="1ihm1")
    for event_id in ("transit", "taken", "worker"):
        accept(ledger, event_id)
    client.rpop("host.host-1", 4)
    client.lpush("host.host-1", client.hget(keys.event("queue"), "message"))
    ledger.take("taken", boot)
    end_process(client)
    client.hset(keys.event("worker"), "deadline_ms", 0)
    ledger.take("worker", boot)
    for event_id in ("recorded", "queue", "transit", "taken"):
        let_expire(client, ledger, event_id)
    found = ledger_states(client, ["queue", "recorded", "transit", "taken", "worker", "unknown"])
    assert [one.expired_in for one in found.values()] == [*[*found][:-1], ""]
    assert found["unknown"].fate is Fate.LOST


def test_forgotten_message_is_a_loss(client, ledger, boot):
    """W 39: a message that vanished, and that no sweeper sent again, is told from a slow one."""
    event_id = accept(ledger)
    client.rpop("host.host-1")
    client.hincrby(keys.event(event_id), "queued_ms", -60_000)
    let_expire(client, ledger, event_id)
    assert ledger_states(client, [event_id])[event_id].fate is Fate.LOST


def test_answered_event_says_when(client, ledger, boot):
    """W 39: an answer long before the deadline that cattle never got is a loss."""
    event_id = accept(ledger)
    ledger.take(event_id, boot)
    ledger.settle(event_id, success({}))
    found = ledger_states(client, [event_id])[event_id]
    assert (found.state, found.fate) == ("answered", Fate.LOST)
