"""What a sweeper decides about one event: pure, and never more than is safe."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowpoke.ledger.decisions import (
    IN_TRANSIT_MS,
    MOST_DEATHS,
    MOST_SENDS,
    NEXT_CHECK_FAR_MS,
    NEXT_CHECK_QUEUED_MS,
    OFFLINE_MARGIN_MS,
    OVERDUE_MS,
    UNREADABLE_MS,
    Seen,
    Step,
    decide,
    in_present_time,
    next_check_ms,
)
from cowpoke.ledger.entries import Entry
from cowpoke.offline import Offline
from cowpoke.version import CONTRACT_VERSION

NOW_MS = 1_000_000
FIFO = "cowpoke:fifo:h1:instanceHostMap:1ihm1"


def entry(**fields):
    """An event that was queued a minute ago and has a minute left."""
    defaults = {
        "event_id": "e1",
        "state": "queued",
        "name": "compute.instance.activate",
        "lane": "compute",
        "queue": "host.h1",
        "fifo": FIFO,
        "boot": "",
        "received_ms": NOW_MS - 60_000,
        "deadline_ms": NOW_MS + 60_000,
        "queued_ms": NOW_MS - 60_000,
        "retry_at_ms": 0,
        "sends": 1,
        "deaths": 0,
    }
    return Entry(**{**defaults, **fields})


def seen(**fields):
    """A host with one live process and an empty queue."""
    defaults = {
        "now_ms": NOW_MS,
        "redis_up_ms": 3_600_000,
        "boots": {"alive"},
        "known_dead": set(),
        "lanes": {"compute"},
        "oldest_queued_ms": {"host.h1": None},
        "fifo_heads": {},
    }
    return Seen(**{**defaults, **fields})


def step(an_entry, what=None):
    """The step decided."""
    return decide(an_entry, what or seen()).step


def test_leaves_what_a_live_process_has():
    """A slow task is not run twice beside itself, however late it is."""
    assert step(entry(state="claimed", boot="alive", deadline_ms=NOW_MS - 1)) is Step.WAIT


def test_sends_again_what_a_dead_process_had():
    """The work of a dead process comes back."""
    assert step(entry(state="claimed", boot="dead")) is Step.RESEND


def test_drops_late_work_of_a_dead_process():
    """Nobody waits any more for what a dead process had."""
    assert step(entry(state="claimed", boot="dead", deadline_ms=NOW_MS)) is Step.EXPIRE


def test_answers_for_an_event_that_kills():
    """An event that ended too many processes is answered with an error."""
    decision = decide(entry(state="claimed", boot="dead", deaths=MOST_DEATHS - 1), seen())
    assert (decision.step, decision.code) == (Step.FAIL, "event-crashed-workers")
    assert str(MOST_DEATHS) in decision.message


def test_gives_an_event_that_killed_less_often_another_chance():
    """One death may be an accident."""
    assert step(entry(state="claimed", boot="dead", deaths=MOST_DEATHS - 2)) is Step.RESEND


def test_drops_what_a_live_process_has_kept_far_beyond_its_deadline():
    """Something is wrong with it: the next event for its resource must not wait for ever."""
    late = entry(state="claimed", boot="alive", deadline_ms=NOW_MS - OVERDUE_MS)
    decision = decide(late, seen())
    assert (decision.step, decision.is_overdue) == (Step.EXPIRE, True)


@pytest.mark.parametrize(
    ("head", "expected"), [("e0", Step.WAIT), ("e1", Step.RESEND), (None, Step.RESEND)]
)
def test_queues_a_recorded_event_when_its_turn_has_come(head, expected):
    """A recorded event waits for the one before it, and is queued when there is none."""
    waiting = entry(state="recorded")
    assert step(waiting, seen(fifo_heads={waiting.fifo: head})) is expected


def test_drops_a_recorded_event_that_is_late():
    """An event that waited for its turn past its deadline is dropped."""
    late = entry(state="recorded", deadline_ms=NOW_MS)
    assert step(late, seen(fifo_heads={late.fifo: "e0"})) is Step.EXPIRE


def test_waits_for_a_message_that_is_still_queued():
    """A long queue is not a loss."""
    assert step(entry(), seen(oldest_queued_ms={"host.h1": NOW_MS - 60_000})) is Step.WAIT


def test_waits_for_a_message_that_may_be_on_its_way():
    """Between queue and process a message is nowhere for a moment."""
    assert step(entry(queued_ms=NOW_MS - IN_TRANSIT_MS + 1)) is Step.WAIT


@pytest.mark.parametrize("oldest_ms", [None, NOW_MS - 10])
def test_sends_a_lost_message_again(oldest_ms):
    """A message that is neither queued nor claimed died on its way."""
    assert step(entry(), seen(oldest_queued_ms={"host.h1": oldest_ms})) is Step.RESEND


def test_drops_a_lost_message_that_is_late():
    """A message that died is not sent again when nobody waits for it."""
    assert step(entry(deadline_ms=NOW_MS)) is Step.EXPIRE


def test_waits_for_a_retry():
    """An event put back for later is in a worker's memory until then."""
    assert step(entry(retry_at_ms=NOW_MS - IN_TRANSIT_MS + 1)) is Step.WAIT
    assert step(entry(retry_at_ms=NOW_MS - IN_TRANSIT_MS)) is Step.RESEND


