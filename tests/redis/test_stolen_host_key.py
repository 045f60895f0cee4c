"""Who has the key of one host opens and forges nothing of another host, and nothing of bridges."""

import pytest
from cryptography.fernet import Fernet

from bridge.agents.registry import Agents
from bridge.outbound.letters import Letters, UnreadableOutcomeError
from bridge.settings import AgentKeys
from cowpoke import keys
from cowpoke.bridge_lease import BridgeLease, bridge_lease_text
from cowpoke.envelopes import Envelope, sealed_envelope, sealed_event, sealed_outcome
from cowpoke.events import Event
from cowpoke.host_keys import check_keys, leave_notes
from cowpoke.lease import lease_text
from cowpoke.ledger.execution import WorkerLedger
from cowpoke.ledger.outcome_stream import OutcomeStream
from cowpoke.liveness import Leases
from cowpoke.outcomes import success
from cowpoke.seal import ClusterKeyring, HostKeyring, SealBrokenError, host_key
from tests.ledgers import ACTIVATE, HOST, Ledgers, lease

VICTIM = "host-2"
BOOT = "w1.compute.1"


@pytest.fixture
def cluster_key():
    """QUEUE_KEY, which the thief does not have."""
    return Fernet.generate_key().decode()


@pytest.fixture
def ledgers(client, cluster_key):
    """What bridges and workers have."""
    return Ledgers(client, ClusterKeyring(cluster_key))


@pytest.fixture
def stolen(cluster_key):
    """All that the thief can seal and open with."""
    return HostKeyring(host_key(cluster_key, HOST)).host(VICTIM)


@pytest.fixture
def event_id(ledgers):
    """An open event of the other host."""
    return ledgers.accept(host=VICTIM)


@pytest.fixture
def post(ledgers, client):
    """Put an outcome where a bridge reads it, and open it as that bridge does."""
    stream = OutcomeStream(client, "b1")
    stream.set_up()
    agent = AgentKeys(access_key="access", secret_key="secret")
    letters = Letters(ledgers.keyring, Agents((agent,)))

    def put(host, **fields):
        entry = {"lane": "compute", "kind": "success", **fields}
        client.xadd(keys.outbox(host), entry)
        ledgers.outboxes.collect(host)
        (delivery,) = stream.read(1, 100)
        return letters.opened(delivery).outcome()

    return put


def test_true_outcome_is_opened(ledgers, client, event_id, post):
    """The way by which the others are refused."""
    envelope = client.hget(keys.event(VICTIM, event_id), "envelope")
    content = sealed_outcome(ledgers.keyring.host(VICTIM), event_id, success({"n": 1}))
    assert post(VICTIM, id=event_id, envelope=envelope, content=content).data == {"n": 1}


@pytest.mark.parametrize("where", [HOST, VICTIM])
def test_outcome_of_another_host_is_not_forged(client, stolen, event_id, post, where):
    """Neither in the thief's outbox nor in the other host's."""
    envelope = client.hget(keys.event(VICTIM, event_id), "envelope")
    content = sealed_outcome(stolen, event_id, success({"forged": True}))
    with pytest.raises(UnreadableOutcomeError):
        post(where, id=event_id, envelope=envelope, content=content)


@pytest.mark.parametrize("host", [HOST, VICTIM])
def test_envelope_is_not_forged(client, stolen, event_id, post, host):
    """Not for the thief's own host either: what is POSTed is for bridges to say."""
    echo = {"id": event_id, "name": ACTIVATE, "replyTo": "r", "resourceType": "t"}
    envelope = Envelope(
        echo={**echo, "resourceId": "1"}, host_uuid=host, agent="access", deadline_ms=10**15
    )
    content = sealed_outcome(stolen, event_id, success({"forged": True}))
    with pytest.raises(UnreadableOutcomeError):
        post(host, id=event_id, envelope=sealed_envelope(stolen, envelope), content=content)


def test_payload_of_another_host_is_not_read(client, stolen, event_id):
    """The sealed text says nothing to the thief, nor does its envelope."""
    for text in client.hmget(keys.event(VICTIM, event_id), "payload", "envelope"):
        with pytest.raises(SealBrokenError):
            stolen.open(text)


def test_payload_for_another_host_is_not_forged(ledgers, client, stolen, event_id):
    """The other host's worker rejects it, whatever host it names."""
    event = Event.model_validate({"id": event_id, "name": ACTIVATE, "replyTo": "r", "data": {}})
    worker = ledgers.start_process(host=VICTIM)
    for named in (HOST, VICTIM):
        text = sealed_event(stolen, event, named, ledgers.clock.now_ms())
        client.hset(keys.event(VICTIM, event_id), "payload", text)
        claim = worker.claim(event_id)
        with pytest.raises(SealBrokenError):
            worker.open_event(event_id, claim)
        worker.requeue(event_id)


def test_true_payload_moved_to_another_host_is_not_run(ledgers, client, event_id):
    """A payload of the other host, copied beside an event of one's own, does not open there."""
    payload = client.hget(keys.event(VICTIM, event_id), "payload")
    own_id = ledgers.accept(host=HOST)
    client.hset(keys.event(HOST, own_id), "payload", payload)
    worker: WorkerLedger = ledgers.start_process(host=HOST)
    with pytest.raises(SealBrokenError):
        worker.open_event(own_id, worker.claim(own_id))


def test_lease_of_another_host_is_not_forged(ledgers, client, stolen):
    """No bridge takes the thief for a worker of that host."""
    client.set(keys.lease(VICTIM, "w1"), lease_text(lease(BOOT, host=VICTIM), stolen))
    client.sadd(keys.workers(VICTIM), "w1")
    sealer = ledgers.keyring.host(VICTIM)
    found = Leases(client).of_hosts({VICTIM: sealer})[VICTIM]
    assert (dict(found.leases), found.unreadable) == ({}, ("w1",))


def test_note_for_another_host_is_not_forged(ledgers, client, stolen):
    """Its worker ignores the note, and goes on with that of the true bridge."""
    leases = Leases(client)
    for bridge_id in ("true", "forged"):
        leases.renew_bridge(
            bridge_id,
            bridge_lease_text(
                BridgeLease(bridge_id=bridge_id, fingerprints=ledgers.keyring.fingerprints),
                ledgers.keyring,
            ),
        )
    leave_notes(client, "true", {VICTIM: ledgers.keyring.host(VICTIM)})
    leave_notes(client, "forged", {VICTIM: stolen})
    sealer = ledgers.keyring.host(VICTIM)
    found = check_keys(client, VICTIM, sealer)
    assert (found.mismatch, found.unreadable) == (None, ("forged",))
    assert found.opened_by_bridges == sealer.fingerprints
