"""The ledger's promises, each against a real Redis."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from cowpoke.ledger.ledger import (
    Accepted,
    Ledger,
    State,
    Verdict,
)

from cowpoke import keys
from cowpoke.envelopes import REPLAY_WINDOW_MS, outcome_of
from cowpoke.events import Event
from cowpoke.liveness import Leases
from cowpoke.messages import event_id_of
from cowpoke.outcomes import error, progress, success
from cowpoke.routes import Lane
from cowpoke.seal import SealBrokenError, Sealer
from simulator.rig.processes import wait_until
from tests.ledgers import (
    HOST,
    accept,
    arrival,
    end_process,
    everything,
    is_taken_by,
    refuse,
    start_process,
)

QUEUE = f"host.{HOST}"


def state(client, event_id):
    """Where an event is."""
    return client.hget(keys.event(event_id), "state")


def queued(client, queue=QUEUE):
    """The ids of the events in a queue, the oldest first."""
    return [event_id_of(text) for text in reversed(client.lrange(queue, 0, -1))]


def sent(client, sealer):
    """Every outcome on its way to cattle, with the id of its event."""
    return [
        (json.loads(fields["envelope"])["id"], outcome_of(sealer, fields))
        for key in keys.OUTCOME_STREAMS
        for _, fields in client.xrange(key)
    ]


def time_passes(client, event_id, by_ms):
    """Move an event's times into the past, as if the clock had moved on."""
    for name in ("received_ms", "deadline_ms", "queued_ms"):
        client.hincrby(keys.event(event_id), name, -by_ms)


@pytest.fixture
def boot(client):
    """A worker process that is alive."""
    return start_process(client)


# -- accept ----------------------------------------------------------------------------------------


def test_an_event_is_recorded_and_queued_in_one_step(client, ledger):
    """What is accepted has an entry, a message in its queue and a place among the open events."""
    one = arrival()
    assert ledger.accept([one]) == [Accepted.QUEUED]
    assert queued(client) == [one.event.id]
    (entry,) = ledger.open_entries(HOST)
    assert (entry.event_id, entry.state, entry.name, entry.queue, entry.sends) == (
        one.event.id,
        State.QUEUED,
        one.event.name,
        QUEUE,
        1,
    )
    assert entry.deadline_ms == entry.received_ms + 60_000


def test_the_same_id_is_queued_once(client, ledger):
    """A second bridge that reads the same frame queues nothing."""
    one = arrival()
    assert [ledger.accept([one]) for _ in range(3)] == [
        [Accepted.QUEUED],
        [Accepted.KNOWN],
        [Accepted.KNOWN],
    ]
    assert queued(client) == [one.event.id]


def test_the_same_id_twice_in_one_batch_is_queued_once(client, ledger):
    """A server that sends a frame twice makes one task."""
    one = arrival()
    assert ledger.accept([one, one]) == [Accepted.QUEUED, Accepted.KNOWN]
    assert queued(client) == [one.event.id]


def test_the_same_ids_from_many_bridges_at_once_are_queued_once(client, ledger):
    """However many offer an event at the same moment, one of them queues it."""
    batch = [arrival() for _ in range(20)]
    ready = threading.Barrier(8)

    def offer(_):
        ready.wait()
        return ledger.accept(batch)

    with ThreadPoolExecutor(8) as bridges:
        results = [answer for answers in bridges.map(offer, range(8)) for answer in answers]
    assert results.count(Accepted.QUEUED) == 20
    assert results.count(Accepted.KNOWN) == 140
    assert sorted(queued(client)) == sorted(one.event.id for one in batch)


def test_the_same_id_again_moves_the_deadline(client, ledger):
    """A call of several sends waits from its last send on."""
    one = arrival(remaining_ms=2000)
    ledger.accept([one])
    time_passes(client, one.event.id, 1500)
    before = ledger.open_entries(HOST)[0].deadline_ms
    ledger.accept([one])
    after = ledger.open_entries(HOST)[0].deadline_ms
    assert 1500 <= after - before < 2000
    assert client.zscore(keys.open_events(HOST), one.event.id) == after


def test_the_same_id_with_less_time_left_does_not_shorten_it(ledger):
    """A bridge that was held up does not take time away from the event."""
    one = arrival()
    ledger.accept([one])
    before = ledger.open_entries(HOST)[0].deadline_ms
    ledger.accept([replace(one, remaining_ms=0)])
    assert ledger.open_entries(HOST)[0].deadline_ms == before


