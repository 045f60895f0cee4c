"""Progress moves an event's deadline, because cattle waits its whole timeout anew."""

import time

import pytest
from cowpoke.ledger.ledger import Verdict

from cowpoke import keys
from cowpoke.ledger.recovery import Sweeper
from cowpoke.outcomes import progress, success
from cowpoke.routes import Lane, queue_for
from simulator.rig.processes import wait_until
from tests.ledgers import HOST, accept, start_process

TIMEOUT_MS = 45_000


@pytest.fixture
def boot(client):
    """A live worker process."""
    return start_process(client)


def deadline_ms(client, event_id):
    """The deadline in the entry, which the index of open events must agree with."""
    (noted,) = client.hmget(keys.event(event_id), "deadline_ms")
    assert int(client.zscore(keys.open_events(HOST), event_id)) == int(noted)
    return int(noted)


def now_ms(client):
    """The time of the Redis server."""
    seconds, microseconds = client.time()
    return seconds * 1000 + microseconds // 1000


def test_progress_gives_the_event_its_whole_timeout_again(client, ledger, boot):
    """In the entry and in the index, and only while it is worked on (W 26)."""
    event_id = accept(ledger, remaining_ms=5_000, timeoutMillis=TIMEOUT_MS)
    take = ledger.take(event_id, boot)
    assert take.timeout_ms == TIMEOUT_MS
    before_ms = now_ms(client)
    assert deadline_ms(client, event_id) <= before_ms + 5_000
    assert ledger.progress(event_id, progress("Downloading", 5))
    after_ms = now_ms(client)
    moved_ms = deadline_ms(client, event_id)
    assert before_ms + TIMEOUT_MS <= moved_ms <= after_ms + TIMEOUT_MS
    assert ledger.settle(event_id, success({}))
    assert not ledger.progress(event_id, progress("too late"))
    assert client.zscore(keys.open_events(HOST), event_id) is None


def test_progress_never_shortens_a_deadline(client, ledger, boot):
    """The same id sent again may have moved it further (W 26)."""
    event_id = accept(ledger, remaining_ms=60_000, timeoutMillis=1_000)
    ledger.take(event_id, boot)
    before_ms = deadline_ms(client, event_id)
    ledger.progress(event_id, progress("Downloading", 5))
    assert deadline_ms(client, event_id) == before_ms


def test_event_with_progress_is_taken_again_after_its_first_deadline(client, ledger, boot):
    """A retry or a move to another lane after a long pull finds it open (W 26)."""
    event_id = accept(ledger, remaining_ms=300, timeoutMillis=TIMEOUT_MS)
    first = ledger.take(event_id, boot)
    ledger.progress(event_id, progress("Downloading", 5))
    ended_ms = now_ms(client) + first.remaining_ms
    wait_until(lambda: now_ms(client) > ended_ms, 10, "the first deadline to pass")
    lane = Lane.IMAGES
    assert ledger.release(event_id, boot, delay_ms=0, lane=lane, queue=queue_for(HOST, lane))
    start_process(client, "boot-2", "images")
    Sweeper(client, ledger).sweep(HOST)
    again = ledger.take(event_id, "boot-2")
    assert again.verdict is Verdict.TAKEN
    assert again.remaining_ms > TIMEOUT_MS - 20_000


def test_event_without_progress_expires(client, ledger, boot):
    """A silent call moves nothing (W 26)."""
    event_id = accept(ledger, remaining_ms=300, timeoutMillis=TIMEOUT_MS)
    ledger.take(event_id, boot)
    ledger.give_back(event_id, boot)
    began_s = time.monotonic()
    wait_until(lambda: time.monotonic() - began_s > 0.5, 10, "the deadline to pass")
    assert ledger.take(event_id, boot).verdict is Verdict.EXPIRED
