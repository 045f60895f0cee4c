"""Bridges and workers compare their keys, whatever others write beside their notes."""

import json
import signal
import threading

import pytest
from cryptography.fernet import Fernet

from cowpoke import keys
from cowpoke.host_keys import check_keys, leave_notes
from cowpoke.liveness import Leases
from cowpoke.seal import ClusterKeyring, HostKeyring, host_key
from simulator.rig.processes import wait_until
from tests.ledgers import HOST, Ledgers
from worker.process import key_gate as key_gate_module
from worker.process.key_gate import KeyGate

OLD, NEW, STRANGE = (Fernet.generate_key().decode() for _ in range(3))


@pytest.fixture
def note(client):
    """Let a bridge with some keys live and leave its notes."""

    def leave(bridge_id, *cluster_keys, lives=True, host=HOST):
        leases = Leases(client)
        leases.renew_bridge(bridge_id)
        client.persist(keys.bridge(bridge_id))
        leave_notes(client, bridge_id, {host: ClusterKeyring(*cluster_keys).host(host)})
        if not lives:
            client.delete(keys.bridge(bridge_id))

    return leave


def check(client, *cluster_keys):
    """What a worker with some keys finds."""
    return check_keys(client, HOST, ClusterKeyring(*cluster_keys).host(HOST))


def sealing(client, *cluster_keys):
    """The position of the key with which a worker seals."""
    sealer = ClusterKeyring(*cluster_keys).host(HOST)
    return sealer.fingerprints.index(check(client, *cluster_keys).opened_by_bridges[0])


def test_same_key_matches(client, note):
    """The worker may take events, and knows with what to seal."""
    note("b1", OLD)
    found = check(client, OLD)
    assert (found.mismatch, found.unreadable) == (None, ())
    assert sealing(client, OLD) == 0


def test_key_of_the_host_is_enough(client, note):
    """A worker that only has what was derived for it."""
    note("b1", OLD)
    sealer = HostKeyring(host_key(OLD, HOST)).host(HOST)
    assert check_keys(client, HOST, sealer).mismatch is None
    other = HostKeyring(host_key(OLD, "host-2")).host(HOST)
    assert check_keys(client, HOST, other).mismatch is not None


def test_other_key_does_not_match(client, note):
    """The worker waits, and nothing is lost."""
    note("b1", OLD)
    assert check(client, NEW).mismatch is not None
    assert check(client).mismatch is not None


def test_without_notes_nothing_is_known(client):
    """A worker that starts before the first bridge takes events: there are none."""
    assert check(client, OLD).mismatch is None


@pytest.mark.parametrize(
    ("bridge", "worker", "position"),
    [
        ((OLD,), (OLD, NEW), 0),
        ((OLD, NEW), (OLD,), 0),
        ((OLD, NEW), (OLD, NEW), 0),
        ((OLD, NEW), (NEW, OLD), 0),
        ((NEW, OLD), (OLD, NEW), 0),
        ((OLD,), (NEW, OLD), 1),
        ((NEW, OLD), (NEW,), 0),
    ],
)
def test_each_step_of_a_rotation_matches(client, note, bridge, worker, position):
    """In every order of a round the worker seals with what the bridge opens."""
    note("b1", *bridge)
    assert check(client, *worker).mismatch is None
    assert sealing(client, *worker) == position


def test_worker_seals_with_what_all_bridges_open(client, note):
    """One bridge is restarted with the new keys, the other one is not yet."""
    note("b1", OLD)
    note("b2", OLD, NEW)
    assert sealing(client, NEW, OLD) == 1


def test_forged_note_stops_nobody(client, note):
    """Not one of a bridge that does not exist, and not one of a live bridge's name."""
    note("b1", OLD)
    note("b2", OLD)
    stranger = ClusterKeyring(STRANGE).host(HOST)
    forged = stranger.seal({"v": 1, "bridge": "b2", "host": HOST, "fingerprints": ["x"]})
    for bridge_id in ("b2", "b3"):
        client.hset(keys.host_keys(HOST), bridge_id, forged)
    Leases(client).renew_bridge("b3")
    found = check(client, OLD)
    assert (found.mismatch, found.unreadable) == (None, ("b2", "b3"))
    assert sealing(client, OLD) == 0


@pytest.mark.parametrize(
    "text", ["", "nonsense", b"\xff\xfe", "[]", "[" * 100_000, json.dumps({"fingerprints": 5})]
)
def test_note_that_is_none_stops_nobody(client, note, text):
    """Whatever it is."""
    note("b1", OLD)
    client.hset(keys.host_keys(HOST), "b2", text)
    client.hset(keys.host_keys(HOST), b"\xff\xfe", text)
    Leases(client).renew_bridge("b2")
    assert check(client, OLD).mismatch is None
    client.hset(keys.host_keys(HOST), "b3", text)
    assert check(client).mismatch is not None, "without a key nothing that is sealed is opened"


