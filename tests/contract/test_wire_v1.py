"""Contract version 1: the current code and a program of version 1 understand each other.

`tests/fixtures/wire/v1` holds what the release with version 1 wrote to Redis, and a frozen reader
that stands for a program of that release. `docs/upgrade.md` has the rule.

What becomes of a later version is also held by
`tests/unit/cowpoke/test_sweeper_decision.py::test_event_of_a_later_version_is_left_to_bridges_that_know_it`,
`tests/unit/bridge/test_letters.py::test_outcome_of_a_later_version_is_left_to_a_later_bridge`,
`tests/redis/test_sweeper.py::test_an_event_that_no_worker_can_read_is_answered_in_time`,
`tests/redis/test_outbound.py` (`forge_later_version`: a dead letter, the true outcome is sent) and
`tests/faults/test_forgeries.py::test_payload_of_a_later_version_ends_with_an_error_in_bounded_time`.
"""

import json
import re
from contextlib import suppress
from typing import Any

import pytest

from bridge.agents.registry import Agents
from bridge.container_events.streams import ContainerEventStreams
from bridge.outbound.letters import Letters
from bridge.settings import AgentKeys
from cowpoke import dead_letters, keys
from cowpoke.broker import BrokerSettings, connect
from cowpoke.container_events import opened_container_event
from cowpoke.envelopes import (
    UnknownVersionError,
    opened_envelope,
    opened_event,
    opened_outcome,
)
from cowpoke.events import Event
from cowpoke.host_keys import check_keys, read_bridge_lease
from cowpoke.joined import handed_over
from cowpoke.lease import read_lease
from cowpoke.ledger.decisions import IN_TRANSIT_MS, OFFLINE_MARGIN_MS, Step
from cowpoke.ledger.outcome_stream import OutcomeStream
from cowpoke.ledger.states import Accepted, State, Verdict
from cowpoke.outcomes import Kind, Outcome
from cowpoke.routes import LANES
from cowpoke.seal import ClusterKeyring, SealBrokenError
from tests.fixtures.wire import record
from tests.fixtures.wire.record import BRIDGE, COMPUTE, CONTROL, EVENTS, QUEUE_KEY, WORKER
from tests.fixtures.wire.v1.reader import Reader, WireError
from tests.ledgers import HOST, QUEUE, Ledgers, arrival
from worker.process.received import task_message

RECORDED = record.load("v1")
KEYRING = ClusterKeyring(QUEUE_KEY)
SEALER = KEYRING.host(HOST)
#: When the events of the recording came.
RECEIVED_MS = int(RECORDED["queued"][keys.event(HOST, "activate-1")]["value"]["received_ms"])
SENT = [
    ("activate-1", record.PROGRESS),
    ("activate-1", record.SUCCESS),
    ("deactivate-1", record.ERROR),
    ("refused-1", record.REFUSAL),
    ("ping-1", record.PONG),
]


def with_unknown_keys(value: Any) -> Any:
    """Add a key to every object, sealed or not, but not to what others wrote."""
    if isinstance(value, str):
        for sealer in (SEALER, KEYRING.bridge):
            with suppress(SealBrokenError):
                return sealer.seal(with_unknown_keys(sealer.open(value)))
        return json.dumps(with_unknown_keys(json.loads(value))) if value[:1] == "{" else value
    if isinstance(value, list):
        return [with_unknown_keys(one) for one in value]
    if isinstance(value, dict):
        theirs = ("data", "inspect")
        more = {k: one if k in theirs else with_unknown_keys(one) for k, one in value.items()}
        return {**more, "color": "blue"}
    return value


def _of_next_release(moments: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {
            key: {**stored, "value": with_unknown_keys(stored["value"])}
            for key, stored in moment.items()
        }
        for name, moment in moments.items()
    }


@pytest.fixture(params=["as recorded", "with unknown keys"])
def moments(request):
    """The recording, and one of a later release of the same version."""
    return RECORDED if request.param == "as recorded" else _of_next_release(RECORDED)


@pytest.fixture
def client(redis_url):
    """A client as the programs have it."""
    with connect(BrokerSettings.model_validate({"REDIS_URL": redis_url})) as connected:
        yield connected


@pytest.fixture
def ledgers(client):
    """All sides of the ledger, with the keys of the recording."""
    return Ledgers(client, KEYRING)


