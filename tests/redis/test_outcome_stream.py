"""The stream of outcomes: each has one reader, and none is lost with its reader."""

import pytest

from cowpoke import dead_letters, keys
from cowpoke.envelopes import opened_envelope, opened_outcome
from cowpoke.ledger.outcome_stream import FORGET_AFTER_MS, GROUP, OutcomeStream
from cowpoke.outcomes import success
from tests.ledgers import HOST


@pytest.fixture
def complete(ledgers):
    """Complete so many events and collect their outcomes; the answer is their ids."""
    worker = ledgers.start_process()

    def complete_some(count):
        ids = [ledgers.accept() for _ in range(count)]
        for event_id in ids:
            worker.claim(event_id)
            worker.complete(event_id, success({"id": event_id}))
        while ledgers.outboxes.collect(HOST):
            pass
        return ids

    return complete_some


@pytest.fixture
def bridge(client):
    """A bridge's side of the stream, by its name; it lives for the time of a lease."""

    def named(name, **options):
        stream = OutcomeStream(client, name, **options)
        stream.set_up()
        return stream

    return named


def ids(deliveries):
    """The events that deliveries are about."""
    return [delivery.event_id for delivery in deliveries]


def ids_of_outcomes(deliveries):
    """The ids of deliveries in the stream."""
    return [delivery.outcome_id for delivery in deliveries]


def test_a_delivery_has_what_its_reply_needs(complete, bridge, keyring):
    """The outcome, and what is echoed, come out as they went in."""
    (event_id,) = complete(1)
    (delivery,) = bridge("b1").read(10, 100)
    assert (delivery.host_uuid, delivery.event_id, delivery.lane) == (HOST, event_id, "compute")
    envelope = opened_envelope(keyring.bridge, delivery.envelope, host_uuid=HOST)
    assert (envelope.event_id, envelope.agent) == (event_id, "access")
    opened = opened_outcome(
        keyring.host(HOST), delivery.content, event_id=event_id, kind=delivery.kind
    )
    assert opened.outcome == success({"id": event_id})
    assert not delivery.claimed


def test_outcomes_from_before_the_first_bridge_are_read(complete, bridge):
    """A bridge that comes later than the outcome finds it."""
    wanted = complete(3)
    assert ids(bridge("b1").read(10, 100)) == wanted


def test_two_bridges_share_the_outcomes(complete, bridge):
    """Each outcome goes to one of them."""
    first, second = bridge("b1"), bridge("b2")
    wanted = complete(10)
    found = ids(first.read(4, 100)) + ids(second.read(100, 100))
    assert sorted(found) == sorted(wanted)
    assert (first.read(10, 1), second.read(10, 1)) == ([], [])


def test_what_is_done_leaves_the_stream(client, complete, bridge):
    """Nothing remains of an outcome that cattle has."""
    complete(3)
    stream = bridge("b1")
    stream.done(ids_of_outcomes(stream.read(10, 100)))
    assert client.xlen(keys.OUTCOMES) == 0
    assert client.xpending(keys.OUTCOMES, GROUP)["pending"] == 0


def test_a_live_bridge_keeps_what_it_has(complete, bridge):
    """Nobody claims from a bridge that lives, however slow it is."""
    complete(3)
    bridge("b1").read(10, 100)
    assert bridge("b2").claim_from_dead(10) == []


def test_what_a_dead_bridge_had_is_claimed_once(complete, bridge):
    """Its outcomes go to one of the others, marked as possibly sent."""
    wanted = complete(5)
    dead = bridge("b1")
    dead.read(10, 100)
    dead.leave()
    second, third = bridge("b2"), bridge("b3")
    claimed = second.claim_from_dead(3)
    assert all(delivery.claimed for delivery in claimed)
    assert ids(claimed + third.claim_from_dead(10)) == wanted
    assert second.claim_from_dead(10) == []


def test_what_another_bridge_claimed_meanwhile_is_left_alone(complete, bridge, monkeypatch):
    """Two bridges that find the same dead one at once do not both send its outcomes."""
    wanted = complete(3)
    dead = bridge("b1")
    dead.read(10, 100)
    dead.leave()
    second, third = bridge("b2"), bridge("b3")
    listed, claimed = third._pending, []

    def list_slowly(*args):
        found = listed(*args)
        claimed.extend(second.claim_from_dead(2))
        return found

    monkeypatch.setattr(third, "_pending", list_slowly)
    found = third.claim_from_dead(10)
    assert ids(claimed + found) == wanted


