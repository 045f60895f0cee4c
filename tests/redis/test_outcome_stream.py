"""The stream of outcomes: each has one reader, and none is lost with its reader."""

import pytest

from cowpoke import keys
from cowpoke.envelopes import outcome_of
from cowpoke.ledger.outcome_stream import FORGET_AFTER_MS, GROUP, OutcomeStream
from cowpoke.outcomes import success
from tests.ledgers import accept, start_process


@pytest.fixture
def settle(client, ledger):
    """Settle so many events; the answer is their ids."""
    start_process(client)

    def settle_some(count):
        ids = [accept(ledger) for _ in range(count)]
        for event_id in ids:
            ledger.take(event_id, "boot-1")
            ledger.settle(event_id, success({"id": event_id}))
        return ids

    return settle_some


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


def test_a_delivery_has_what_its_reply_needs(settle, bridge, sealer):
    """The outcome, and what is echoed, come out as they went in."""
    (event_id,) = settle(1)
    (delivery,) = bridge("b1").read(10, 100)
    assert (delivery.event_id, delivery.agent, delivery.lane) == (event_id, "access", "compute")
    assert outcome_of(sealer, delivery.fields) == success({"id": event_id})
    assert not delivery.claimed


def test_outcomes_from_before_the_first_bridge_are_read(settle, bridge):
    """A bridge that comes later than the outcome finds it."""
    wanted = settle(3)
    assert ids(bridge("b1").read(10, 100)) == wanted


def test_two_bridges_share_the_outcomes(settle, bridge):
    """Each outcome goes to one of them."""
    first, second = bridge("b1"), bridge("b2")
    wanted = settle(10)
    found = ids(first.read(4, 100)) + ids(second.read(100, 100))
    assert sorted(found) == sorted(wanted)
    assert (first.read(10, 1), second.read(10, 1)) == ([], [])


def test_what_is_done_leaves_the_stream(client, settle, bridge):
    """Nothing remains of an outcome that cattle has."""
    settle(3)
    stream = bridge("b1")
    stream.done(ids_of_outcomes(stream.read(10, 100)))
    assert client.xlen(keys.OUTCOMES) == 0
    assert client.xpending(keys.OUTCOMES, GROUP)["pending"] == 0


def test_a_live_bridge_keeps_what_it_has(settle, bridge):
    """Nobody claims from a bridge that lives, however slow it is."""
    settle(3)
    bridge("b1").read(10, 100)
    assert bridge("b2").claim_from_dead(10) == []


def test_what_a_dead_bridge_had_is_claimed_once(settle, bridge):
    """Its outcomes go to one of the others, marked as possibly sent."""
    wanted = settle(5)
    dead = bridge("b1")
    dead.read(10, 100)
    dead.leave()
    second, third = bridge("b2"), bridge("b3")
    claimed = second.claim_from_dead(3)
    assert all(delivery.claimed for delivery in claimed)
    assert ids(claimed + third.claim_from_dead(10)) == wanted
    assert second.claim_from_dead(10) == []


def test_a_bridge_without_outcomes_is_forgotten_only_after_a_while(client, settle, bridge):
    """A bridge that lost its lease for a moment is still in the group when it comes back."""
    settle(1)
    quiet = bridge("b1")
    quiet.done(ids_of_outcomes(quiet.read(10, 100)))
    quiet.leave()
    other = bridge("b2")
    other.claim_from_dead(10)
    assert [row["name"] for row in client.xinfo_consumers(keys.OUTCOMES, GROUP)] == ["b1"]
    assert FORGET_AFTER_MS >= 10_000


def test_an_outcome_whose_delivery_was_lost_is_claimed(settle, bridge):
    """What Redis handed out over a connection that broke comes to the bridge all the same."""
    wanted = settle(3)
    stream = bridge("b1")
    in_hand = ids_of_outcomes(stream.read(1, 100))
    stream.read(10, 100)
    assert stream.claim_missed(in_hand, 10) == [], "they may be on their way"
    assert ids(bridge("b1", missed_after_ms=0).claim_missed(in_hand, 10)) == wanted[1:]


def test_an_unreadable_entry_stops_nobody(client, settle, bridge):
    """What cannot be a reply leaves the stream."""
    stream = bridge("b1")
    client.xadd(keys.OUTCOMES, {"strange": "entry"})
    client.xadd(keys.OUTCOMES, {"envelope": "{}", "kind": "x"})
    wanted = settle(1)
    assert ids(stream.read(10, 100)) == wanted
    assert client.xlen(keys.OUTCOMES) == 1


def test_a_stream_that_is_gone_is_made_again(client, settle, bridge):
    """After Redis came back empty, the group is made anew."""
    stream = bridge("b1")
    client.flushall()
    stream.set_up()
    wanted = settle(1)
    assert ids(stream.read(10, 100)) == wanted


def test_renewing_tells_the_time(client, bridge):
    """A bridge learns Redis's clock with its sign of life."""
    assert abs(bridge("b1").renew() - client.time()[0] * 1000) < 2000


@pytest.mark.parametrize("envelope", ["nonsense", "[]", "1", "null", "{}"])
def test_an_unreadable_entry_is_passed_over_and_gone(client, settle, bridge, envelope):
    """Whoever wrote it, it must not end one bridge after the other."""
    reader = bridge("b1")
    client.xadd(keys.OUTCOMES, {"envelope": envelope, "kind": "success", "content": "x"})
    wanted = settle(1)
    assert ids(reader.read(10, 100)) == wanted
    assert client.xlen(keys.OUTCOMES) == 1