def restore(ledgers: Ledgers, moment: dict[str, Any]) -> None:
    """Let a recorded moment be now."""
    record.restore(ledgers.client, moment)
    ledgers.pass_time(RECEIVED_MS - ledgers.clock.now_ms())


def event_of(event_id: str) -> Event:
    """Return an event of the recording."""
    return Event.model_validate({"id": event_id, **EVENTS[event_id]})


# A program of version 1 reads what the current code writes.


def test_program_of_version_1_reads_what_the_current_code_writes(client):
    """Every field that it needs is there and says the same as at the time of version 1."""
    for name, moment in record.scenario(client).items():
        now = Reader(QUEUE_KEY, HOST, moment).everything()
        then = Reader(QUEUE_KEY, HOST, RECORDED[name]).everything()
        assert set(then) == set(RECORDED[name])
        assert {key: now.get(key) for key in then} == then


def test_program_of_version_1_skips_unknown_keys():
    """The frozen reader stands for the code of its release, which does."""
    for name, moment in _of_next_release(RECORDED).items():
        if keys.host_keys(HOST) in moment:
            # An unknown field of this hash would be the note of another bridge.
            moment[keys.host_keys(HOST)] = RECORDED[name][keys.host_keys(HOST)]
        now = Reader(QUEUE_KEY, HOST, moment).everything()
        assert now == Reader(QUEUE_KEY, HOST, RECORDED[name]).everything()


@pytest.mark.parametrize("name", ["payload", "envelope", "message", "queue", "deaths", "v"])
def test_frozen_reader_misses_a_field(name):
    """It would see that the current code does not write a field any more."""
    moment = json.loads(json.dumps(RECORDED["queued"]))
    del moment[keys.event(HOST, "activate-1")]["value"][name]
    with pytest.raises((WireError, KeyError)):
        Reader(QUEUE_KEY, HOST, moment).everything()


def test_frozen_reader_uses_nothing_of_the_current_code():
    """Otherwise it would change together with the code."""
    text = (record.FOLDER / "v1" / "reader.py").read_text("utf-8")
    imported = set(re.findall(r"(?m)^\s*(?:from|import) (\w+)", text))
    assert imported & {"cowpoke", "bridge", "worker", "simulator", "tests"} == set()


# The current code reads what programs of version 1 wrote.


def test_recorded_event_is_run_and_answered(ledgers, moments):
    """A bridge of version 1 accepted it; the worker and the bridge that answers are current."""
    restore(ledgers, moments["queued"])
    worker = ledgers.worker(COMPUTE)
    claim = worker.claim("activate-1")
    assert (claim.verdict, claim.attempts) == (Verdict.CLAIMED, 1)
    assert 0 < claim.remaining_ms <= 60_000
    assert worker.open_event("activate-1", claim) == event_of("activate-1")
    assert worker.claim("deactivate-1").verdict is Verdict.WAITS
    deadline_ms = worker.progress("activate-1", record.PROGRESS)
    assert worker.complete("activate-1", record.SUCCESS, deadline_ms=deadline_ms)
    assert ledgers.state("deactivate-1") == State.QUEUED
    assert ledgers.sent() == SENT[:2]


def test_recorded_claim_holds_while_its_worker_lives(ledgers, moments):
    """A current sweeper and worker leave it alone, then continue when the lease is gone."""
    restore(ledgers, moments["claimed"])
    assert ledgers.worker("w2.compute.1").claim("activate-1").verdict is Verdict.BUSY
    assert ledgers.entries()["activate-1"].boot == COMPUTE
    ledgers.sweeper.sweep_host(HOST)
    assert ledgers.is_claimed_by("activate-1", COMPUTE)
    ledgers.end_process(COMPUTE)
    ledgers.start_process("w2.compute.1")
    ledgers.sweeper.sweep_host(HOST)
    assert ledgers.state("activate-1") == State.QUEUED
    assert ledgers.entries()["activate-1"].deaths == 1


def test_recorded_answer_answers_a_repeated_event(ledgers, moments):
    """A current bridge sends the outcome that a worker of version 1 stored."""
    restore(ledgers, moments["answered"])
    ledgers.pass_time(45_000)
    (became,) = ledgers.intake.accept([arrival("activate-1", **EVENTS["activate-1"])])
    assert became is Accepted.ANSWERED
    assert sorted(map(str, ledgers.sent())) == sorted(map(str, [*SENT, SENT[1]]))
    rejected = ledgers.entries()["delegate-1"]
    assert (rejected.state, rejected.rejected_ms > 0) == (State.QUEUED, True)


