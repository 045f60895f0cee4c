"""Forgeries of who writes to Redis: none is run or POSTed, and the true copy still is."""

import json
import threading
import time
from urllib.request import urlopen

import pytest
from cryptography.fernet import Fernet

from cowpoke import dead_letters, keys
from cowpoke.broker import BrokerSettings, connect
from cowpoke.envelopes import (
    REPLAY_WINDOW_MS,
    Envelope,
    opened_event,
    sealed_envelope,
    sealed_event,
    sealed_outcome,
)
from cowpoke.liveness import LEASE_CHANGED
from cowpoke.outcomes import success
from cowpoke.seal import ClusterKeyring, Sealer
from simulator.rig.processes import wait_until
from tests.bridges import ACTIVATE, AGENT, EVENT, HOST
from tests.faults.faulty_system import facts

OTHER_HOST = "host-2"
#: cattle sends a call again after this.
TIMEOUT_MS = 6_000
FORGED = {"forged": True}


class Scene:
    """A bridge with a worker that finishes an event when the test lets it."""

    def __init__(self, rig) -> None:
        self.rig = rig
        self.released = threading.Event()
        self.worker = rig.start_worker(script=self._run)
        self.bridge = rig.start_bridge(BRIDGE_HTTP_PORT="0")
        rig.wait_subscribed()
        self.keyring = ClusterKeyring(rig.key)
        self.client = connect(BrokerSettings.model_validate({"REDIS_URL": rig.redis.url}))
        line = self.bridge.wait_for_line("http.ready", 20)
        self._metrics = json.loads(line)["address"] + "/metrics"

    def _run(self, event, _):
        if event.data.get("waits"):
            self.released.wait(60)
        return success({"of": event.id})

    def send(self, *, sends=1, timeout_ms=60_000, resource_id="1ihm7", **data) -> str:
        """Send an event to the host; its id."""
        return self.rig.cattle.send(
            ACTIVATE,
            data,
            **{**EVENT, "resource_id": resource_id},
            agent=AGENT["access_key"],
            sends=sends,
            timeout_ms=timeout_ms,
        )

    def claimed(self, **data) -> str:
        """Send an event and wait until the worker works on it; it stays there."""
        event_id = self.send(waits=True, **data)
        wait_until(lambda: self.field(event_id, "state") == "claimed", 20, "the event claimed")
        return event_id

    def field(self, event_id: str, name: str) -> str:
        """One field of an event's hash."""
        return str(self.client.hget(keys.event(HOST, event_id), name))

    def change(self, event_id: str, **fields: str | bytes) -> None:
        """Write into the hash of an event."""
        self.client.hset(keys.event(HOST, event_id), mapping=fields)

    def answered(self, event_id: str) -> dict:
        """Wait for the one true answer to an event."""
        call = self.rig.cattle.wait(event_id, 40)
        assert (call.state, call.data) == ("success", {"of": event_id}), call.message
        return call.record

    def counted(self, name: str) -> float:
        """One figure of the bridge's metrics; 0 when it is not there."""
        with urlopen(self._metrics, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        found = [line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} ")]
        return float(found[0]) if found else 0.0

    def unreadable(self) -> float:
        """How many outcomes the bridge could not open."""
        return self.counted('cowpoke_replies_total{result="unreadable"}')


@pytest.fixture
def scene(rig):
    """The whole scene, released and closed at its end."""
    made = Scene(rig)
    yield made
    made.released.set()
    made.client.close()


def envelope_of(sealer: Sealer, event_id: str, *, host: str = HOST, **echo: str) -> str:
    """An envelope as an attacker would like it."""
    quoted = {"id": event_id, "name": ACTIVATE, "replyTo": "reply.forged"}
    rest = {"resourceType": "host", "resourceId": "1h1"}
    return sealed_envelope(
        sealer,
        Envelope(
            echo={**quoted, **rest, **echo},
            host_uuid=host,
            agent=AGENT["access_key"],
            deadline_ms=int(time.time() * 1000) + 60_000,
        ),
    )


@pytest.mark.parametrize("forgery", ["text", "stranger", "host key", "of another event", "missing"])
def test_changed_envelope_is_never_posted_and_the_next_send_is_answered(scene, forgery):
    """C 41: what decides what is POSTed is sealed for bridges and for this event."""
    other = scene.send(resource_id="1ihm8")
    scene.answered(other)
    event_id = scene.claimed(sends=3, timeout_ms=TIMEOUT_MS)
    stranger = ClusterKeyring(Fernet.generate_key().decode())
    forged = {
        "text": '{"replyTo": "reply.forged"}',
        "stranger": envelope_of(stranger.bridge, event_id),
        "host key": envelope_of(scene.keyring.host(HOST), event_id),
        "of another event": scene.field(other, "envelope"),
        "missing": "",
    }[forgery]
    scene.change(event_id, envelope=forged)
    scene.released.set()
    wait_until(lambda: scene.unreadable() == 1, 20, "the refusal counted")
    record = scene.answered(event_id)
    assert len(record["sent_ms"]) > 1
    assert scene.rig.counted("unmatched") == 0
    assert len([one for one in scene.worker.claimed if one.id == event_id]) == 1


def forged_entries(scene: Scene, open_id: str, answered_id: str) -> list[tuple[str, dict]]:
    """Entries that a writer to Redis can make of what lies there, each with its host's outbox."""
    of_open, of_answered = scene.field(open_id, "envelope"), scene.field(answered_id, "envelope")
    final = scene.field(answered_id, "final")
    keyring, stranger = scene.keyring, ClusterKeyring(Fernet.generate_key().decode())
    forgery = success(FORGED)
    by_host, by_other = keyring.host(HOST), keyring.host(OTHER_HOST)
    true = {"id": open_id, "lane": "compute", "kind": "success", "envelope": of_open}
    return [
        (HOST, {**true, "content": final}),
        (HOST, {**true, "content": final, "id": answered_id}),
        (HOST, {**true, "content": final, "envelope": of_answered}),
        (HOST, {**true, "content": '{"kind": "success", "data": {}}'}),
        (HOST, {**true, "content": sealed_outcome(stranger.host(HOST), open_id, forgery)}),
        (HOST, {**true, "content": sealed_outcome(by_other, open_id, forgery)}),
        (HOST, {**true, "content": sealed_outcome(keyring.bridge, open_id, forgery)}),
        (OTHER_HOST, {**true, "content": sealed_outcome(by_other, open_id, forgery)}),
        (OTHER_HOST, {**true, "content": sealed_outcome(by_host, open_id, forgery)}),
        # The thief of the host's key has a true outcome, but no envelope for it.
        (
            HOST,
            {
                **true,
                "content": sealed_outcome(by_host, open_id, forgery),
                "envelope": envelope_of(by_host, open_id),
            },
        ),
        (HOST, {**true, "id": answered_id, "envelope": of_answered, "content": final} | _AS_ERROR),
        (HOST, {**true, "id": answered_id, "envelope": of_answered, "content": final} | _AS_STEP),
    ]


_AS_ERROR = {"kind": "error"}
_AS_STEP = {"kind": "progress"}


@pytest.mark.parametrize("place", ["outboxes", "streams"])
def test_forged_outcomes_are_counted_and_put_aside(scene, place):
    """C 41: copied beside another envelope, of another id, kind or host, or sealed by a thief."""
    answered_id = scene.send(resource_id="1ihm8")
    scene.answered(answered_id)
    open_id = scene.claimed()
    replies = scene.counted('cowpoke_replies_total{result="sent"}')
    entries = forged_entries(scene, open_id, answered_id)
    for host, fields in entries:
        if place == "streams":
            scene.client.xadd(keys.OUTCOMES, {"host": host, **fields})
        else:
            scene.client.xadd(keys.outbox(host), fields)
            scene.client.publish(keys.doorbell(host), "outbox")
    wait_until(lambda: scene.unreadable() == len(entries), 30, "all refused")
    assert scene.counted('cowpoke_replies_total{result="sent"}') == replies
    scene.released.set()
    call = scene.rig.cattle.wait(open_id, 40)
    assert (call.state, call.data) == ("success", {"of": open_id})
    if place == "streams":

        def put_aside():
            return len(dead_letters.read(scene.client, keys.BRIDGE_DEAD_LETTERS))

        wait_until(lambda: put_aside() == len(entries), 90, "dead letters")
        assert scene.counted("cowpoke_outcomes_waiting") == 0
        assert scene.counted("cowpoke_dead_letters") == len(entries)
    stats = scene.rig.cattle.stats()
    assert (stats["unmatched"], stats["duplicates"]) == (0, 0)
    assert "forged" not in json.dumps(scene.rig.cattle.records())


def waiting_event(scene: Scene, **options) -> str:
    """Send an event that waits in the FIFO of its resource behind one that the worker has."""
    scene.claimed()
    event_id = scene.send(**options)
    wait_until(lambda: scene.field(event_id, "state") == "recorded", 20, "the event recorded")
    return event_id


@pytest.mark.parametrize("forgery", ["stranger", "other host", "other event", "old", "text"])
def test_forged_payload_is_rejected_and_the_true_copy_of_the_next_send_runs(scene, forgery):
    """C 41: nothing of the forgery runs, and it does not end the event either."""
    event_id = waiting_event(scene, sends=3, timeout_ms=TIMEOUT_MS)
    host = scene.keyring.host(HOST)
    now_ms = int(time.time() * 1000)
    true = opened_event(
        host, scene.field(event_id, "payload"), event_id=event_id, host_uuid=HOST, now_ms=now_ms
    )
    forged = true.model_copy(update={"data": FORGED})
    stranger = Sealer(Fernet.generate_key().decode())
    other = scene.keyring.host(OTHER_HOST)
    old_ms = now_ms - true.timeout_ms - REPLAY_WINDOW_MS - 1_000
    payload = {
        "stranger": sealed_event(stranger, forged, HOST, now_ms),
        "other host": sealed_event(other, forged, OTHER_HOST, now_ms),
        "other event": sealed_event(host, forged.model_copy(update={"id": "e"}), HOST, now_ms),
        "old": sealed_event(host, true, HOST, old_ms),
        "text": b"\xff\xfe",
    }[forgery]
    scene.change(event_id, payload=payload)
    scene.released.set()
    wait_until(lambda: event_id in scene.worker.rejected, 20, "the forgery rejected")
    record = scene.answered(event_id)
    assert len(record["sent_ms"]) > 1
    assert [event.data for event in scene.worker.claimed if event.id == event_id] == [true.data]
    assert scene.rig.counted("duplicates") == 0


def test_payload_of_a_later_version_ends_with_an_error_in_bounded_time(scene):
    """C 41: no worker understands it; cattle hears why before it stops waiting."""
    event_id = waiting_event(scene, timeout_ms=12_000)
    content = scene.keyring.host(HOST).open(scene.field(event_id, "payload"))
    payload = scene.keyring.host(HOST).seal({**content, "v": 99})
    scene.change(event_id, payload=payload)
    scene.released.set()
    call = scene.rig.cattle.wait(event_id, 30)
    assert call.state == "error"
    assert "event-unreadable" in str(call.reply)
    assert call.elapsed_ms < 12_000


def test_forged_payload_that_nobody_corrects_expires(scene):
    """C 41: no word of a forger ends a call; cattle stops waiting, as for a lost event."""
    event_id = waiting_event(scene, timeout_ms=TIMEOUT_MS)
    scene.change(event_id, payload="forged")
    scene.released.set()
    call = scene.rig.cattle.wait(event_id, 30)
    assert call.state == "timeout"
    assert event_id in scene.worker.rejected
    wait_until(lambda: scene.field(event_id, "state") == "expired", 20, "the event expired")


def test_replayed_outcome_has_the_reply_id_it_had(scene):
    """C 41: the pair of an old outcome and its envelope, put back, is the same reply again."""
    event_id = scene.send()
    record = scene.answered(event_id)
    fields = {name: scene.field(event_id, name) for name in ("envelope", "final", "kind")}
    entry = {"id": event_id, "lane": "control", "kind": fields["kind"]}
    scene.client.xadd(
        keys.outbox(HOST), {**entry, "envelope": fields["envelope"], "content": fields["final"]}
    )
    scene.client.publish(keys.doorbell(HOST), "outbox")
    sent = 'cowpoke_replies_total{result="sent"}'
    wait_until(lambda: scene.counted(sent) == 2, 20, "the reply again")
    again = scene.rig.cattle.wait(event_id, 5)
    assert {one["id"] for one in (*again.duplicates, *again.late)} <= {record["final"]["id"]}


def test_forged_lease_and_keys_of_other_types_stop_nobody(scene):
    """C 41: the true worker of a host still gets its events."""
    stranger = Sealer(Fernet.generate_key().decode())
    lease = {"v": 1, "boots": ["x.compute.1"], "sealed": stranger.seal({"host": HOST})}
    scene.client.set(keys.lease(HOST, "x"), json.dumps(lease))
    scene.client.sadd(keys.workers(HOST), "x")
    scene.client.set(keys.host_keys(HOST), "text")
    scene.client.publish(keys.doorbell(HOST), LEASE_CHANGED)
    wait_until(lambda: facts(scene.bridge, "lease.unreadable"), 20, "the forged lease seen")
    for number in range(3):
        scene.answered(scene.send(resource_id=f"1ihm{number}"))