def test_answers_for_a_message_that_nobody_can_claim():
    """A message that dies again and again is answered with an error."""
    decision = decide(entry(sends=MOST_SENDS), seen())
    assert (decision.step, decision.code) == (Step.FAIL, "event-not-claimed")


@pytest.mark.parametrize("offline", Offline)
def test_host_without_worker_is_waited_for(offline):
    """A host that is away has until shortly before the deadline to come back."""
    left_ms = OFFLINE_MARGIN_MS + 1
    away = seen(lanes=set())
    assert step(entry(deadline_ms=NOW_MS + left_ms, offline=offline), away) is Step.WAIT


@pytest.mark.parametrize("state", ["queued", "recorded"])
@pytest.mark.parametrize("sends", [1, MOST_SENDS])
def test_replayed_event_of_an_absent_host_gets_no_answer(state, sends):
    """W 4: an error would be final for cattle; a timeout is replayed."""
    late = entry(state=state, sends=sends, deadline_ms=NOW_MS + 1, offline=Offline.EXPIRE)
    assert step(late, seen(lanes=set())) is Step.WAIT
    assert step(late, seen(lanes=set(), now_ms=NOW_MS + 1)) is Step.EXPIRE


def test_event_that_kills_processes_is_answered_though_its_host_is_absent():
    """W 4: cattle's replay of it would kill the next processes."""
    poison = entry(state="claimed", boot="dead", deaths=MOST_DEATHS - 1, offline=Offline.EXPIRE)
    assert decide(poison, seen(lanes=set())).code == "event-crashed-workers"


def test_first_starts_in_a_fifo_at_an_absent_host_are_answered_with_its_head():
    """Each of them has its own deadline, and a user who waits."""
    late_ms = NOW_MS + OFFLINE_MARGIN_MS - 1
    waiting = entry(state="recorded", deadline_ms=late_ms, offline=Offline.ERROR)
    offline = seen(lanes=set(), fifo_heads={waiting.fifo: "another"})
    decision = decide(waiting, offline)
    assert (decision.step, decision.code) == (Step.FAIL, "host-offline")


def test_first_start_at_an_absent_host_is_answered():
    """W 4: shortly before the deadline the user is told that the host is offline."""
    first = entry(deadline_ms=NOW_MS + OFFLINE_MARGIN_MS, offline=Offline.ERROR)
    decision = decide(first, seen(lanes={"control"}))
    assert (decision.step, decision.code) == (Step.FAIL, "host-offline")


def test_first_start_is_not_answered_while_leases_are_missing_after_an_outage_of_redis():
    """W 4: workers that live have no lease yet; the error would be false, and final."""
    first = entry(deadline_ms=NOW_MS + OFFLINE_MARGIN_MS, offline=Offline.ERROR)
    assert step(first, seen(lanes=set(), redis_up_ms=1_000)) is Step.WAIT


def test_short_call_has_most_of_its_time():
    """A call of 2 s is not refused as soon as it comes."""
    short = {"received_ms": NOW_MS, "deadline_ms": NOW_MS + 2000, "queued_ms": NOW_MS}
    first = entry(**short, offline=Offline.ERROR)
    assert step(first, seen(lanes=set())) is Step.WAIT
    assert step(first, seen(lanes=set(), now_ms=NOW_MS + 1500)) is Step.FAIL


@pytest.mark.parametrize("offline", Offline)
def test_event_past_its_deadline_at_an_absent_host_is_dropped(offline):
    """After its deadline an event is dropped without an answer."""
    assert step(entry(deadline_ms=NOW_MS, offline=offline), seen(lanes=set())) is Step.EXPIRE


times_ms = st.integers(0, 2 * NOW_MS)
names = st.sampled_from(["alive", "dead", ""])
entries = st.builds(
    entry,
    state=st.sampled_from(["recorded", "queued", "claimed"]),
    lane=st.sampled_from(["compute", "control", "images"]),
    boot=names,
    received_ms=times_ms,
    deadline_ms=times_ms,
    queued_ms=times_ms,
    retry_at_ms=times_ms,
    sends=st.integers(0, 30),
    deaths=st.integers(0, 5),
    rejected_ms=st.just(0) | times_ms,
    version=st.integers(1, CONTRACT_VERSION + 1),
    offline=st.sampled_from(Offline),
)
sights = st.builds(
    seen,
    now_ms=times_ms,
    boots=st.sets(names),
    lanes=st.sets(st.sampled_from(["compute", "control", "images"])),
    oldest_queued_ms=st.dictionaries(st.just("host.h1"), st.none() | times_ms),
    fifo_heads=st.dictionaries(
        st.just(FIFO),
        st.none() | st.sampled_from(["e0", "e1"]),
    ),
)


