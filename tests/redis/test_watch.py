"""Whether a lane leaves its queue lying, on a real Redis."""

import time

import pytest
from celery.worker import state

from simulator.rig.processes import wait_until
from worker.process.consumer import Watch
from worker.process.transport import Channel

QUEUE = "host.watched"
STUCK_AFTER_S = 0.2


@pytest.fixture(autouse=True)
def nothing_taken(monkeypatch):
    """The process has read no answer about its queue."""
    monkeypatch.setattr(Channel, "answered_s", None)


@pytest.fixture
def watch(client):
    """A watch that looks at a queue with one message for a moment already."""
    client.lpush(QUEUE, "a message")
    watched = Watch(client, QUEUE, 2, stuck_after_s=STUCK_AFTER_S)
    assert not watched.is_stuck()
    return watched


@pytest.fixture
def stopping():
    """A process that was told to stop."""
    state.should_stop = 0
    yield
    state.should_stop = None


def test_a_message_that_nobody_takes_is_noticed(watch):
    """C 32: slots are free, the queue is not, and nothing moves."""
    wait_until(watch.is_stuck, 5, "the lane to be stuck")


def test_a_lane_that_reads_answers_is_not_stuck(watch, monkeypatch):
    """It need not ask Redis for the message that lies there."""
    wait_until(watch.is_stuck, 5, "the lane to be stuck")
    monkeypatch.setattr(Channel, "answered_s", time.monotonic())
    assert not watch.is_stuck()


def test_a_queue_that_moves_is_not_stuck(client, watch):
    """However long it is."""
    for number in range(6):
        time.sleep(STUCK_AFTER_S / 4)
        client.rpop(QUEUE)
        client.lpush(QUEUE, f"message {number}")
        assert not watch.is_stuck()


def test_a_stopping_process_leaves_its_queue_to_others(stopping, watch):
    """C 38: what it finishes in its drain time is not killed for a message it does not take."""
    ends_s = time.monotonic() + 2 * STUCK_AFTER_S
    while time.monotonic() < ends_s:
        assert not watch.is_stuck()
        time.sleep(STUCK_AFTER_S / 10)


def test_an_outage_of_redis_does_not_count(watch):
    """Nothing could be taken meanwhile; the consumer gets its time after it."""
    wait_until(watch.is_stuck, 5, "the lane to be stuck")
    watch.start_anew()
    assert not watch.is_stuck()
