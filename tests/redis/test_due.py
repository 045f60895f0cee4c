"""The index of next checks: what needs nothing is planned anew in Redis, the rest is decided."""

import pytest

from cowpoke import keys
from cowpoke.ledger.decisions import (
    IN_TRANSIT_MS,
    NEXT_CHECK_MOST_MS,
    NEXT_CHECK_QUEUED_MS,
    OFFLINE_MARGIN_MS,
    OVERDUE_MS,
    Step,
)
from cowpoke.outcomes import error, success
from tests.ledgers import HOST, QUEUE

SECOND = {"resourceType": "instanceHostMap", "resourceId": "1ihm-shared"}


@pytest.fixture
def decided(ledgers, monkeypatch):
    """The ids that were given to a bridge to decide about."""
    found = []
    sweep_some = ledgers.sweeper._sweep_some

    def noting(host_uuid, event_ids, known_dead=()):
        found.extend(event_ids)
        return sweep_some(host_uuid, event_ids, known_dead)

    monkeypatch.setattr(ledgers.sweeper, "_sweep_some", noting)
    return found


def sweep(ledgers):
    """Let every open event be due, and look once; the steps of the host."""
    ledgers.sweeper.hasten([HOST])
    steps, more = ledgers.sweeper.sweep_due()
    assert not more
    return steps.get(HOST, {})


def check_in_ms(ledgers, event_id):
    """In how many ms an event is looked at again."""
    return ledgers.client.zscore(keys.DUE, keys.member(HOST, event_id)) - ledgers.clock.now_ms()


def test_event_of_a_live_process_is_not_read_by_a_bridge(ledgers, decided):
    """A claimed event needs nothing as long as the lease names its process."""
    worker = ledgers.start_process()
    event_id = ledgers.accept()
    worker.claim(event_id)
    assert sweep(ledgers) == {}
    assert decided == []
    assert check_in_ms(ledgers, event_id) > 2 * NEXT_CHECK_MOST_MS

    ledgers.end_process()
    assert sweep(ledgers) == {Step.RESEND: 1}
    assert decided == [event_id]


def test_event_of_a_live_process_is_decided_after_its_deadline(ledgers, decided):
    """A process that works on it answers before; so Redis may have older data."""
    worker = ledgers.start_process()
    event_id = ledgers.accept(remaining_ms=40_000)
    worker.claim(event_id)
    assert sweep(ledgers) == {}
    assert 0 < check_in_ms(ledgers, event_id) <= 40_000 + OVERDUE_MS

    # The clock of a sweeper is an estimate of the server's.
    ledgers.set_back(event_id, 40_000 + OVERDUE_MS + 500)
    assert sweep(ledgers) == {Step.EXPIRE: 1}
    assert decided == [event_id]


def test_event_behind_another_one_is_not_read_by_a_bridge(ledgers, decided):
    """It is looked at before its deadline; when its FIFO was lost, it is queued."""
    ledgers.start_process()
    first, second = (ledgers.accept(remaining_ms=20_000, **SECOND) for _ in range(2))
    assert sweep(ledgers) == {}
    assert decided == []
    assert check_in_ms(ledgers, second) <= 20_000 - OFFLINE_MARGIN_MS

    ledgers.client.delete(keys.fifo(HOST, "instanceHostMap:1ihm-shared"))
    assert sweep(ledgers) == {Step.RESEND: 1}
    assert decided == [second]
    assert ledgers.queued() == [first, second]


def test_queued_event_is_looked_at_soon_while_a_worker_lives(ledgers, decided):
    """A message may be lost on its way to a live worker; without one nothing can happen."""
    ledgers.start_process()
    event_id = ledgers.accept()
    assert sweep(ledgers) == {}
    assert 0 < check_in_ms(ledgers, event_id) < 2 * NEXT_CHECK_QUEUED_MS
    assert decided == []

    ledgers.end_process()
    assert sweep(ledgers) == {}
    assert check_in_ms(ledgers, event_id) > 2 * NEXT_CHECK_QUEUED_MS


@pytest.mark.parametrize("end", ["complete", "expire"])
def test_message_of_an_event_whose_turn_came_may_be_lost_too(ledgers, end):
    """The next event of a FIFO is queued by a worker, who may not write to the index."""
    worker = ledgers.start_process()
    first, second = (ledgers.accept(**SECOND) for _ in range(2))
    assert sweep(ledgers) == {}
    assert check_in_ms(ledgers, second) > 2 * NEXT_CHECK_QUEUED_MS
    if end == "complete":
        worker.claim(first)
        worker.complete(first, success({}))
        ledgers.outboxes.collect(HOST)
    else:
        ledgers.set_back(first, 60_000)
        worker.claim(first)
        ledgers.client.zadd(keys.DUE, {keys.member(HOST, first): 0})
        ledgers.sweeper.sweep_due()
    assert ledgers.state(second) == "queued"
    assert check_in_ms(ledgers, second) <= NEXT_CHECK_QUEUED_MS


