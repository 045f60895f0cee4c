"""Notes of keys, leases of bridges, sealing anew and the use of keys, on a real Redis."""

import json

import pytest
from click.testing import CliRunner
from cryptography.fernet import Fernet

from bridge.hosts.claims import Claims
from cowpoke import keys
from cowpoke.bridge_lease import BridgeLease, bridge_lease_text
from cowpoke.cli.main import main
from cowpoke.envelopes import opened_envelope
from cowpoke.host_keys import check_keys, leave_notes
from cowpoke.joined import JoinedAgent, hand_over, handed_over
from cowpoke.key_usage import UNREADABLE, key_usage, usage_text
from cowpoke.ledger.resealing import Resealing
from cowpoke.outcomes import success
from cowpoke.seal import ClusterKeyring, host_key
from tests.ledgers import HOST, Ledgers

AGENT = "hash-of-an-agent"
JOINED = JoinedAgent(
    host_uuid=HOST, cattle_url="http://cattle:8080/v1", access_key="ak", secret_key="sk"
)


@pytest.fixture
def pair():
    """The old and the new key."""
    return Fernet.generate_key().decode(), Fernet.generate_key().decode()


def start_bridge(client, bridge_id, *cluster_keys):
    """Let a bridge live and leave its note for the host."""
    keyring = ClusterKeyring(*cluster_keys)
    ledgers = Ledgers(client, keyring)
    ledgers.leases.renew_bridge(
        bridge_id,
        bridge_lease_text(
            BridgeLease(bridge_id=bridge_id, fingerprints=keyring.fingerprints), keyring
        ),
    )
    leave_notes(client, bridge_id, {HOST: keyring.host(HOST)})
    return ledgers


def look(client, *cluster_keys):
    """What a worker with these keys finds."""
    return check_keys(client, HOST, ClusterKeyring(*cluster_keys).host(HOST))


def test_worker_seals_with_its_first_key_that_all_bridges_open(client, pair):
    """One bridge was restarted in the second round, the other one not yet."""
    old, new = pair
    start_bridge(client, "b1", new, old)
    start_bridge(client, "b2", old, new)
    names = ClusterKeyring(new, old).host(HOST).fingerprints
    assert look(client, new, old).opened_by_bridges == names
    assert look(client, old).mismatch is None


def test_bridges_without_a_common_key_stop_nobody(client, pair):
    """A round was skipped, or somebody put an old note back: one of them opens what is sealed."""
    old, new = pair
    start_bridge(client, "b1", new)
    start_bridge(client, "b2", old)
    found = look(client, new, old)
    assert (found.mismatch, len(found.opened_by_bridges)) == (None, 2)


def test_worker_without_a_key_of_any_bridge_takes_nothing(client, pair):
    """It says which bridges have other keys."""
    old, new = pair
    start_bridge(client, "b1", old)
    found = look(client, new)
    assert found.mismatch is not None
    assert found.unreadable == ("b1",)


def fill(ledgers):
    """An open event, an answered one, a remembered host and an outcome on its way."""
    open_id, answered_id = ledgers.accept(), ledgers.accept()
    worker = ledgers.start_process()
    worker.claim(answered_id)
    worker.complete(answered_id, success({"n": 1}))
    Claims(ledgers.client, ledgers.keyring.bridge).remember(AGENT, HOST)
    hand_over(ledgers.client, ledgers.keyring.host(HOST), JOINED)
    return open_id, answered_id


def test_everything_that_waits_is_sealed_anew(client, pair):
    """Each text opens with the new key alone, and keeps its lifetime; outcomes are left alone."""
    old, new = pair
    open_id, answered_id = fill(Ledgers(client, ClusterKeyring(old)))
    before_ms = client.pttl(keys.event(HOST, answered_id))
    resealed = Resealing(client, ClusterKeyring(new, old)).everything()
    assert resealed == {"texts": 4, "remembered_hosts": 1, "joined_hosts": 1}
    after = Ledgers(client, ClusterKeyring(new))
    worker = after.worker("w1.compute.1")
    assert worker.open_event(open_id, worker.claim(open_id)).id == open_id
    envelope = client.hget(keys.event(HOST, answered_id), "envelope")
    assert opened_envelope(after.keyring.bridge, envelope, host_uuid=HOST).event_id == answered_id
    assert Claims(client, after.keyring.bridge).remembered(AGENT) == HOST
    assert handed_over(client, after.keyring.host(HOST), HOST) == JOINED
    assert client.pttl(keys.joined(HOST)) == -1
    assert before_ms - 60_000 < client.pttl(keys.event(HOST, answered_id)) <= before_ms
    assert client.pttl(keys.agent(AGENT)) > 0
    assert not Resealing(client, ClusterKeyring(new, old)).everything()