def test_recorded_outcomes_are_read_by_a_bridge(client, moments):
    """A bridge of version 1 collected them; the one that sends them is current."""
    record.restore(client, moments["collected"])
    letters = Letters(KEYRING, Agents([AgentKeys(access_key="access", secret_key="s")]))
    found = []
    for key in keys.OUTCOME_STREAMS:
        stream = OutcomeStream(client, "bridge-2", key=key)
        stream.set_up()
        found += [letters.opened(one) for one in stream.read(10, 0)]
    assert [(one.event_id, one.outcome()) for one in found] == SENT
    assert {one.agent.access_key for one in found} == {"access"}
    assert [one.is_pong for one in found] == [False] * 4 + [True]
    assert found[0].envelope.echo["name"] == EVENTS["activate-1"]["name"]
    assert found[0].deadline_ms > record.FAR_MS
    assert found[1].claimed_ms() > 0


def test_recorded_envelope_of_a_delegated_event_is_read(moments):
    """Its reply quotes two events."""
    fields = moments["answered"][keys.event(HOST, "delegate-1")]["value"]
    envelope = opened_envelope(KEYRING.bridge, fields["envelope"], host_uuid=HOST)
    assert (envelope.event_id, envelope.agent) == ("delegate-1", "access")
    assert envelope.echo["inner"]["id"] == "inner-1"


def test_recorded_leases_and_key_notes_are_read(client, ledgers, moments):
    """Programs of both releases know of each other's life and keys."""
    record.restore(client, moments["queued"])
    assert ledgers.leases.of_host(HOST, SEALER) == {WORKER: record.worker_lease(KEYRING)}
    assert ledgers.leases.names(HOST, WORKER, CONTROL)
    found = check_keys(client, HOST, SEALER)
    assert (found.mismatch, found.opened_by_bridges) == (None, SEALER.fingerprints)
    text = client.get(keys.bridge(BRIDGE))
    assert read_bridge_lease(text, KEYRING, bridge_id=BRIDGE) == KEYRING.fingerprints


def test_recorded_note_of_a_host_that_joined_is_read(client, moments):
    """A host joined with version 1; the bridge that serves it is current."""
    record.restore(client, moments["joined"])
    assert handed_over(client, SEALER, HOST) == record.JOINED


def test_recorded_container_event_is_read_by_a_bridge(client, moments):
    """A worker of version 1 reported it; the bridge that POSTs it is current."""
    record.restore(client, moments["reported"])
    (entry,) = ContainerEventStreams(client, BRIDGE).step(HOST)
    assert opened_container_event(SEALER, entry.text, host_uuid=HOST) == record.REPORT


@pytest.mark.parametrize(
    ("queue", "event_ids"),
    [(QUEUE, ["delegate-1", "activate-1"]), (f"{QUEUE}.control", ["ping-1"])],
)
def test_recorded_messages_are_read_by_a_lane(moments, queue, event_ids):
    """They name the event and the task."""
    texts = moments["queued"][queue]["value"]
    read = [task_message(text.encode(), queue=queue, names=LANES) for text in texts]
    assert [one["headers"]["id"] for one in read] == event_ids
    assert [one["headers"]["task"] for one in read] == [
        event_of(event_id).base_name for event_id in event_ids
    ]


def test_recorded_dead_letters_are_shown(client, moments):
    """Those of a host and those of bridges."""
    record.restore(client, moments["collected"])
    for key in (keys.dead_letters(HOST), keys.BRIDGE_DEAD_LETTERS):
        (letter,) = dead_letters.read(client, key)
        assert (letter.where, letter.reason) == ("a key", "it is not JSON")


# What is missing has a default.


def test_missing_counter_is_0(ledgers):
    """A hash without counters, and without a version, is that of version 1."""
    restore(ledgers, RECORDED["queued"])
    counters = "v", "attempts", "sends", "deaths", "retry_at_ms", "queued_ms", "received_ms"
    ledgers.client.hdel(keys.event(HOST, "delegate-1"), *counters)
    entry = ledgers.entries()["delegate-1"]
    assert (entry.version, entry.sends, entry.deaths, entry.retry_at_ms) == (1, 0, 0, 0)
    worker = ledgers.worker(COMPUTE)
    claim = worker.claim("delegate-1")
    assert (claim.verdict, claim.attempts) == (Verdict.CLAIMED, 1)
    assert worker.complete("delegate-1", record.SUCCESS)