def test_an_expired_id_that_comes_again_begins_anew(client, ledger, boot):
    """A call of several sends is still waited for when its first send expired."""
    one = arrival(remaining_ms=0)
    ledger.accept([one])
    assert ledger.take(one.event.id, boot).verdict is Verdict.EXPIRED
    assert ledger.accept([one]) == [Accepted.KNOWN]
    assert ledger.accept([replace(one, remaining_ms=2000)]) == [Accepted.QUEUED]
    assert ledger.take(one.event.id, boot).verdict is Verdict.TAKEN


# -- lines -----------------------------------------------------------------------------------------


def test_events_of_one_resource_run_one_after_the_other(client, ledger, boot):
    """The next one is queued when the one before it is over, in their order (A 2.1, C 16)."""
    ids = [f"e{number}" for number in range(3)]
    batch = [arrival(event_id, resourceId="1ihm1") for event_id in ids]
    assert ledger.accept(batch) == [Accepted.QUEUED, Accepted.RECORDED, Accepted.RECORDED]
    for event_id, waiting in (("e0", ["e1"]), ("e1", ["e2"]), ("e2", [])):
        assert queued(client) == [event_id]
        client.rpop(QUEUE)
        assert ledger.take(event_id, boot).verdict is Verdict.TAKEN
        assert queued(client) == []
        assert ledger.settle(event_id, success({}))
        assert queued(client) == waiting


def test_a_line_goes_on_when_an_event_in_it_expires_or_fails(client, ledger):
    """Neither the first of a line nor one in its middle holds up the others when it is over."""
    batch = [arrival(f"e{number}", resourceId="1ihm1", remaining_ms=0) for number in range(3)]
    ledger.accept(batch)
    entries = {entry.event_id: entry for entry in ledger.open_entries(HOST)}
    assert ledger.fail(entries["e1"], error("a", "b"))
    assert ledger.expire(entries["e0"])
    assert queued(client) == ["e2"]


def test_a_line_forgets_events_that_redis_lost(client, ledger):
    """An id without an entry at the front of a line holds up nobody."""
    accept(ledger, "lost", resourceId="1ihm1")
    client.delete(keys.event("lost"))
    assert ledger.accept([arrival("next", resourceId="1ihm1")]) == [Accepted.QUEUED]


def test_events_of_different_resources_do_not_wait(ledger):
    """Lines are per resource."""
    assert ledger.accept([arrival(), arrival()]) == [Accepted.QUEUED, Accepted.QUEUED]


@pytest.mark.parametrize(
    "fields",
    [{"name": "ping", "resourceType": "agent", "resourceId": "1a5"}, {"resourceId": None}],
)
def test_pings_and_events_without_a_resource_do_not_wait(ledger, fields):
    """What touches no resource stands in no line."""
    assert ledger.accept([arrival(**fields), arrival(**fields)]) == [Accepted.QUEUED] * 2


# -- take ------------------------------------------------------------------------------------------


def test_a_taken_event_comes_with_its_content(ledger, boot):
    """The process that takes an event gets all of it, unsealed with its key."""
    one = arrival(data={"password": "hunter2"})
    ledger.accept([one])
    take = ledger.take(one.event.id, boot)
    assert (take.verdict, take.attempts) == (Verdict.TAKEN, 1)
    assert 0 < take.remaining_ms <= 60_000
    assert ledger.open_event(one.event.id, HOST, take) == one.event
    assert is_taken_by(ledger, one.event.id, boot)


def test_exactly_one_of_many_takes_an_event(client, ledger):
    """Copies of a message that run at the same moment end all but one."""
    event_id = accept(ledger)
    boots = [start_process(client, f"boot-{number}") for number in range(4)] * 4
    ready = threading.Barrier(16)

    def take(boot_id):
        ready.wait()
        return ledger.take(event_id, boot_id).verdict

    with ThreadPoolExecutor(16) as threads:
        verdicts = list(threads.map(take, boots))
    assert sorted(verdicts) == [Verdict.BUSY] * 15 + [Verdict.TAKEN]


def test_the_same_call_again_takes_it_still(ledger, boot):
    """A take whose answer was lost with a connection is asked again, and has it."""
    event_id = accept(ledger)
    first = ledger.take(event_id, boot, token="t1")
    again = ledger.take(event_id, boot, token="t1")
    assert (again.verdict, again.payload, again.attempts) == (Verdict.TAKEN, first.payload, 1)
    assert ledger.take(event_id, boot, token="t2").verdict is Verdict.BUSY


