"""What a sweeper decides about one event: pure, and never more than is safe."""

import pytest
from cowpoke.ledger.ledger import Entry
from hypothesis import given
from hypothesis import strategies as st

from cowpoke.ledger.recovery import (
    IN_TRANSIT_MS,
    MOST_DEATHS,
    MOST_SENDS,
    OFFLINE_MARGIN_MS,
    Seen,
    Step,
    decide,
)
from cowpoke.offline import Offline

NOW_MS = 1_000_000


def entry(**fields):
    """An event that was queued a minute ago and has a minute left."""
    defaults = {
        "event_id": "e1",
        "state": "queued",
        "name": "compute.instance.activate",
        "lane": "compute",
        "queue": "host.h1",
        "line": "cowpoke:line:h1:instanceHostMap:1ihm1",
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
        "line_heads": {},
    }
    return Seen(**{**defaults, **fields})


def step(an_entry, what=None):
    """The step decided."""
    return decide(an_entry, what or seen()).step


def test_leaves_what_a_live_process_has():
    """A slow task is not run twice beside itself, however late it is."""
    assert step(entry(state="taken", boot="alive", deadline_ms=NOW_MS - 1)) is Step.WAIT


def test_sends_again_what_a_dead_process_had():
    """The work of a dead process comes back."""
    assert step(entry(state="taken", boot="dead")) is Step.RESEND


def test_drops_late_work_of_a_dead_process():
    """Nobody waits any more for what a dead process had."""
    assert step(entry(state="taken", boot="dead", deadline_ms=NOW_MS)) is Step.EXPIRE


def test_answers_for_an_event_that_kills():
    """An event that ended too many processes is answered with an error."""
    decision = decide(entry(state="taken", boot="dead", deaths=MOST_DEATHS - 1), seen())
    assert (decision.step, decision.code) == (Step.FAIL, "event-poisonous")
    assert str(MOST_DEATHS) in decision.message


def test_gives_an_event_that_killed_less_often_another_chance():
    """One death may be an accident."""
    assert step(entry(state="taken", boot="dead", deaths=MOST_DEATHS - 2)) is Step.RESEND


@pytest.mark.parametrize(
    ("head", "expected"), [("e0", Step.WAIT), ("e1", Step.RESEND), (None, Step.RESEND)]
)
def test_queues_a_recorded_event_when_its_turn_has_come(head, expected):
    """A recorded event waits for the one before it, and is queued when there is none."""
    waiting = entry(state="recorded")
    assert step(waiting, seen(line_heads={waiting.line: head})) is expected


def test_drops_a_recorded_event_that_is_late():
    """An event that waited for its turn past its deadline is dropped."""
    late = entry(state="recorded", deadline_ms=NOW_MS)
    assert step(late, seen(line_heads={late.line: "e0"})) is Step.EXPIRE


def test_waits_for_a_message_that_is_still_queued():
    """A long queue is not a loss."""
    assert step(entry(), seen(oldest_queued_ms={"host.h1": NOW_MS - 60_000})) is Step.WAIT


def test_waits_for_a_message_that_may_be_on_its_way():
    """Between queue and process a message is nowhere for a moment."""
    assert step(entry(queued_ms=NOW_MS - IN_TRANSIT_MS + 1)) is Step.WAIT


@pytest.mark.parametrize("oldest_ms", [None, NOW_MS - 10])
def test_sends_a_lost_message_again(oldest_ms):
    """A message that is neither queued nor taken died on its way."""
    assert step(entry(), seen(oldest_queued_ms={"host.h1": oldest_ms})) is Step.RESEND


def test_drops_a_lost_message_that_is_late():
    """A message that died is not sent again when nobody waits for it."""
    assert step(entry(deadline_ms=NOW_MS)) is Step.EXPIRE


def test_waits_for_a_retry():
    """An event put back for later is in a worker's memory until then."""
    assert step(entry(retry_at_ms=NOW_MS - IN_TRANSIT_MS + 1)) is Step.WAIT
    assert step(entry(retry_at_ms=NOW_MS - IN_TRANSIT_MS)) is Step.RESEND


def test_answers_for_a_message_that_nobody_can_take():
    """A message that dies again and again is answered with an error."""
    decision = decide(entry(sends=MOST_SENDS), seen())
    assert (decision.step, decision.code) == (Step.FAIL, "event-poisonous")


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
    poison = entry(state="taken", boot="dead", deaths=MOST_DEATHS - 1, offline=Offline.EXPIRE)
    assert decide(poison, seen(lanes=set())).code == "event-poisonous"


def test_first_starts_in_a_line_at_an_absent_host_are_answered_with_its_head():
    """Each of them has its own deadline, and a user who waits."""
    late_ms = NOW_MS + OFFLINE_MARGIN_MS - 1
    waiting = entry(state="recorded", deadline_ms=late_ms, offline=Offline.ERROR)
    offline = seen(lanes=set(), line_heads={waiting.line: "another"})
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
    state=st.sampled_from(["recorded", "queued", "taken"]),
    lane=st.sampled_from(["compute", "control", "images"]),
    boot=names,
    received_ms=times_ms,
    deadline_ms=times_ms,
    queued_ms=times_ms,
    retry_at_ms=times_ms,
    sends=st.integers(0, 30),
    deaths=st.integers(0, 5),
    offline=st.sampled_from(Offline),
)
sights = st.builds(
    seen,
    now_ms=times_ms,
    boots=st.sets(names),
    lanes=st.sets(st.sampled_from(["compute", "control", "images"])),
    oldest_queued_ms=st.dictionaries(st.just("host.h1"), st.none() | times_ms),
    line_heads=st.dictionaries(
        st.just("cowpoke:line:h1:instanceHostMap:1ihm1"),
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
    """Whatever else is true: taken by a live process means hands off."""
    if an_entry.state == "taken" and an_entry.boot in a_sight.boots:
        assert decide(an_entry, a_sight).step is Step.WAIT


@given(entries, sights)
def test_never_drops_before_the_deadline(an_entry, a_sight):
    """An event is dropped only when nobody waits for it."""
    if decide(an_entry, a_sight).step is Step.EXPIRE:
        assert a_sight.now_ms >= an_entry.deadline_ms


def test_waits_after_redis_came_back_until_leases_can_be_renewed():
    """A Redis that was restarted knows no lease; the processes behind them may well live."""
    taken = entry(state="taken", boot="unknown")
    young = seen(redis_up_ms=1_000)
    assert step(taken, young) is Step.WAIT
    assert step(taken, seen(redis_up_ms=1_000, known_dead={"unknown"})) is Step.RESEND
    assert step(taken) is Step.RESEND