def test_note_of_another_host_or_bridge_is_none(client, note):
    """A true note that was copied says nothing of its new place."""
    note("b1", NEW, OLD)
    note("b1", OLD, host="host-2")
    copied = client.hget(keys.host_keys("host-2"), "b1")
    client.hset(keys.host_keys(HOST), "b2", client.hget(keys.host_keys(HOST), "b1"))
    client.hset(keys.host_keys(HOST), "b3", copied)
    for bridge_id in ("b2", "b3"):
        Leases(client).renew_bridge(bridge_id)
    assert check(client, NEW, OLD).unreadable == ("b2", "b3")


def test_bridge_that_died_has_no_say(client, note):
    """Its keys may be old; the next bridge removes its note."""
    note("b1", OLD, lives=False)
    assert check(client, NEW).mismatch is not None, "without a live one the last one counts"
    note("b2", NEW)
    assert check(client, NEW).mismatch is None
    assert client.hkeys(keys.host_keys(HOST)) == ["b2"]


def test_notes_of_another_type_are_written_anew(client, note):
    """A worker takes them for none, a bridge replaces them."""
    client.set(keys.host_keys(HOST), "no hash")
    assert check(client, OLD).mismatch is None
    note("b1", OLD)
    note("b1", OLD)
    assert client.hkeys(keys.host_keys(HOST)) == ["b1"]


# The gate of a lane.


@pytest.fixture
def gate(client, monkeypatch):
    """The gate of a lane with some keys, which looks often."""
    monkeypatch.setattr(key_gate_module, "LOOK_EVERY_S", 0.05)

    def make(*cluster_keys):
        ledger = Ledgers(client, ClusterKeyring(*cluster_keys)).worker()
        return KeyGate(client, ledger, HOST, "compute"), ledger

    return make


@pytest.fixture
def signals(monkeypatch):
    """The signals that the gate sent to its own process."""
    sent = []
    monkeypatch.setattr(key_gate_module.os, "kill", lambda _, number: sent.append(number))
    return sent


def test_lane_waits_for_its_keys(client, note, gate):
    """And goes on as soon as a bridge has them."""
    note("b1", OLD)
    one, ledger = gate(NEW, STRANGE)
    passed = threading.Event()
    waiting = threading.Thread(target=lambda: (one.wait(), passed.set()))
    waiting.start()
    assert not passed.wait(0.3)
    note("b2", STRANGE, OLD)
    wait_until(passed.is_set, 20, "the lane")
    waiting.join()
    assert ledger.sealer.fingerprints[0] == ClusterKeyring(STRANGE).host(HOST).fingerprints[0]


def test_lane_that_takes_events_stops_when_its_keys_are_gone(client, note, gate, signals):
    """As by SIGTERM, once: what runs is finished."""
    note("b1", OLD)
    one, _ = gate(OLD)
    one.wait()
    note("b1", NEW)
    assert one.check(), "it looked a moment ago"
    one.doubt()
    assert not one.check()
    one.doubt()
    assert not one.check()
    assert signals == [signal.SIGTERM]


def test_forged_note_stops_no_lane(client, note, gate, signals):
    """Whoever writes to Redis."""
    note("b1", OLD)
    one, _ = gate(OLD)
    one.wait()
    client.hset(keys.host_keys(HOST), "b2", "forged")
    Leases(client).renew_bridge("b2")
    one.doubt()
    assert one.check()
    assert signals == []


def test_lane_seals_with_the_new_key_when_all_bridges_have_it(client, note, gate):
    """It is not started again for that."""
    note("b1", OLD)
    one, ledger = gate(NEW, OLD)
    one.wait()
    new, old = ClusterKeyring(NEW, OLD).host(HOST).fingerprints
    assert ledger.sealer.fingerprints == (old, new)
    note("b1", OLD, NEW)
    one.doubt()
    assert one.check()
    assert ledger.sealer.fingerprints == (new, old)


def test_lane_does_not_wait_for_an_absent_redis(make_redis, gate):
    """It has nothing to take; it looks again when Redis is back."""
    server = make_redis()
    with server.client() as there:
        ledger = Ledgers(there, ClusterKeyring(OLD)).worker()
        one = KeyGate(there, ledger, HOST, "compute")
        server.kill()
        one.wait()