def test_host_whose_index_of_open_events_was_lost_gets_it_back(ledgers):
    """At the next check of each event; else those that need nothing are never made due again."""
    worker = ledgers.start_process()
    event_id = ledgers.accept()
    worker.claim(event_id)
    ledgers.client.delete(keys.open_events(HOST), keys.HOSTS)
    ledgers.client.zadd(keys.DUE, {keys.member(HOST, event_id): 0})
    ledgers.sweeper.sweep_due()
    assert ledgers.client.smembers(keys.HOSTS) == {HOST}
    ledgers.end_process()
    assert sweep(ledgers) == {Step.RESEND: 1}


@pytest.mark.parametrize("others", [0, 1], ids=["empty queue", "younger message"])
def test_lost_message_is_sent_again(ledgers, decided, others):
    """It left the queue, and no process claimed it."""
    ledgers.start_process()
    event_id = ledgers.accept()
    ledgers.client.rpop(QUEUE)
    ledgers.set_back(event_id, 2 * IN_TRANSIT_MS)
    for _ in range(others):
        ledgers.accept()
    assert sweep(ledgers) == {Step.RESEND: 1}
    assert decided == [event_id]


def test_event_near_its_deadline_is_decided(ledgers, decided):
    """Also one that waits in a queue."""
    event_id = ledgers.accept(remaining_ms=OFFLINE_MARGIN_MS // 2)
    sweep(ledgers)
    assert decided == [event_id]


def test_index_that_was_lost_is_made_anew(ledgers):
    """Events that are missing in it are due at once; hosts without events are forgotten."""
    event_id = ledgers.accept()
    ledgers.client.delete(keys.DUE)
    ledgers.client.sadd(keys.HOSTS, "host-without-events")
    ledgers.client.lpush("host.host-without-events.control", "left over")
    ledgers.sweeper.check_index()
    assert check_in_ms(ledgers, event_id) <= 0
    assert ledgers.client.smembers(keys.HOSTS) == {HOST}
    assert not ledgers.client.exists("host.host-without-events.control")


def test_index_of_wrong_times_is_made_anew(ledgers):
    """After a jump of the server's clock everything is looked at."""
    event_id = ledgers.accept()
    ledgers.client.zadd(keys.DUE, {keys.member(HOST, event_id): 9e12})
    ledgers.sweeper.check_index()
    assert check_in_ms(ledgers, event_id) > 0
    ledgers.sweeper.check_index(are_all_due=True)
    assert check_in_ms(ledgers, event_id) <= 0


@pytest.mark.parametrize("spoiled", ["event", "lease", "queue", "open", "due"])
def test_key_of_another_type_does_not_stop_the_sweep(ledgers, spoiled):
    """The other events are looked at all the same."""
    worker = ledgers.start_process()
    event_id, other = ledgers.accept(), ledgers.accept()
    worker.claim(event_id)
    key = {
        "event": keys.event(HOST, event_id),
        "lease": keys.lease(HOST, "w1"),
        "queue": QUEUE,
        "open": keys.open_events(HOST),
        "due": keys.DUE,
    }[spoiled]
    ledgers.client.delete(key)
    ledgers.client.set(key, "x") if spoiled != "lease" else ledgers.client.sadd(key, "x")
    sweep(ledgers)
    assert ledgers.state(other) is not None


def test_answered_ping_leaves_a_small_hash(ledgers):
    """A kilobyte at most, however large its list of containers was."""
    worker = ledgers.start_process("w1.control.1")
    event_id = ledgers.accept(name="ping")
    worker.claim(event_id)
    worker.complete(event_id, success({"resources": "x" * 161 * 1024}))
    assert ledgers.client.memory_usage(keys.event(HOST, event_id)) <= 1024
    assert ledgers.state(event_id) == "answered"


@pytest.mark.parametrize("order", [1, -1], ids=["first queued first", "last queued first"])
def test_failed_events_leave_the_queue(ledgers, order):
    """At both ends, and between."""
    ids = [ledgers.accept() for _ in range(250)]
    entries = ledgers.entries()
    for event_id in [ids[125], *ids[::order]]:
        ledgers.recovery.fail(HOST, entries[event_id], error("host-offline", "no worker"))
    assert ledgers.queued() == []
