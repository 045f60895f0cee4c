"""What bridges write of events that are over: once, bounded, sealed, and told to all who listen."""

import asyncio

import pytest

from bridge.finished import Finished
from cowpoke import keys
from cowpoke.events import Event
from cowpoke.history import Ending, FinishedEvent, opened_finished, read_history, read_recent
from cowpoke.ledger.due import BridgeSweeper
from cowpoke.ledger.keeping import HistoryWriter
from cowpoke.ledger.outbox import STORY_BYTES
from cowpoke.ledger.outcome_stream import OutcomeStream
from cowpoke.ledger.states import Accepted
from cowpoke.ledger.stories import read_story
from cowpoke.outcomes import error, success
from cowpoke.routes import Lane
from cowpoke.seal import ClusterKeyring, SealBrokenError
from tests.ledgers import HOST, QUEUE, arrival
from tests.sending import bridge_out

INSTANCE = {
    "instanceHostMap": {
        "instance": {"id": 37, "name": "web-1", "data": {"fields": {"imageUuid": "docker:nginx:1"}}}
    }
}
FORCE_STOP = {
    "name": "compute.instance.force.stop",
    "replyTo": "compute.instance.force.stop.reply",
    "data": {"instanceForceStop": {"id": "4f1c2ab39d10aa"}},
}
PING = {"name": "ping", "resourceType": None, "resourceId": None}
OTHER_KEYS = ClusterKeyring("A" * 43 + "=")


@pytest.fixture
def worker(ledgers):
    """A live worker process."""
    return ledgers.start_process()


@pytest.fixture
def finish(client, keyring):
    """Send all there is to cattle; the events that were told of, in their order."""

    def send(outcomes, **options):
        async def run():
            told = []
            async with bridge_out(client, keyring, **options) as bridge:
                bridge.outbox.finished.subscribe(told.append)
                await bridge.until(lambda: len(told) >= outcomes)
                await bridge.until(lambda: not any(map(client.xlen, keys.OUTCOME_STREAMS)))
            return told

        return asyncio.run(run())

    return send


def kept(client, keyring):
    """The events in the history of the host; both ways to read it agree."""
    found = read_history(client, keyring, HOST)
    assert read_recent(client, keyring) == found
    return found


def over(ledgers):
    """Have a sweeper look at what is due; the events that it tells of."""
    ledgers.sweeper.sweep_due()
    return Finished().over(ledgers.sweeper.take_over(), ledgers.keyring)


def steps(event):
    """The words of its steps."""
    return [one.step for one in event.steps]


def test_success_with_its_times(client, keyring, ledgers, worker, finish):
    """The usual event: nothing but the stages and what it was about."""
    event_id = ledgers.accept(data=INSTANCE)
    claim = worker.claim(event_id)
    worker.complete(event_id, success({}))
    (told,) = finish(1)
    (event,) = kept(client, keyring)
    assert event == told
    assert (event.event_id, event.host_uuid, event.lane) == (event_id, HOST, Lane.COMPUTE)
    assert (event.name, event.outcome) == ("compute.instance.activate", Ending.SUCCESS)
    assert (event.summary, event.code, event.attempts) == ("web-1 (1i37) nginx:1", "", 1)
    assert event.resource.startswith("instanceHostMap:1ihm")
    assert event.result.startswith("started in")
    assert event.claimed_ms == event.first_claimed_ms == claim.claimed_ms
    assert 0 < event.received_ms <= event.claimed_ms <= event.ended_ms <= event.published_ms
    assert event.total_ms == event.queue_ms + event.run_ms + event.publish_ms
    assert steps(event) == ["received", "claimed", "answered", "published"]
    assert event.steps[1].detail == "w1.compute.1"
    assert event.unusual == ()
    # The hash and the stream of an event that runs straight through hold nothing more.
    assert client.hget(keys.event(HOST, event_id), "steps") is None


def test_entry_is_sealed_for_the_host_and_expires(client, keyring, ledgers, worker, finish):
    """Redis shows ids and nothing of the content; who lacks the key reads nothing."""
    event_id = ledgers.accept(data=INSTANCE)
    worker.claim(event_id)
    worker.complete(event_id, error("image-not-found", "no such image: secretive"))
    finish(1)
    ((entry, fields),) = client.xrange(keys.history(HOST))
    assert fields.keys() == {"id", "sealed"}
    assert "secretive" not in fields["sealed"]
    assert client.xrange(keys.RECENT)[0][1] == {"host": HOST, "id": event_id, "entry": entry}
    for key in (keys.history(HOST), keys.RECENT):
        assert 0 < client.pttl(key) <= keys.HISTORY_TTL_MS
    assert read_history(client, OTHER_KEYS, HOST) == read_recent(client, OTHER_KEYS) == []
    with pytest.raises(SealBrokenError):
        opened_finished(keyring.host(HOST), fields["sealed"], host_uuid="another")
    client.delete(keys.history(HOST))
    assert read_recent(client, keyring) == [], "a pointer to nothing is skipped"