def test_an_event_of_a_dead_process_can_be_taken(client, ledger, boot):
    """A process without a lease has nothing any more."""
    event_id = accept(ledger)
    ledger.take(event_id, boot)
    end_process(client)
    other = start_process(client, "boot-2")
    assert ledger.take(event_id, other).attempts == 2
    assert ledger.open_entries(HOST)[0].deaths == 1


def test_a_late_event_is_dropped_when_it_is_taken(client, ledger, boot, sealer):
    """What waited past its deadline is not run, and nothing is answered."""
    event_id = accept(ledger, remaining_ms=0)
    assert ledger.take(event_id, boot).verdict is Verdict.EXPIRED
    assert ledger.take(event_id, boot).verdict is Verdict.OVER
    assert (sent(client, sealer), ledger.open_entries(HOST)) == ([], [])


def test_an_answered_event_cannot_be_taken(ledger, boot):
    """A second copy of the message finds the event over."""
    event_id = accept(ledger)
    ledger.take(event_id, boot)
    ledger.settle(event_id, success({}))
    assert ledger.take(event_id, boot).verdict is Verdict.OVER


def test_a_forged_message_finds_nothing(ledger, boot):
    """A message without an entry runs nothing (C 41)."""
    assert ledger.take("forged", boot).verdict is Verdict.GONE


def test_content_of_another_key_is_refused(client, ledger, boot):
    """A worker with the wrong key runs nothing of what it cannot read."""
    event_id = accept(ledger)
    take = ledger.take(event_id, boot)
    with pytest.raises(SealBrokenError):
        Ledger(client, Sealer()).open_event(event_id, HOST, take)


def test_the_payload_of_another_event_is_refused(client, ledger, boot):
    """C 41: sealed content that was moved to another event's entry runs nothing."""
    first, second = accept(ledger), accept(ledger)
    payload = client.hget(keys.event(first), "payload")
    client.hset(keys.event(second), "payload", payload)
    with pytest.raises(SealBrokenError):
        ledger.open_event(second, HOST, ledger.take(second, boot))


def test_the_payload_of_another_host_is_refused(ledger, boot):
    """C 41: an event that was moved into another host's queue runs nothing there."""
    event_id = accept(ledger)
    with pytest.raises(SealBrokenError, match="another host"):
        ledger.open_event(event_id, "host-2", ledger.take(event_id, boot))


def test_a_payload_of_long_ago_is_refused(ledger, client, sealer, boot):
    """C 41: who kept an entry of Redis and puts it back later runs nothing."""
    one = arrival()
    ledger.accept([one])
    take = ledger.take(one.event.id, boot)
    window_ms = one.event.timeout_ms + REPLAY_WINDOW_MS
    # One that knows only the time of the take.
    ledger = Ledger(client, sealer)
    in_time = replace(take, taken_ms=take.taken_ms + window_ms - 1000)
    assert ledger.open_event(one.event.id, HOST, in_time) == one.event
    late = replace(take, taken_ms=take.taken_ms + window_ms + 1000)
    with pytest.raises(SealBrokenError, match="too long ago"):
        ledger.open_event(one.event.id, HOST, late)


# -- release ---------------------------------------------------------------------------------------


def test_a_released_event_waits_for_its_retry(client, ledger, boot):
    """Put back for a retry, an event knows its new lane, its queue and when it comes."""
    event_id = accept(ledger)
    ledger.take(event_id, boot)
    assert ledger.release(event_id, boot, delay_ms=5000, lane=Lane.IMAGES, queue=f"{QUEUE}.images")
    (entry,) = ledger.open_entries(HOST)
    assert (entry.state, entry.boot, entry.lane, entry.queue) == (
        State.QUEUED,
        "",
        "images",
        f"{QUEUE}.images",
    )
    assert entry.retry_at_ms == entry.queued_ms + 5000
    assert ledger.take(event_id, boot).attempts == 2


def test_only_the_process_that_has_an_event_releases_it(client, ledger, boot):
    """A process that lost an event does not put it back for another."""
    event_id = accept(ledger)
    ledger.take(event_id, boot)
    other = start_process(client, "boot-2")
    assert not ledger.release(event_id, other, delay_ms=0, lane=Lane.COMPUTE, queue=QUEUE)
    assert is_taken_by(ledger, event_id, boot)


# -- settle and progress ---------------------------------------------------------------------------


