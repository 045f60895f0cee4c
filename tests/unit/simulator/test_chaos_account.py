"""What counts as lost in a chaos run, and what may be excused."""

import pytest

from simulator.chaos.account import Account
from simulator.chaos.faults import ENGINE, Broken, Outage, worker_part
from simulator.chaos.ledger_states import Fate, LedgerState


def record(**changes):
    """A cattle record of one event, sent at 0 with 30 s to be answered."""
    return {
        "id": "e-1",
        "name": "compute.instance.activate",
        "agent": "1a5",
        "state": "success",
        "sent_ms": [0.0],
        "sockets": 2,
        "timeout_ms": 30_000.0,
        "retry_of": None,
        "retried_as": None,
        "replies": [],
        "duplicates": [],
        **changes,
    }


def counted(records, *outages):
    """The account of these records after these outages (part, from s, until s)."""
    account = Account()
    for part, from_s, until_s in outages:
        outage = Outage(part=part, from_ms=from_s * 1000, until_ms=until_s * 1000)
        account.broken.append(Broken(name="x", recovery_s=0.0, outages=(outage,)))
    account.count(records, {"1a5": "agent-0"})
    return account


EXPIRED = record(state="timeout", retried_as="e-2")
AGAIN = record(id="e-2", retry_of="e-1")


@pytest.mark.parametrize(
    ("outage", "lost"),
    [
        ((ENGINE, 1, 20), 0),
        ((worker_part("agent-0"), 1, 20), 0),
        ((ENGINE, 1, 10), 1),
        ((worker_part("agent-1"), 1, 20), 1),
        ((ENGINE, -20, -1), 1),
        ((ENGINE, 31, 40), 1),
    ],
    ids=["away to the end", "own workers", "back in time", "another host", "before", "after"],
)
def test_an_unanswered_event_is_excused_only_by_what_it_needed(outage, lost):
    """Expired when a part it needs was away until shortly before its deadline, lost otherwise."""
    account = counted([EXPIRED, AGAIN], outage)
    assert (len(account.lost), account.expired) == (lost, 1 - lost)
    assert account.is_good == (not lost)


def state(name, expired_in="", *, over_ms=30_000, queued_ms=20_000):
    """The ledger's entry of an event whose deadline was at 30 s."""
    return LedgerState(
        state=name,
        expired_in=expired_in,
        deadline_ms=30_000,
        queued_ms=queued_ms,
        over_ms=over_ms,
    )


@pytest.mark.parametrize(
    ("seen", "fate"),
    [
        (state("expired", "queue"), Fate.STARVED),
        (state("expired", "recorded"), Fate.STARVED),
        (state("expired", "worker"), Fate.STARVED),
        (state("expired", "transit"), Fate.STARVED),
        (state("expired", "transit", queued_ms=1_000), Fate.LOST),
        (state("expired", "claimed", queued_ms=1_000), Fate.LOST),
        (state("answered", over_ms=31_000), Fate.STARVED),
        (state("answered", over_ms=2_000), Fate.LOST),
        (state("queued", over_ms=0), Fate.LOST),
        (state("recorded", over_ms=0), Fate.LOST),
        (state("claimed", over_ms=0), Fate.LOST),
        (state(""), Fate.LOST),
    ],
)
def test_ledger_tells_an_expired_event_from_a_lost_one(seen, fate):
    """W 39: what waited or was worked on until its deadline starved, what was forgotten is lost."""
    assert seen.fate is fate
    account = Account(ledger={"e-1": seen})
    account.count([EXPIRED, AGAIN], {"1a5": "agent-0"})
    starved = fate is Fate.STARVED
    assert (account.starved.total(), len(account.lost)) == (starved, not starved)
    assert account.is_good == starved


def test_event_with_a_late_reply_is_not_lost():
    """W 39: the answer was made and sent, after cattle's patience."""
    late = {"kind": "late", "received_ms": 40_000.0, "event": {"id": "r-1"}}
    account = Account(ledger={"e-1": state("answered", over_ms=2_000)})
    account.count([{**EXPIRED, "replies": [late]}, AGAIN], {"1a5": "agent-0"})
    assert (account.lost, account.starved.total()) == ([], 1)
    assert "expired for want of time        1 (1 late)" in account.table()


def test_starved_call_without_any_answer_is_lost():
    """W 39: no want of time excuses a call that is never answered."""
    account = Account(ledger={"e-1": state("expired", "queue")})
    account.count([record(state="timeout")], {"1a5": "agent-0"})
    assert len(account.lost) == 1


def test_an_event_sent_into_a_cut_is_its_calls_business():
    """What cattle publishes while no websocket is open reaches nobody; the next event does."""
    account = counted([record(state="timeout", retried_as="e-2", sockets=0), AGAIN])
    assert (account.undelivered, account.lost) == (1, [])


def test_a_call_without_any_answer_is_lost_whatever_happened():
    """At the end all parts are well: cattle's last try must have been answered."""
    account = counted([record(state="waiting")], (ENGINE, 1, 29))
    assert len(account.lost) == 1


def test_two_answers_under_distinct_ids_are_a_failure():
    """The same reply twice is a lost 201; two different ones are two answers."""
    final, same, other = (
        {"kind": kind, "received_ms": 1.0, "event": {"id": reply_id}}
        for kind, reply_id in (("final", "r-1"), ("duplicate", "r-1"), ("duplicate", "r-2"))
    )
    twice = counted([record(replies=[final, same], duplicates=[same])])
    assert (twice.duplicates_same_id, twice.is_good) == (1, True)
    two = counted([record(replies=[final, other], duplicates=[other])])
    assert (two.duplicates_other_id, two.is_good) == (1, False)
