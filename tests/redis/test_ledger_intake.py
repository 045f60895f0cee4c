"""The bridge's side of the ledger: events come in once, in order, and are answered again."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from cowpoke import keys
from cowpoke.envelopes import opened_envelope
from cowpoke.events import Event
from cowpoke.ledger.states import Accepted, State, Verdict
from cowpoke.outcomes import error, success
from tests.ledgers import HOST, QUEUE, arrival


@pytest.fixture
def worker(ledgers):
    """A worker process that is alive."""
    return ledgers.start_process()


def offer(ledgers, *arrivals):
    """Offer events in one batch; what became of each."""
    return ledgers.intake.accept(arrivals)


# -- accept ----------------------------------------------------------------------------------------


def test_an_event_is_recorded_and_queued_in_one_step(ledgers):
    """An accepted event has an entry, a message in its queue and a place in the indexes."""
    one = arrival()
    assert offer(ledgers, one) == [Accepted.QUEUED]
    assert ledgers.queued() == [one.event.id]
    entry = ledgers.entries()[one.event.id]
    assert (entry.state, entry.name, entry.queue, entry.sends) == (
        State.QUEUED,
        one.event.name,
        QUEUE,
        1,
    )
    assert entry.deadline_ms == entry.received_ms + 60_000
    assert ledgers.client.zrange(keys.DUE, 0, -1) == [f"{HOST} {one.event.id}"]
    assert ledgers.client.smembers(keys.HOSTS) == {HOST}


def test_the_same_id_is_queued_once(ledgers):
    """A second bridge that reads the same frame queues nothing, alone or in one batch."""
    one = arrival()
    assert offer(ledgers, one, one) == [Accepted.QUEUED, Accepted.KNOWN]
    assert offer(ledgers, one) == [Accepted.KNOWN]
    assert ledgers.queued() == [one.event.id]


def test_the_same_ids_from_many_bridges_at_once_are_queued_once(ledgers):
    """However many offer an event at the same moment, one of them queues it."""
    batch = [arrival() for _ in range(20)]
    ready = threading.Barrier(8)

    def offer_all(_):
        ready.wait()
        return ledgers.intake.accept(batch)

    with ThreadPoolExecutor(8) as bridges:
        results = [answer for answers in bridges.map(offer_all, range(8)) for answer in answers]
    assert results.count(Accepted.QUEUED) == 20
    assert results.count(Accepted.KNOWN) == 140
    assert sorted(ledgers.queued()) == sorted(one.event.id for one in batch)


def test_the_same_id_again_moves_the_deadline(ledgers):
    """A call of several sends waits from its last send on."""
    one = arrival(remaining_ms=2000)
    offer(ledgers, one)
    ledgers.set_back(one.event.id, 1500)
    before = ledgers.entries()[one.event.id].deadline_ms
    offer(ledgers, one)
    after = ledgers.entries()[one.event.id].deadline_ms
    assert 1500 <= after - before < 2000
    assert ledgers.client.zscore(keys.open_events(HOST), one.event.id) == after


def test_the_same_id_with_less_time_left_does_not_shorten_it(ledgers):
    """A bridge that was held up does not take time away from the event."""
    one = arrival()
    offer(ledgers, one)
    before = ledgers.entries()[one.event.id].deadline_ms
    offer(ledgers, replace(one, remaining_ms=0))
    assert ledgers.entries()[one.event.id].deadline_ms == before


def test_an_expired_id_that_comes_again_begins_anew(ledgers, worker):
    """A call of several sends is still waited for when its first send expired."""
    one = arrival(remaining_ms=0)
    offer(ledgers, one)
    assert worker.claim(one.event.id).verdict is Verdict.EXPIRED
    assert offer(ledgers, one) == [Accepted.KNOWN]
    assert offer(ledgers, replace(one, remaining_ms=2000)) == [Accepted.QUEUED]
    assert worker.claim(one.event.id).verdict is Verdict.CLAIMED


# -- FIFOs -----------------------------------------------------------------------------------------


def test_events_of_one_resource_run_one_after_the_other(ledgers, worker):
    """The next one is queued when the one before it is over, in their order (A 2.1, C 16)."""
    ids = [f"e{number}" for number in range(3)]
    batch = [arrival(event_id, resourceId="1ihm1") for event_id in ids]
    assert offer(ledgers, *batch) == [Accepted.QUEUED, Accepted.RECORDED, Accepted.RECORDED]
    for event_id, waiting in (("e0", ["e1"]), ("e1", ["e2"]), ("e2", [])):
        assert ledgers.queued() == [event_id]
        ledgers.client.rpop(QUEUE)
        assert worker.claim(event_id).verdict is Verdict.CLAIMED
        assert ledgers.queued() == []
        assert worker.complete(event_id, success({}))
        assert ledgers.queued() == waiting


def test_a_fifo_goes_on_when_an_event_in_it_expires_or_fails(ledgers):
    """Neither the head of a FIFO nor one in its middle holds up the others when it is over."""
    offer(
        ledgers,
        *(arrival(f"e{number}", resourceId="1ihm1", remaining_ms=0) for number in range(3)),
    )
    entries = ledgers.entries()
    assert ledgers.recovery.fail(HOST, entries["e1"], error("a", "b"))
    assert ledgers.recovery.expire(HOST, entries["e0"])
    assert ledgers.queued() == ["e2"]


def test_events_of_different_resources_do_not_wait(ledgers):
    """FIFOs are per resource."""
    assert offer(ledgers, arrival(), arrival()) == [Accepted.QUEUED, Accepted.QUEUED]


@pytest.mark.parametrize(
    "fields",
    [{"name": "ping", "resourceType": "agent", "resourceId": "1a5"}, {"resourceId": None}],
)
def test_pings_and_events_without_a_resource_do_not_wait(ledgers, fields):
    """An event that touches no resource is in no FIFO."""
    assert offer(ledgers, arrival(**fields), arrival(**fields)) == [Accepted.QUEUED] * 2


# -- an id that comes again after its answer -------------------------------------------------------


def answered(ledgers, worker, one):
    """Answer an event."""
    offer(ledgers, one)
    worker.claim(one.event.id)
    worker.complete(one.event.id, success({"a": 1}))


def test_a_repeated_id_is_answered_from_the_ledger(ledgers, worker):
    """A re-send of an answered event gets the stored reply again, and is not run again."""
    one = arrival(timeoutMillis=2000)
    answered(ledgers, worker, one)
    ledgers.client.delete(QUEUE)
    ledgers.set_back(one.event.id, 2000)
    assert offer(ledgers, one) == [Accepted.ANSWERED]
    assert ledgers.sent() == [(one.event.id, success({"a": 1}))] * 2
    assert ledgers.queued() == []


def test_the_same_frame_read_by_another_bridge_is_not_answered_twice(ledgers, worker):
    """An event that is answered at once does not look repeated to the second bridge."""
    for one in (arrival(), arrival(name="ping")):
        answered(ledgers, worker, one)
        assert offer(ledgers, one) == [Accepted.KNOWN]
    assert len(ledgers.sent()) == 2


@pytest.mark.parametrize("name", ["compute.instance.activate", "ping"])
def test_a_frame_that_another_bridge_reads_late_is_not_answered_twice(ledgers, worker, name):
    """A busy or stopping bridge reads its socket late; cattle sends after the timeout only."""
    one = arrival(name=name, timeoutMillis=15_000)
    answered(ledgers, worker, one)
    ledgers.set_back(one.event.id, 7_000)
    assert offer(ledgers, one, one) == [Accepted.KNOWN] * 2
    assert len(ledgers.sent()) == 1
    # The late copies do not make cattle's own repeat look like a copy.
    ledgers.set_back(one.event.id, 8_000)
    assert offer(ledgers, one) == [Accepted.QUEUED if name == "ping" else Accepted.ANSWERED]


def test_a_repeated_ping_is_asked_anew(ledgers, worker):
    """A list of containers is old at once: the worker makes another one."""
    one = arrival(name="ping", timeoutMillis=2000)
    answered(ledgers, worker, one)
    ledgers.client.delete(f"{QUEUE}.control")
    ledgers.set_back(one.event.id, 2000)
    assert offer(ledgers, one) == [Accepted.QUEUED]
    assert worker.claim(one.event.id).verdict is Verdict.CLAIMED


def test_what_is_kept_of_an_answered_ping_is_small(ledgers, worker):
    """A reply with 200 containers has 161 KiB; at most 1 KiB stays, and not for long."""
    one = arrival(name="ping", data={"a": "x" * 50_000})
    offer(ledgers, one)
    worker.claim(one.event.id)
    worker.complete(one.event.id, success({"resources": ["x" * 800] * 200}))
    key = keys.event(HOST, one.event.id)
    kept = ledgers.client.hgetall(key)
    assert sum(len(name) + len(value) for name, value in kept.items()) <= 1024
    assert ledgers.client.memory_usage(key) <= 1024
    assert 0 < ledgers.client.pttl(key) <= keys.ANSWERED_PING_TTL_MS


def test_a_refused_event_is_answered_at_once_and_once(ledgers):
    """What no host can do is an error reply without any host (A 1.13)."""
    event = arrival(timeoutMillis=2000).event
    refusal = error("event-unknown", "what is that")
    assert ledgers.refuse(event, refusal) is Accepted.REFUSED
    assert ledgers.refuse(event, refusal) is Accepted.KNOWN
    assert ledgers.sent() == [(event.id, refusal)]
    ledgers.set_back(event.id, 2000)
    assert ledgers.refuse(event, refusal) is Accepted.ANSWERED
    assert ledgers.sent() == [(event.id, refusal)] * 2


def test_the_reply_echoes_nulls_and_all(ledgers, worker):
    """Type and id of the resource come back as they came, absent ones as null."""
    for resource in (("volume", "1v3"), ("instanceInspect", None), (None, None)):
        one = arrival(resourceType=resource[0], resourceId=resource[1])
        answered(ledgers, worker, one)
        ledgers.outboxes.collect(HOST)
        fields = ledgers.client.xrevrange(keys.OUTCOMES, count=1)[0][1]
        bridge = ledgers.keyring.bridge
        envelope = opened_envelope(bridge, fields["envelope"], host_uuid=HOST)
        assert envelope.agent == "access"
        assert envelope.echo == {
            "id": one.event.id,
            "name": one.event.name,
            "replyTo": one.event.reply_to,
            "resourceType": resource[0],
            "resourceId": resource[1],
        }


# -- keys that nobody of ours wrote ----------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        keys.event(HOST, "e1"),
        keys.open_events(HOST),
        keys.fifo(HOST, "instanceHostMap:1i1"),
        QUEUE,
        keys.DUE,
        keys.HOSTS,
        keys.outbox(HOST),
    ],
)
def test_a_key_of_another_type_holds_up_no_event(ledgers, worker, key):
    """The key is removed, and the event is accepted, run and answered."""
    ledgers.client.geoadd(key, (1, 1, "x")) if key == QUEUE else ledgers.client.set(key, "x")
    assert offer(ledgers, arrival("e1", resourceId="1i1")) == [Accepted.QUEUED]
    assert worker.claim("e1").verdict is Verdict.CLAIMED
    assert worker.complete("e1", success({}))
    assert ledgers.sent() == [("e1", success({}))]


def test_an_event_that_redis_refuses_concerns_no_other(ledgers):
    """The others of a batch are recorded."""
    ledgers.refuse(Event(id="odd", name="x", reply_to="r"), error("a", "b"))
    # Time that is no number is unreadable, and treated as 0.
    ledgers.client.hset(keys.event(HOST, "odd"), "received_ms", "yesterday")
    answers = offer(ledgers, arrival("odd"), arrival())
    assert answers == [Accepted.ANSWERED, Accepted.QUEUED]