def test_missing_parts_of_sealed_objects_have_defaults():
    """Only what an object cannot do without must be there."""
    outcome = SEALER.seal({"v": 1, "event_id": "e", "kind": "success"})
    opened = opened_outcome(SEALER, outcome, event_id="e", kind="success")
    assert opened.outcome == Outcome(kind=Kind.SUCCESS)
    assert (opened.deadline_ms, opened.claimed_ms) == (0, 0)
    payload = SEALER.seal({"v": 1, "id": "e", "name": "ping", "host": HOST, "fresh_until_ms": 9})
    event = opened_event(SEALER, payload, event_id="e", host_uuid=HOST, now_ms=9)
    assert event == Event(id="e", name="ping")
    lanes = [{"lane": "compute", "boot": COMPUTE}]
    content = SEALER.seal({"worker": WORKER, "host": HOST, "lanes": lanes})
    lease = read_lease(json.dumps({"sealed": content}), SEALER, host_uuid=HOST, worker_id=WORKER)
    assert (lease.boot_ids, lease.events, lease.orphan_volumes) == ((COMPUTE,), (), 0)
    assert lease.lanes[0].consumes


# A later version is left to others, for a bounded time.


def _later(sealer: Any, text: str) -> str:
    return sealer.seal({**sealer.open(text), "v": 2, "color": "blue"})


def test_sealed_objects_of_a_later_version_are_left_to_others():
    """Nothing is read into them; the reason says which version they have."""
    fields = RECORDED["queued"][keys.event(HOST, "activate-1")]["value"]
    final = RECORDED["answered"][keys.event(HOST, "activate-1")]["value"]["final"]
    id_and_host = {"event_id": "activate-1", "host_uuid": HOST}
    with pytest.raises(UnknownVersionError, match="contract version 2"):
        opened_event(SEALER, _later(SEALER, fields["payload"]), now_ms=RECEIVED_MS, **id_and_host)
    with pytest.raises(UnknownVersionError, match="contract version 2"):
        opened_envelope(KEYRING.bridge, _later(KEYRING.bridge, fields["envelope"]), host_uuid=HOST)
    with pytest.raises(UnknownVersionError, match="contract version 2"):
        opened_outcome(SEALER, _later(SEALER, final), event_id="activate-1", kind="success")


@pytest.mark.parametrize("state", [State.QUEUED, "of a later version"])
def test_entry_of_a_later_version_is_answered_before_its_deadline(ledgers, state):
    """A bridge of version 1 does nothing about it until shortly before the deadline."""
    restore(ledgers, RECORDED["queued"])
    ledgers.client.delete(QUEUE)
    ledgers.client.hset(
        keys.event(HOST, "delegate-1"), mapping={"v": 2, "state": state, "color": "blue"}
    )
    ledgers.pass_time(2 * IN_TRANSIT_MS)
    assert ledgers.entries()["delegate-1"].version == 2
    ledgers.sweeper.sweep_host(HOST)
    assert ledgers.state("delegate-1") == state
    ledgers.pass_time(60_000 - 2 * IN_TRANSIT_MS - OFFLINE_MARGIN_MS + 500)
    assert ledgers.sweeper.sweep_host(HOST)[Step.FAIL] >= 1
    codes = {event_id: outcome.code for event_id, outcome in ledgers.sent()}
    assert codes["delegate-1"] == "event-unreadable"


def test_lease_note_and_message_of_a_later_version_are_read(client, ledgers):
    """Their known keys keep their meaning in every version: they say who can read the rest."""
    record.restore(client, RECORDED["queued"])
    key = keys.lease(HOST, WORKER)
    outside = json.loads(client.get(key))
    client.set(key, json.dumps({**outside, "v": 2, "sealed": _later(SEALER, outside["sealed"])}))
    note = client.hget(keys.host_keys(HOST), BRIDGE)
    client.hset(keys.host_keys(HOST), BRIDGE, _later(SEALER, note))
    assert set(ledgers.leases.of_host(HOST, SEALER)) == {WORKER}
    assert check_keys(client, HOST, SEALER).mismatch is None
    message = json.loads(client.rpop(QUEUE))
    message["headers"]["v"] = 2
    read = task_message(json.dumps(message).encode(), queue=QUEUE, names=LANES)
    assert read["headers"]["id"] == "activate-1"