def test_an_event_is_settled_once(client, ledger, boot, sealer):
    """The first final outcome is the only one."""
    event_id = accept(ledger)
    ledger.take(event_id, boot)
    outcomes = [success({"a": 1}), error("a", "b"), success({"a": 2})]
    assert [ledger.settle(event_id, outcome) for outcome in outcomes] == [True, False, False]
    assert sent(client, sealer) == [(event_id, success({"a": 1}))]
    assert state(client, event_id) == State.ANSWERED


def test_an_event_settled_from_many_sides_has_one_outcome(client, ledger, boot, sealer):
    """Outcomes that come at the same moment leave one."""
    event_id = accept(ledger)
    ledger.take(event_id, boot)
    ready = threading.Barrier(8)

    def settle(number):
        ready.wait()
        return ledger.settle(event_id, success({"number": number}))

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(settle, range(8))) == [False] * 7 + [True]
    assert len(sent(client, sealer)) == 1


def test_an_event_without_a_reply_address_is_settled_in_silence(client, ledger, boot, sealer):
    """Nobody waits, so nothing is sent; the event is over all the same (A 1.17)."""
    for fields in (
        {"replyTo": None},
        {"name": "compute.instance.force.stop", "replyTo": "compute.instance.force.stop.reply"},
    ):
        event_id = accept(ledger, **fields)
        ledger.take(event_id, boot)
        assert ledger.settle(event_id, success({}))
        assert state(client, event_id) == State.ANSWERED
    assert sent(client, sealer) == []


def test_progress_is_sent_while_an_event_is_worked_on_and_never_later(client, ledger, boot, sealer):
    """No progress before the event is taken, none after its final outcome."""
    event_id = accept(ledger)
    assert not ledger.progress(event_id, progress("too early"))
    ledger.take(event_id, boot)
    assert ledger.progress(event_id, progress("now", 50))
    ledger.settle(event_id, success({}))
    assert not ledger.progress(event_id, progress("too late"))
    assert [outcome for _, outcome in sent(client, sealer)] == [progress("now", 50), success({})]


def test_a_copy_of_a_settled_event_leaves_its_queue(client, ledger, boot):
    """A process taken for dead that settles after all takes the second copy back."""
    event_id = accept(ledger)
    client.rpop(QUEUE)
    ledger.take(event_id, boot)
    end_process(client)
    assert ledger.resend(ledger.open_entries(HOST)[0])
    assert queued(client) == [event_id]
    assert ledger.settle(event_id, success({}))
    assert queued(client) == []


def test_progress_of_a_bridge_is_seen_by_the_others(client, ledger, boot):
    """A bridge with the final outcome can wait for progress that others are sending."""
    leases = Leases(client)
    for bridge_id in ("b1", "b2"):
        leases.renew_bridge(bridge_id)
    event_id = accept(ledger)
    ledger.take(event_id, boot)
    assert ledger.begin_progress(event_id, "b1")
    assert ledger.begin_progress(event_id, "b2")
    assert not ledger.begin_progress("over", "b1")
    ledger.end_progress(event_id, "b1")
    assert ledger.progress_underway(event_id, "b1")
    assert not ledger.progress_underway(event_id, "b2")
    ledger.end_progress(event_id, "b2")
    assert not ledger.progress_underway(event_id, "b1")


def test_progress_of_a_dead_bridge_is_not_waited_for(client, ledger, boot):
    """What it was sending when it died holds up no final outcome."""
    event_id = accept(ledger)
    ledger.take(event_id, boot)
    assert ledger.begin_progress(event_id, "dead")
    assert not ledger.progress_underway(event_id, "b1")


def test_a_list_of_containers_is_current_until_an_activate_ends_well(client, ledger, boot):
    """A 14.12: cattle destroys what it knows and a list lacks, so an older list is none."""
    before, failed, started = (accept(ledger) for _ in range(3))
    ping = accept(ledger, name="ping")
    ledger.take(before, boot)
    ledger.settle(before, success({}))
    wait_until(lambda: redis_ms(client) > int(client.get(keys.started(HOST))), 5, "a later moment")
    ledger.take(ping, boot)
    ledger.settle(failed, error("a", "b"))
    assert ledger.list_is_current(ping)
    ledger.settle(started, success({}))
    assert not ledger.list_is_current(ping)
    assert not ledger.list_is_current("a ping that Redis lost")


# -- an id that comes again after its answer -------------------------------------------------------


def answered(client, ledger, one):
    """Answer an event."""
    ledger.accept([one])
    ledger.take(one.event.id, "boot-1")
    ledger.settle(one.event.id, success({"a": 1}))