def test_a_bridge_without_outcomes_is_forgotten_only_after_a_while(client, complete, bridge):
    """A bridge that lost its lease for a moment is still in the group when it comes back."""
    complete(1)
    quiet = bridge("b1")
    quiet.done(ids_of_outcomes(quiet.read(10, 100)))
    quiet.leave()
    other = bridge("b2")
    other.claim_from_dead(10)
    assert [row["name"] for row in client.xinfo_consumers(keys.OUTCOMES, GROUP)] == ["b1"]
    assert FORGET_AFTER_MS >= 10_000


def test_an_outcome_whose_delivery_was_lost_is_claimed(complete, bridge):
    """What Redis handed out over a connection that broke comes to the bridge all the same."""
    wanted = complete(3)
    stream = bridge("b1")
    in_hand = ids_of_outcomes(stream.read(1, 100))
    stream.read(10, 100)
    assert stream.claim_missed(in_hand, 10) == [], "they may be on their way"
    assert ids(bridge("b1", missed_after_ms=0).claim_missed(in_hand, 10)) == wanted[1:]


def test_an_unreadable_entry_stops_nobody(client, complete, bridge):
    """What cannot be a reply leaves the stream."""
    stream = bridge("b1")
    client.xadd(keys.OUTCOMES, {"strange": "entry"})
    client.xadd(keys.OUTCOMES, {"envelope": "{}", "kind": "x"})
    wanted = complete(1)
    assert ids(stream.read(10, 100)) == wanted
    assert client.xlen(keys.OUTCOMES) == 1


def test_a_stream_that_is_gone_is_made_again(client, complete, bridge):
    """After Redis came back empty, the group is made anew."""
    stream = bridge("b1")
    client.flushall()
    stream.set_up()
    wanted = complete(1)
    assert ids(stream.read(10, 100)) == wanted


FIELDS = ("host", "id", "lane", "kind", "envelope", "content")


@pytest.mark.parametrize("missing", FIELDS)
def test_an_entry_that_lacks_a_field_becomes_a_dead_letter(client, complete, bridge, missing):
    """Whoever wrote it, it must not end one bridge after the other, and a person can look at it."""
    reader = bridge("b1")
    client.xadd(keys.OUTCOMES, {name: "\udcff" for name in FIELDS if name != missing})
    wanted = complete(1)
    assert ids(reader.read(10, 100)) == wanted
    assert client.xlen(keys.OUTCOMES) == 1
    (letter,) = dead_letters.read(client, keys.BRIDGE_DEAD_LETTERS)
    assert letter.where.startswith(keys.OUTCOMES)


def test_bytes_that_are_no_text_are_read_like_any_others(client, complete, bridge):
    """One such outcome must not end the read of many; opening it is what fails."""
    reader = bridge("b1")
    client.xadd(keys.OUTCOMES, dict.fromkeys(FIELDS, b"\xff\xfe"))
    wanted = complete(1)
    assert ids(reader.read(10, 100)) == ["\udcff\udcfe", *wanted]


def test_outcome_left_to_others_is_claimed_by_each_that_has_not_tried_it(complete, bridge):
    """A bridge with other keys may read it; the one that could not does not get it at once."""
    wanted = complete(1)
    first, second = bridge("b1"), bridge("b2")
    (tried,) = first.read(10, 100)
    first.leave_to_others(tried.outcome_id)
    assert first.claim_from_dead(10, but={tried.outcome_id}) == []
    assert ids(second.claim_from_dead(10)) == wanted
    second.leave_to_others(tried.outcome_id)
    assert ids(first.claim_from_dead(10)) == wanted


def test_outcome_put_aside_is_a_dead_letter(client, complete, bridge):
    """It leaves the stream, and says why."""
    (event_id,) = complete(1)
    stream = bridge("b1")
    (delivery,) = stream.read(10, 100)
    stream.put_aside(delivery, f"the outcome of event {event_id} was not sealed with our keys")
    assert client.xlen(keys.OUTCOMES) == 0
    assert client.xpending(keys.OUTCOMES, GROUP)["pending"] == 0
    (letter,) = dead_letters.read(client, keys.BRIDGE_DEAD_LETTERS)
    assert event_id in letter.reason