def test_what_moved_meanwhile_is_not_written_back(client, pair, monkeypatch):
    """An event is answered between the look and the change: no payload comes back."""
    old, new = pair
    ledgers = Ledgers(client, ClusterKeyring(old))
    event_id = ledgers.accept()
    worker = ledgers.start_process()
    resealing = Resealing(client, ClusterKeyring(new, old))
    change = resealing._reseal_hash

    def late(**arguments):
        worker.claim(event_id)
        worker.complete(event_id, success({}))
        return change(**arguments)

    monkeypatch.setattr(resealing, "_reseal_hash", late)
    resealing.everything()
    assert client.hget(keys.event(HOST, event_id), "payload") is None


def test_what_others_wrote_is_left_alone(client, pair):
    """Keys of other types, text of a stranger, bytes that are no text."""
    old, new = pair
    client.set(keys.event(HOST, "e1"), "text")
    client.hset(keys.event(HOST, "e2"), mapping={"payload": b"\xff", "envelope": "x", "final": ""})
    client.rpush(keys.agent("a"), "x")
    client.set(keys.outbox(HOST), "x")
    client.set(keys.lease(HOST, "w"), b"\xff")
    client.set(keys.bridge("b"), b"\xff")
    keyring = ClusterKeyring(new, old)
    assert not Resealing(client, keyring).everything()
    usage = key_usage(client, keyring)
    assert usage.sealed["open events"] == {UNREADABLE: 1}
    assert [one.fingerprints for one in usage.others] == [None, None]
    assert not usage.is_older_key_in_use


def test_usage_tells_when_a_round_is_complete(client, pair):
    """Not before every program has the keys of the round and only the first one is in use."""
    old, new = pair
    round_2 = ClusterKeyring(new, old)
    before = start_bridge(client, "b1", old, new)
    fill(before)
    usage = key_usage(client, round_2)
    assert {one.program_id for one in usage.others} == {"b1", "w1"}
    counts = {kind: dict(found) for kind, found in usage.sealed.items()}
    assert counts == {kind: {2: 1} for kind in counts}
    assert usage.is_older_key_in_use
    Resealing(client, round_2).everything()
    start_bridge(client, "b1", new, old).start_process()
    usage = key_usage(client, round_2)
    # The test's lease names no keys.
    assert [one.program_id for one in usage.others] == ["w1"]
    assert {kind for kind, found in usage.sealed.items() if found[2]} == {"outcomes"}
    before.leases.give_up(HOST, "w1")
    client.delete(keys.outbox(HOST))
    usage = key_usage(client, round_2)
    assert usage.is_round_complete
    text = usage_text(usage)
    assert text.startswith(f"key 1  {round_2.fingerprints[0]}\n")
    assert text.endswith("complete: the next round may begin")
    assert not key_usage(client, ClusterKeyring(old, new)).is_round_complete


def test_host_keys_are_those_of_the_cluster(pair):
    """A worker with HOST_KEY shows the fingerprints that bridges show for its host."""
    names = ClusterKeyring(*pair).host(HOST).fingerprints
    single = [ClusterKeyring(one).host(HOST).fingerprints[0] for one in pair]
    assert list(names) == single
    assert host_key(pair[0], HOST) != host_key(pair[0], "host-2")


def test_command_shows_the_use_of_keys_and_seals_anew(client, redis_url, pair):
    """The exit code of `cowpoke key usage` is 1 while an older key is in use."""
    old, new = pair
    ledgers = start_bridge(client, "b1", new, old)
    fill(Ledgers(client, ClusterKeyring(old)))
    ledgers.leases.give_up(HOST, "w1")
    ledgers.outboxes.collect(HOST)
    client.delete(*keys.OUTCOME_STREAMS)
    environment = {"REDIS_URL": redis_url, "QUEUE_KEY": f"{new},{old}"}

    def call(*words):
        return CliRunner().invoke(main, ["key", *words], env=environment)

    before = call("usage")
    assert (before.exit_code, "an older key is in use" in before.output) == (1, True)
    assert call("reseal").output == ("resealed: texts of events 4, hosts 1, joined hosts 1\n")
    after = call("usage")
    assert (after.exit_code, "complete" in after.output) == (0, True), after.output
    shown = json.loads(call("usage", "--json").output)
    assert (shown["complete"], len(shown["fingerprints"])) == (True, 2)
    assert shown["sealed"]["kept answers"] == {"key 1": 1}
    assert [one["kind"] for one in shown["programs"]] == ["bridge"]
    assert old not in before.output + after.output