def test_a_repeated_id_is_answered_from_the_ledger(client, ledger, boot, sealer):
    """A re-send of an answered event gets the stored reply again, and is not run again."""
    one = arrival()
    answered(client, ledger, one)
    client.delete(QUEUE)
    time_passes(client, one.event.id, 2000)
    assert ledger.accept([one]) == [Accepted.ANSWERED]
    assert sent(client, sealer) == [(one.event.id, success({"a": 1}))] * 2
    assert queued(client) == []


def test_the_same_frame_read_by_another_bridge_is_not_answered_twice(client, ledger, boot, sealer):
    """An event that is answered at once does not look repeated to the second bridge."""
    one = arrival()
    answered(client, ledger, one)
    assert ledger.accept([one]) == [Accepted.KNOWN]
    assert len(sent(client, sealer)) == 1


def test_a_refused_event_is_answered_at_once_and_once(client, ledger, sealer):
    """What no host can do is an error reply without any host (A 1.13)."""
    event = arrival().event
    refusal = error("event-unknown", "what is that")
    assert refuse(ledger, event, refusal) is Accepted.REFUSED
    assert refuse(ledger, event, refusal) is Accepted.KNOWN
    assert sent(client, sealer) == [(event.id, refusal)]
    time_passes(client, event.id, 2000)
    assert refuse(ledger, event, refusal) is Accepted.ANSWERED
    assert sent(client, sealer) == [(event.id, refusal)] * 2


def test_the_reply_echoes_nulls_and_all(client, ledger, boot):
    """Type and id of the resource come back as they came, absent ones as null."""
    for resource in (("volume", "1v3"), ("instanceInspect", None), (None, None)):
        one = arrival(resourceType=resource[0], resourceId=resource[1])
        answered(client, ledger, one)
        fields = client.xrevrange(keys.OUTCOMES, count=1)[0][1]
        assert json.loads(fields["envelope"]) == {
            "id": one.event.id,
            "name": one.event.name,
            "replyTo": one.event.reply_to,
            "resourceType": resource[0],
            "resourceId": resource[1],
        }


# -- steps of a sweeper: compared and set ----------------------------------------------------------


def test_a_lost_message_is_sent_again(client, ledger):
    """The same message goes into the same queue."""
    event_id = accept(ledger)
    client.delete(QUEUE)
    assert ledger.resend(ledger.open_entries(HOST)[0])
    assert queued(client) == [event_id]
    assert ledger.open_entries(HOST)[0].sends == 2


@pytest.mark.parametrize("step", ["resend", "expire", "fail"])
def test_a_sweeper_does_nothing_to_an_event_that_moved(client, ledger, boot, step):
    """What a worker took since the sweeper looked is left to it."""
    event_id = accept(ledger, remaining_ms=50)
    (seen,) = ledger.open_entries(HOST)
    ledger.take(event_id, boot)
    wait_until(lambda: redis_ms(client) > seen.deadline_ms, 5, "the deadline")
    do(ledger, step, seen)
    assert is_taken_by(ledger, event_id, boot)
    assert ledger.settle(event_id, success({}))


@pytest.mark.parametrize("step", ["resend", "expire", "fail"])
def test_a_sweeper_does_nothing_to_what_a_live_process_has(client, ledger, boot, step):
    """A lease that came back in time saves the work."""
    event_id = accept(ledger)
    ledger.take(event_id, boot)
    (seen,) = ledger.open_entries(HOST)
    assert not do(ledger, step, seen)
    assert is_taken_by(ledger, event_id, boot)


@pytest.mark.parametrize("step", ["resend", "expire", "fail"])
def test_a_sweepers_step_is_done_once(client, ledger, boot, step):
    """Several sweepers that saw the same do it once."""
    event_id = accept(ledger, remaining_ms=50)
    ledger.take(event_id, boot)
    end_process(client)
    (seen,) = ledger.open_entries(HOST)
    wait_until(lambda: redis_ms(client) > seen.deadline_ms, 5, "the deadline")
    assert [bool(do(ledger, step, seen)) for _ in range(2)] == [True, False]


def test_an_event_is_not_dropped_before_its_deadline(ledger):
    """A deadline that moved since the sweeper looked saves the event."""
    event_id = accept(ledger)
    (entry,) = ledger.open_entries(HOST)
    assert ledger.accept([arrival(event_id, remaining_ms=120_000)]) == [Accepted.KNOWN]
    assert not ledger.expire(entry)