def test_all_that_is_unusual_is_told(client, keyring, ledgers, worker, finish):
    """A retry with its code, a death, a resend, a second copy from cattle, then an error."""
    event_id = ledgers.accept(data=INSTANCE)
    worker.claim(event_id)
    worker.retry(event_id, delay_ms=0, lane=Lane.COMPUTE, queue=QUEUE, code="engine-busy")
    dead = ledgers.start_process("w2.compute.1")
    dead.claim(event_id)
    ledgers.end_process("w2.compute.1")
    ledgers.sweeper.sweep_host(HOST)
    ledgers.set_back(event_id, 2_000, "received_ms")
    ledgers.intake.accept([arrival(event_id, data=INSTANCE, timeoutMillis=2_000)])
    worker.claim(event_id)
    worker.complete(event_id, error("engine-refused", "the Engine says no"))
    finish(1)
    (event,) = kept(client, keyring)
    words = [(one.step, one.detail) for one in event.steps if one.step != "queued"]
    assert words == [
        ("received", ""),
        ("claimed", "w1.compute.1"),
        ("retry", "engine-busy"),
        ("claimed", "w2.compute.1"),
        ("died", ""),
        ("resend", "claimed"),
        ("received", ""),
        ("claimed", "w1.compute.1"),
        ("answered", "engine-refused"),
        ("published", ""),
    ]
    assert (event.outcome, event.code) == (Ending.ERROR, "engine-refused")
    assert (event.message, event.attempts, event.deaths) == ("the Engine says no", 3, 1)
    assert event.first_claimed_ms <= event.claimed_ms


def test_steps_are_bounded(client, keyring, ledgers, worker, finish):
    """Of an event that is tried hundreds of times, the first and the last tries are kept."""
    event_id = ledgers.accept()
    for number in range(300):
        worker.claim(event_id)
        code = f"reason-{number}"
        worker.retry(event_id, delay_ms=0, lane=Lane.COMPUTE, queue=QUEUE, code=code)
    assert len(client.hget(keys.event(HOST, event_id), "steps")) <= 4_000
    worker.claim(event_id)
    worker.complete(event_id, success({}))
    finish(1)
    (event,) = kept(client, keyring)
    reasons = [one.detail for one in event.steps if one.step == "retry"]
    assert (reasons[0], reasons[-1]) == ("reason-0", "reason-299")
    assert event.attempts == 301


def test_reply_that_cattle_refuses(client, keyring, ledgers, worker, finish):
    """It is told once, with what cattle said."""
    event_id = ledgers.accept()
    worker.claim(event_id)
    worker.complete(event_id, success({}))
    finish(1, status=422)
    (event,) = kept(client, keyring)
    assert (event.outcome, event.code) == (Ending.REFUSED, "reply-refused")
    assert "422" in event.message
    assert steps(event)[-2:] == ["answered", "refused"]
    assert (event.answer, event.steps[-2].detail) == ("success", "success")


def test_refused_at_once(client, keyring, ledgers, finish):
    """An event that no host can run has no worker and no claim."""
    later = Event(id="e-later", name="compute.new", reply_to="reply.1")
    assert ledgers.refuse(later, error("event-unknown", "what is that")) == "refused"
    finish(1)
    (event,) = kept(client, keyring)
    assert (event.code, event.attempts, event.claimed_ms) == ("event-unknown", 0, 0)
    assert steps(event) == ["received", "answered", "published"]


def test_answer_that_goes_out_again_is_no_second_end(client, keyring, ledgers, worker, finish):
    """Cattle asks for the same answer again."""
    event_id = ledgers.accept()
    worker.claim(event_id)
    worker.complete(event_id, success({}))
    finish(1)
    ledgers.set_back(event_id, 2_000, "received_ms")
    again = arrival(event_id, data=INSTANCE, timeoutMillis=2_000)
    assert ledgers.intake.accept([again]) == [Accepted.ANSWERED]
    other = ledgers.accept()
    worker.claim(other)
    worker.complete(other, success({}))
    finish(1)
    assert [one.event_id for one in kept(client, keyring)] == [other, event_id]


def test_expired_and_one_way_events_are_found_over(ledgers, worker):
    """No reply tells of them: the sweeper that finds them over does, once."""
    expired = ledgers.accept(data=INSTANCE)
    one_way = ledgers.accept(**FORCE_STOP)
    failed = ledgers.accept(**FORCE_STOP)
    for event_id, outcome in ((one_way, success({})), (failed, error("engine-refused", "no"))):
        worker.claim(event_id)
        worker.complete(event_id, outcome)
    ledgers.pass_time(61_000)
    # The first look expires it; whatever looks next finds it over.
    found = {one.event_id: one for one in [*over(ledgers), *over(ledgers)]}
    assert found.keys() == {expired, one_way, failed}
    assert (found[expired].outcome, found[expired].code) == (Ending.EXPIRED, "expired-queue")
    assert steps(found[expired]) == ["received", "expired"]
    assert found[expired].summary == "web-1 (1i37) nginx:1"
    assert (found[one_way].outcome, found[one_way].attempts) == (Ending.SUCCESS, 1)
    assert steps(found[one_way]) == ["received", "claimed", "answered"]
    assert (found[failed].outcome, found[failed].code) == (Ending.ERROR, "engine-refused")
    assert over(ledgers) == []


