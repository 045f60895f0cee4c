"""Data of a later contract version is left to a newer program, then answered (docs/upgrade.md)."""

import json

import pytest

from cowpoke import keys
from cowpoke.envelopes import (
    UnknownVersionError,
    opened_envelope,
    opened_outcome,
    sealed_outcome,
)
from cowpoke.ledger.decisions import IN_TRANSIT_MS, OFFLINE_MARGIN_MS, UNREADABLE_MS, Step
from cowpoke.ledger.states import State
from cowpoke.outcomes import success
from cowpoke.version import CONTRACT_VERSION
from tests.ledgers import HOST, QUEUE

BOOT = "w1.compute.1"
LATER = CONTRACT_VERSION + 1
LOST_MS = IN_TRANSIT_MS + 500


@pytest.fixture
def worker(ledgers):
    """A worker process that is alive."""
    return ledgers.start_process(BOOT)


def of_later_version(sealer, text):
    """Sealed content as a later version might seal it."""
    return sealer.seal({**sealer.open(text), "v": LATER, "color": "blue"})


def sweep(ledgers):
    """A sweep, with a worker that lives."""
    ledgers.start_process(BOOT)
    return dict(ledgers.sweeper.sweep_host(HOST))


def test_payload_of_a_later_version_waits_for_a_newer_worker_and_ends_with_an_error(
    ledgers, worker
):
    """In bounded time; the error says what is wrong."""
    event_id = ledgers.accept(remaining_ms=600_000)
    key = keys.event(HOST, event_id)
    sealer = ledgers.keyring.host(HOST)
    later = of_later_version(sealer, ledgers.client.hget(key, "payload"))
    ledgers.client.hset(key, "payload", later)
    for _ in range(3):
        ledgers.client.delete(QUEUE)
        claim = worker.claim(event_id)
        with pytest.raises(UnknownVersionError, match="update"):
            worker.open_event(event_id, claim)
        worker.reject(event_id, delay_ms=3_000)
        assert sweep(ledgers) == {}
        ledgers.pass_time(3_000 + LOST_MS)
        assert sweep(ledgers) == {Step.RESEND: 1}
    ledgers.pass_time(UNREADABLE_MS)
    assert sweep(ledgers) == {Step.FAIL: 1}
    ((_, outcome),) = ledgers.sent()
    assert outcome.code == "event-unreadable"
    assert "later version" in outcome.message


def test_a_newer_worker_runs_what_an_older_one_rejected(ledgers, worker):
    """Both are on the host while it is updated."""
    event_id = ledgers.accept()
    ledgers.client.delete(QUEUE)
    worker.claim(event_id)
    worker.reject(event_id, delay_ms=0)
    ledgers.pass_time(LOST_MS)
    assert sweep(ledgers) == {Step.RESEND: 1}
    newer = ledgers.start_process("w2.compute.1")
    assert newer.open_event(event_id, newer.claim(event_id)).id == event_id
    assert newer.complete(event_id, success({}))


def test_entry_of_a_later_version_is_left_to_newer_bridges_and_ends_with_an_error(ledgers, worker):
    """Whatever its state may mean; shortly before its deadline nobody else has ended it."""
    event_id = ledgers.accept()
    key = keys.event(HOST, event_id)
    ledgers.client.hset(key, mapping={"v": LATER, "state": "paused", "color": "blue"})
    ledgers.client.delete(QUEUE)
    ledgers.pass_time(30_000)
    assert sweep(ledgers) == {}
    assert ledgers.state(event_id) == "paused"
    ledgers.pass_time(30_000 - OFFLINE_MARGIN_MS + 50)
    assert sweep(ledgers) == {Step.FAIL: 1}
    ((_, outcome),) = ledgers.sent()
    assert outcome.code == "event-unreadable"
    assert f"contract version {LATER}" in outcome.message


def test_due_entry_of_a_later_version_is_left_alone(ledgers, worker):
    """By the quick look, too, which skips what needs nothing."""
    event_id = ledgers.accept()
    ledgers.client.hset(keys.event(HOST, event_id), "v", LATER)
    ledgers.client.delete(QUEUE)
    ledgers.pass_time(LOST_MS)
    ledgers.start_process(BOOT)
    assert ledgers.sweeper.sweep_due()[0].get(HOST, {}) == {}
    assert ledgers.state(event_id) == State.QUEUED


def test_outcome_and_envelope_of_a_later_version_are_told_from_forgeries(ledgers):
    """A bridge leaves them to a newer one."""
    host, bridge = ledgers.keyring.host(HOST), ledgers.keyring.bridge
    content = of_later_version(host, sealed_outcome(host, "e1", success({})))
    with pytest.raises(UnknownVersionError):
        opened_outcome(host, content, event_id="e1", kind="success")
    with pytest.raises(UnknownVersionError):
        opened_envelope(bridge, bridge.seal({"v": LATER, "host": HOST}), host_uuid=HOST)


def test_message_of_a_later_version_names_its_event_all_the_same(ledgers):
    """What to make of the event depends on its payload."""
    event_id = ledgers.accept()
    message = json.loads(ledgers.client.lindex(QUEUE, 0))
    assert message["headers"]["v"] == CONTRACT_VERSION
    message["headers"] |= {"v": LATER, "color": "blue"}
    ledgers.client.lset(QUEUE, 0, json.dumps(message))
    assert ledgers.queued() == [event_id]