def test_a_failed_event_leaves_its_queue(client, ledger, sealer):
    """The messages of a host that is away do not pile up."""
    event_id = accept(ledger)
    assert ledger.fail(ledger.open_entries(HOST)[0], error("host-offline", "away"))
    assert (queued(client), sent(client, sealer)) == (
        [],
        [(event_id, error("host-offline", "away"))],
    )


def do(ledger, step, entry):
    """One step of a sweeper."""
    return ledger.fail(entry, error("a", "b")) if step == "fail" else getattr(ledger, step)(entry)


def redis_ms(client):
    """The one clock all programs share."""
    seconds, microseconds = client.time()
    return seconds * 1000 + microseconds // 1000


def test_open_events_are_listed_by_deadline(client, ledger, boot):
    """What is over is not among them, what Redis lost is forgotten."""
    for name, remaining_ms in (("late", 9000), ("early", 1000), ("done", 5000), ("lost", 100)):
        accept(ledger, name, remaining_ms=remaining_ms)
    ledger.take("done", boot)
    ledger.settle("done", success({}))
    client.delete(keys.event("lost"))
    assert [entry.event_id for entry in ledger.open_entries(HOST)] == ["early", "late"]
    assert client.zrange(keys.open_events(HOST), 0, -1) == ["early", "late"]


# -- what lies in Redis ----------------------------------------------------------------------------

WITHOUT_TTL = (
    "cowpoke:open:",
    "cowpoke:hosts",
    "cowpoke:seen",
    "cowpoke:outcomes",
    "cowpoke:boots:",
    "host.",
)


def test_every_key_of_ours_has_a_lifetime(client, ledger, boot):
    """Nothing is for ever but what is documented as such, and that empties by itself (C 35)."""
    for number in range(3):
        accept(ledger, f"waiting-{number}", resourceId="1ihm1")
    accept(ledger, "taken")
    ledger.take("taken", boot)
    ledger.begin_progress("taken", "b1")
    for name, fields in (("answered", {}), ("ping", {"name": "ping"})):
        accept(ledger, name, **fields)
        ledger.take(name, boot)
        ledger.settle(name, success({}))
    accept(ledger, "expired", remaining_ms=0)
    ledger.take("expired", boot)
    refuse(ledger, Event(id="refused", name="x", reply_to="reply.1"), error("a", "b"))
    for key in client.scan_iter():
        assert key.startswith(WITHOUT_TTL) or client.pttl(key) > 0, key
    assert client.pttl(keys.event("ping")) <= keys.ANSWERED_PING_TTL_MS
    assert client.pttl(keys.event("answered")) > keys.ANSWERED_PING_TTL_MS


def test_nothing_is_left_of_what_is_over(client, ledger, boot):
    """When all events are answered and sent, only their short-lived entries remain (C 35)."""
    ids = [accept(ledger, resourceId="1ihm1") for _ in range(3)]
    for event_id in ids:
        ledger.take(event_id, boot)
        ledger.settle(event_id, success({}))
    client.delete(*keys.OUTCOME_STREAMS, QUEUE)
    assert client.pttl(keys.started(HOST)) <= keys.STARTED_TTL_MS
    client.delete(keys.started(HOST))
    left = {key for key in client.scan_iter() if not key.startswith(keys.EVENT_PREFIX)}
    assert left == {keys.HOSTS, keys.SEEN, keys.boots(HOST), keys.lease(boot)}


def test_no_payload_lies_in_redis_in_clear(client, ledger, boot):
    """A dump of Redis shows no password, of an event or of a reply, at any time."""
    seen = ""
    event_id = accept(ledger, data={"registryCredential": {"secretValue": "hunter2"}})
    seen += everything(client)
    ledger.take(event_id, boot)
    ledger.progress(event_id, progress("hunter2"))
    seen += everything(client)
    ledger.settle(event_id, success({"env": "hunter2"}))
    refuse(ledger, arrival().event, error("a", "hunter2"))
    seen += everything(client)
    assert event_id in seen
    assert "hunter2" not in seen


def test_it_works_after_redis_forgot_its_scripts(client, ledger):
    """A Redis that was restarted gets the script again, alone and in a batch (C 36)."""
    event_id = accept(ledger)
    client.script_flush()
    assert ledger.take(event_id, start_process(client)).verdict is Verdict.TAKEN
    client.script_flush()
    assert ledger.accept([arrival()]) == [Accepted.QUEUED]