@given(entries, sights)
def test_decides_about_everything(an_entry, a_sight):
    """No entry, however odd, stops the sweeper; failing always says why."""
    decision = decide(an_entry, a_sight)
    assert (decision.step is Step.FAIL) == bool(decision.code and decision.message)


@given(entries, sights)
def test_never_touches_what_a_live_process_has(an_entry, a_sight):
    """Whatever else is true: claimed by a live process means hands off, until it is overdue."""
    is_overdue = a_sight.now_ms >= an_entry.deadline_ms + OVERDUE_MS
    if an_entry.version > CONTRACT_VERSION or is_overdue:
        return
    if an_entry.state == "claimed" and an_entry.boot in a_sight.boots:
        assert decide(an_entry, a_sight).step is Step.WAIT


@given(entries, sights)
def test_never_drops_before_the_deadline(an_entry, a_sight):
    """An event is dropped only when nobody waits for it."""
    if decide(an_entry, a_sight).step is Step.EXPIRE:
        assert a_sight.now_ms >= an_entry.deadline_ms


def test_waits_after_redis_came_back_until_leases_can_be_renewed():
    """A Redis that was restarted knows no lease; the processes behind them may well live."""
    claimed = entry(state="claimed", boot="unknown")
    young = seen(redis_up_ms=1_000)
    assert step(claimed, young) is Step.WAIT
    assert step(claimed, seen(redis_up_ms=1_000, known_dead={"unknown"})) is Step.RESEND
    assert step(claimed) is Step.RESEND


def test_waits_for_a_worker_that_can_read_the_event():
    """A worker with the new keys may come, or cattle's own copy of a payload that was changed."""
    rejected = entry(rejected_ms=NOW_MS - UNREADABLE_MS + 1, queued_ms=NOW_MS, sends=2)
    assert step(rejected) is Step.WAIT


def test_answers_an_event_that_no_worker_can_read():
    """Whoever waits for it hears why, before cattle stops waiting."""
    for rejected in (
        entry(rejected_ms=NOW_MS - UNREADABLE_MS, queued_ms=NOW_MS),
        entry(rejected_ms=NOW_MS - 1, queued_ms=NOW_MS, deadline_ms=NOW_MS + OFFLINE_MARGIN_MS),
    ):
        decision = decide(rejected, seen())
        assert (decision.step, decision.code) == (Step.FAIL, "event-unreadable")


@pytest.mark.parametrize("state", ["recorded", "queued", "claimed", "of a later version"])
def test_event_of_a_later_version_is_left_to_bridges_that_know_it(state):
    """One of them may run; without any, whoever waits hears it before the deadline."""
    later = entry(state=state, version=CONTRACT_VERSION + 1)
    assert step(later) is Step.WAIT
    late = seen(now_ms=later.deadline_ms - OFFLINE_MARGIN_MS)
    decision = decide(later, late)
    assert (decision.step, decision.code) == (Step.FAIL, "event-unreadable")
    assert str(CONTRACT_VERSION + 1) in decision.message
    assert step(later, seen(now_ms=later.deadline_ms)) is Step.EXPIRE


@given(entries, sights)
def test_next_check_is_ahead_and_not_far(an_entry, a_sight):
    """A check in the past would be made again at once, for ever; one far ahead is a lost event."""
    ahead_ms = next_check_ms(an_entry, a_sight) - a_sight.now_ms
    assert 0 < ahead_ms <= NEXT_CHECK_FAR_MS


@given(entries, sights)
def test_deadline_is_looked_at_in_time(an_entry, a_sight):
    """An event whose deadline is ahead is looked at by then."""
    if an_entry.deadline_ms > a_sight.now_ms:
        assert next_check_ms(an_entry, a_sight) <= an_entry.deadline_ms


def test_lost_message_to_a_live_worker_is_noticed_in_seconds():
    """However long the event waits in the queue already: its message may be lost at any time."""
    old = entry(queued_ms=NOW_MS - 50_000)
    waits = seen(oldest_queued_ms={"host.h1": NOW_MS - 60_000})
    assert step(old, waits) is Step.WAIT
    assert next_check_ms(old, waits) - NOW_MS <= NEXT_CHECK_QUEUED_MS


def test_retry_is_looked_at_when_its_message_could_be_lost():
    """Before that there is nothing to see."""
    later = entry(retry_at_ms=NOW_MS + 9_000)
    assert next_check_ms(later, seen()) == NOW_MS + 9_000 + IN_TRANSIT_MS


@pytest.mark.parametrize("by_ms", [5 * 3_600_000, -5 * 3_600_000])
def test_event_of_before_a_jump_of_the_clock_is_seen_by_the_clock_of_now(by_ms):
    """W 28: all its times move together, and what is not set stays so."""
    one = entry(rejected_ms=NOW_MS - 5)
    moved = in_present_time(one, [NOW_MS + by_ms, NOW_MS])
    assert moved.deadline_ms == one.deadline_ms + by_ms
    assert moved.queued_ms == one.queued_ms + by_ms
    assert moved.rejected_ms == one.rejected_ms + by_ms
    assert moved.retry_at_ms == 0
    assert in_present_time(one, [NOW_MS]) == one
