"""Progress moves an event's deadline, because cattle waits its whole timeout anew."""

import time

import pytest

from cowpoke import keys
from cowpoke.ledger.states import Verdict
from cowpoke.outcomes import progress, success
from cowpoke.routes import Lane, queue_for
from simulator.rig.processes import wait_until
from tests.ledgers import HOST

TIMEOUT_MS = 45_000


@pytest.fixture
def worker(ledgers):
    """A live worker process."""
    return ledgers.start_process()


def deadline_ms(client, event_id):
    """The deadline in the entry, which the index of open events must agree with."""
    (noted,) = client.hmget(keys.event(HOST, event_id), "deadline_ms")
    assert int(client.zscore(keys.open_events(HOST), event_id)) == int(noted)
    return int(noted)


def now_ms(client):
    """The time of the Redis server."""
    seconds, microseconds = client.time()
    return seconds * 1000 + microseconds // 1000


def test_progress_gives_the_event_its_whole_timeout_again(client, ledgers, worker):
    """In the entry and in the index, and only while it is worked on (W 26)."""
    event_id = ledgers.accept(remaining_ms=5_000, timeoutMillis=TIMEOUT_MS)
    claim = worker.claim(event_id)
    assert claim.timeout_ms == TIMEOUT_MS
    before_ms = now_ms(client)
    assert deadline_ms(client, event_id) <= before_ms + 5_000
    noted_ms = worker.progress(event_id, progress("Downloading", 5))
    after_ms = now_ms(client)
    moved_ms = deadline_ms(client, event_id)
    assert moved_ms == noted_ms
    assert before_ms + TIMEOUT_MS <= moved_ms <= after_ms + TIMEOUT_MS
    assert worker.complete(event_id, success({}))
    assert not worker.progress(event_id, progress("too late"))
    assert client.zscore(keys.open_events(HOST), event_id) is None


def test_progress_never_shortens_a_deadline(client, ledgers, worker):
    """The same id sent again may have moved it further (W 26)."""
    event_id = ledgers.accept(remaining_ms=60_000, timeoutMillis=1_000)
    worker.claim(event_id)
    before_ms = deadline_ms(client, event_id)
    worker.progress(event_id, progress("Downloading", 5))
    assert deadline_ms(client, event_id) == before_ms


def test_event_with_progress_is_claimed_again_after_its_first_deadline(client, ledgers, worker):
    """A retry or a move to another lane after a long pull finds it open (W 26)."""
    event_id = ledgers.accept(remaining_ms=300, timeoutMillis=TIMEOUT_MS)
    first = worker.claim(event_id)
    worker.progress(event_id, progress("Downloading", 5))
    ended_ms = now_ms(client) + first.remaining_ms
    wait_until(lambda: now_ms(client) > ended_ms, 10, "the first deadline to pass")
    lane = Lane.IMAGES
    assert worker.retry(event_id, delay_ms=0, lane=lane, queue=queue_for(HOST, lane))
    images = ledgers.start_process("w2.images.1")
    ledgers.sweeper.sweep_host(HOST)
    again = images.claim(event_id)
    assert again.verdict is Verdict.CLAIMED
    assert again.remaining_ms > TIMEOUT_MS - 20_000


def test_event_without_progress_expires(client, ledgers, worker):
    """A silent call moves nothing (W 26)."""
    event_id = ledgers.accept(remaining_ms=300, timeoutMillis=TIMEOUT_MS)
    worker.claim(event_id)
    worker.requeue(event_id)
    began_s = time.monotonic()
    wait_until(lambda: time.monotonic() - began_s > 0.5, 10, "the deadline to pass")
    assert worker.claim(event_id).verdict is Verdict.EXPIRED


def test_progress_keeps_the_entry_for_its_new_deadline(client, ledgers, worker):
    """Pulls that report again and again may take longer than an entry is kept (W 26)."""
    event_id = ledgers.accept(remaining_ms=60_000, timeoutMillis=TIMEOUT_MS)
    worker.claim(event_id)
    key = keys.event(HOST, event_id)
    fifo = client.hget(key, "fifo")
    for one in (key, fifo):
        client.pexpire(one, 1_000)
    ledgers.set_back(event_id, 50_000)
    worker.progress(event_id, progress("Downloading", 5))
    assert min(client.pttl(key), client.pttl(fifo)) > keys.OPEN_TTL_MS