def test_another_bridge_does_not_tell_again(ledgers, worker, client, keyring):
    """Two bridges find the same event over."""
    event_id = ledgers.accept(**FORCE_STOP)
    worker.claim(event_id)
    worker.complete(event_id, success({}))
    other = BridgeSweeper(client, keyring, ledgers.clock)
    ledgers.pass_time(5_000)
    other.sweep_due()
    assert len(other.take_over()) == 1
    assert over(ledgers) == []


def test_events_that_were_found_over_are_kept(client, keyring, ledgers, worker):
    """The bridge writes what the sweeper found."""
    event_id = ledgers.accept(**FORCE_STOP)
    worker.claim(event_id)
    worker.complete(event_id, success({}))
    ledgers.pass_time(5_000)
    ledgers.sweeper.sweep_due()

    async def run():
        async with bridge_out(client, keyring) as bridge:
            await bridge.outbox.tell_over(ledgers.sweeper.take_over())

    asyncio.run(run())
    assert [one.event_id for one in kept(client, keyring)] == [event_id]


def test_entry_exists_once(client, keyring, ledgers, worker):
    """A bridge that got no answer acknowledges again; so does another one."""
    event_id = ledgers.accept()
    worker.claim(event_id)
    worker.complete(event_id, success({}))
    ledgers.sent()
    writer = HistoryWriter(client, keyring, 10)
    stream = OutcomeStream(client, "b1", history=writer)
    stream.set_up()
    (delivery,) = stream.read(10, 0)
    finished = {delivery.outcome_id: finished_event(event_id)}
    for _ in range(2):
        stream.done([delivery.outcome_id], finished)
    assert [one.event_id for one in kept(client, keyring)] == [event_id]
    assert client.xlen(keys.OUTCOMES) == 0


def finished_event(event_id, host=HOST):
    """A finished event with nothing but what each has."""
    return FinishedEvent(
        event_id=event_id,
        name="compute.instance.activate",
        resource="instanceHostMap:1",
        summary="web-1",
        host_uuid=host,
        lane="compute",
        outcome=Ending.SUCCESS,
        received_ms=1,
    )


def test_history_is_bounded(client, keyring):
    """By host, and over all hosts."""
    writer = HistoryWriter(client, keyring, 50)
    writer.add([finished_event(f"e-{number}") for number in range(2_000)])
    # Redis removes whole nodes of a stream.
    assert 50 <= client.xlen(keys.history(HOST)) <= 150
    assert keys.RECENT_MOST <= client.xlen(keys.RECENT) <= keys.RECENT_MOST + 100
    assert read_history(client, keyring, HOST, 1)[0].event_id == "e-1999"
    HistoryWriter(client, keyring, 0).add([finished_event("none")])
    assert read_history(client, keyring, HOST, 1)[0].event_id == "e-1999"


def test_other_things_in_the_keys_hold_up_no_reply(client, keyring, ledgers, worker, finish):
    """A key of another type is nothing of ours."""
    client.set(keys.history(HOST), "x")
    client.set(keys.RECENT, "x")
    event_id = ledgers.accept()
    worker.claim(event_id)
    worker.complete(event_id, success({}))
    finish(1)
    assert [one.event_id for one in kept(client, keyring)] == [event_id]


def test_pings_are_told_and_kept_only_if_they_failed(client, keyring, ledgers, finish):
    """Of a host whose pings fail one a minute is kept."""
    worker = ledgers.start_process("w1.control.1")
    for outcome in (success({}), error("engine-unavailable", "no"), error("engine-busy", "no")):
        event_id = ledgers.accept(**PING)
        worker.claim(event_id)
        worker.complete(event_id, outcome)
    told = finish(3)
    assert [one.name for one in told] == ["ping"] * 3
    assert all(one.claimed_ms and one.published_ms for one in told)
    (event,) = kept(client, keyring)
    assert event.outcome is Ending.ERROR


@pytest.mark.parametrize(
    "story",
    ["", "x", "1 2 3", "- - - - - - -\n\n\n", "9" * 400, "1 2 3 4 5 6 boot\nnot a line\n7 b c"],
    ids=str,
)
def test_forged_stories_are_bounded(story):
    """A host can forge the stories of its own events; they are read as far as they can be."""
    found = read_story(story)
    assert len(found.steps) <= 1
    assert found.attempts in {0, 5}


def test_huge_story_is_not_passed_on(client, ledgers, worker):
    """A host fills its own outbox with it."""
    event_id = ledgers.accept()
    worker.claim(event_id)
    worker.complete(event_id, success({}))
    ((entry, fields),) = client.xrange(keys.outbox(HOST))
    client.xdel(keys.outbox(HOST), entry)
    client.xadd(keys.outbox(HOST), {**fields, "story": "x" * (STORY_BYTES + 1)})
    ledgers.sent()
    assert client.xrange(keys.OUTCOMES)[0][1]["story"] == ""
