"""The bridge at work: cattle's events are recorded once, a worker's outcomes get back to cattle."""

import json
import threading

import pytest

from cowpoke import keys
from cowpoke.broker import BrokerSettings, connect
from cowpoke.events import DEFAULT_TIMEOUT_MS
from cowpoke.outcomes import error, progress, success
from simulator.rig.processes import wait_until
from simulator.rig.redis_server import RedisServer
from tests.bridges import ACTIVATE, EVENT, HOST, BridgeRig, echo
from tests.ledgers import everything


@pytest.fixture(scope="module")
def running():
    """One cattle, bridge and worker for the module."""
    with RedisServer() as server, BridgeRig(server) as rig:
        rig.scripted = rig.start_worker()
        rig.bridge = rig.start_bridge()
        rig.wait_subscribed()
        yield rig


@pytest.fixture
def rig(running):
    """The module's rig, whole again after each test."""
    running.scripted.claimed.clear()
    yield running
    running.scripted.script = echo
    running.cattle.faults_off()
    wait_until(lambda: running.outcomes_left() == 0, 40, "an empty stream")
    assert running.bridge.running
    running.wait_subscribed()


def test_an_event_comes_back_as_a_reply(rig):
    """The worker gets the event, cattle the outcome (A 1.2)."""
    call = rig.cattle.call(ACTIVATE, {"a": {"b": [1, None, "ü"]}}, **EVENT, wait_s=10)
    assert (call.state, call.data) == ("success", {"a": {"b": [1, None, "ü"]}})


@pytest.mark.parametrize(
    ("resource_type", "resource_id"),
    [("instanceHostMap", "1ihm50"), ("instanceInspect", None), (None, None)],
)
def test_a_reply_echoes_the_resource_exactly(rig, resource_type, resource_id):
    """Type and id come back as they came, nulls and all (A 1.16)."""
    call = rig.cattle.call(
        "compute.instance.inspect", {}, resource_type=resource_type, resource_id=resource_id
    )
    assert (call.reply["resourceType"], call.reply["resourceId"]) == (resource_type, resource_id)
    assert call.reply["previousIds"] == [call.id]


def test_a_full_event_of_an_older_server_is_understood(rig):
    """Explicit nulls, a context and a suffix in the name do no harm."""
    nulls = dict.fromkeys(("previousIds", "previousNames", "transitioning", "publisher"))
    call = rig.cattle.call(
        raw_event={**nulls, "name": ACTIVATE, "context": {"x": "y"}, "data": None}, **EVENT
    )
    assert call.state == "success"


def test_an_error_says_why(rig):
    """What went wrong is shown to people, its code to programs (A 1.20)."""
    rig.scripted.script = lambda *_: error("name-taken", "The name is taken")
    call = rig.cattle.call(ACTIVATE, {}, **EVENT)
    assert (call.state, call.message) == ("error", "The name is taken")
    assert call.reply["transitioningInternalMessage"].startswith("name-taken ")


def test_progress_comes_before_the_final_reply(rig):
    """Each step, in order, and then the end (A 1.25)."""
    arrived = threading.Event()

    def script(_, tell):
        for percent in range(0, 100, 10):
            tell(progress(f"{percent} %", percent))
        arrived.wait(10)
        return success({})

    before = rig.counted("progress")
    rig.scripted.script = script
    event_id = rig.cattle.send("storage.image.activate", {}, resource_type="x", resource_id="1x1")
    rig.wait_counted("progress", before + 10)
    arrived.set()
    call = rig.cattle.wait(event_id, 10)
    assert call.state == "success"
    assert [step["transitioningProgress"] for step in call.progress] == list(range(0, 100, 10))


def test_no_progress_comes_after_the_final_reply(rig):
    """An operation that ends right after its last step overtakes it, not the other way round."""

    def script(_, tell):
        for percent in range(0, 100, 10):
            tell(progress(f"{percent} %", percent))
        return success({})

    rig.scripted.script = script
    calls = [rig.cattle.call("storage.image.activate", {}, wait_s=10) for _ in range(5)]
    assert {call.state for call in calls} == {"success"}
    assert rig.counted("progress_after_final") == 0


def test_an_unknown_event_is_answered_with_an_error(rig):
    """Nobody waits for a timeout because of an event that no host knows (A 1.13)."""
    # Not subscribed to, the frame does not come by itself.
    event_id = rig.cattle.send("compute.instance.fly", {}, **EVENT)
    address = rig.cattle.record(event_id)["replyTo"]
    frame = {"id": event_id, "name": "compute.instance.fly", "replyTo": address, "data": {}}
    rig.cattle.frames(json.dumps(frame))
    call = rig.cattle.wait(event_id, 10)
    assert call.state == "error"
    assert "compute.instance.fly" in call.message
    assert rig.scripted.claimed == []


def test_an_event_that_cannot_be_read_is_answered_with_an_error(rig):
    """With an id and a replyTo, cattle learns what is wrong."""
    call = rig.cattle.call(ACTIVATE, raw_event={"data": ["no", "object"]}, **EVENT)
    assert call.state == "error"
    assert "data" in call.message


@pytest.mark.parametrize("name", ["", "x" * 300])
def test_an_event_with_a_broken_name_is_answered(rig, name):
    """The name is not needed to say no."""
    event_id, address = f"broken-{len(name)}", f"reply.{len(name)}1"
    event = {"id": event_id, "name": name, "replyTo": address, "data": {}}
    before = rig.counted("unmatched")
    rig.cattle.frames(json.dumps(event))
    rig.wait_counted("unmatched", before + 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \r\n",
        "{",
        "[]",
        "null",
        '{"id":5}',
        '{"a":' * 30_000,
        '{"id":"\\ud800","name":"ping","replyTo":"r"}',
        '{"id":"s","name":"ping","replyTo":"\\ud800","resourceId":"\\udfff"}',
        f'{{"id":"{"x" * 400}","name":"ping","replyTo":"r"}}',
        '{"id":"huge","name":"ping","time":' + "9" * 4000 + "}",
        '{"id":"nan","name":"ping","data":{"a":NaN},"timeoutMillis":NaN}',
    ],
)
def test_nonsense_does_no_harm(rig, text):
    """Whatever comes over the websocket, the next event is answered over the same one (A 1.24)."""
    before = rig.counted("connects")
    rig.cattle.frames(text)
    assert rig.cattle.call(ACTIVATE, {}, **EVENT).state == "success"
    assert rig.counted("connects") == before


def test_an_event_with_odd_data_survives(rig):
    """Half a surrogate pair within a payload is the payload's business."""
    rig.cattle.frames(
        json.dumps({"id": "odd", "name": ACTIVATE, "data": {"a": "\ud800"}, "timeoutMillis": 1e12})
    )
    wait_until(lambda: [event.id for event in rig.scripted.claimed] == ["odd"], 10, "the event")
    assert rig.scripted.claimed[0].data == {"a": "\ud800"}


def test_heartbeats_are_not_events(rig):
    """The stream's sign of life makes no task and no reply (A 14.1)."""
    before = rig.counted("heartbeats_sent")
    replies = rig.counted("publishes")
    rig.wait_counted("heartbeats_sent", before + 2)
    assert (rig.scripted.claimed, rig.counted("publishes")) == ([], replies)


def test_a_liveness_ping_is_answered(rig):
    """A ping with a reply address is a task like others (A 14.1)."""
    call = rig.cattle.call("ping", {"x": 1}, resource_type="agent", resource_id="1a5")
    assert (call.state, call.data) == ("success", {"x": 1})


def test_a_name_with_its_suffix_is_known_and_quoted(rig):
    """A raw subscription shows `;agent=N`; the task has the name without it (A 1.4)."""
    event = {"id": "suffixed", "name": f"{ACTIVATE};agent=5", "replyTo": "reply.9", "data": {}}
    before = rig.counted("unmatched")
    rig.cattle.frames(json.dumps(event))
    rig.wait_counted("unmatched", before + 1)
    assert [(taken.base_name, taken.name) for taken in rig.scripted.claimed] == [
        (ACTIVATE, f"{ACTIVATE};agent=5")
    ]


def test_one_way_events_are_run_and_not_answered(rig):
    """A forced stop has a replyTo that nobody may answer to (A 11.8)."""
    name = "compute.instance.force.stop"
    before = rig.counted("publishes")
    rig.cattle.send(name, {}, one_way=True, reply_to=f"{name}.reply")
    wait_until(lambda: len(rig.scripted.claimed) == 1, 10, "the event")
    rig.cattle.call(ACTIVATE, {}, **EVENT)
    assert rig.counted("publishes").get("201", 0) - before.get("201", 0) == 1


def test_events_of_one_resource_are_answered_in_order(rig):
    """Replies leave in the order of the events (C 16); a worker's own order is held elsewhere."""
    numbers = list(range(20))
    ids = [rig.cattle.send(ACTIVATE, {"n": number}, **EVENT) for number in numbers]
    assert [rig.cattle.wait(event_id, 10).data["n"] for event_id in ids] == numbers
    assert [event.data["n"] for event in rig.scripted.claimed] == numbers


def test_an_event_sent_twice_is_one_task_with_one_reply(rig):
    """A server that sends each frame twice makes no work twice."""
    rig.cattle.faults(send_twice=True)
    duplicates = rig.counted("duplicates")
    calls = [rig.cattle.call(ACTIVATE, {}, **EVENT) for _ in range(5)]
    assert {call.state for call in calls} == {"success"}
    assert len(rig.scripted.claimed) == 5
    assert rig.counted("duplicates") == duplicates


def test_an_answered_event_sent_again_gets_the_same_reply(rig):
    """The stored reply goes out again with the id it had; nothing is run again."""
    call = rig.cattle.call(ACTIVATE, {"a": 1}, **EVENT)
    with rig.redis.client() as client:
        # As if its timeout were over, after which cattle sends it again.
        client.hincrby(keys.event(HOST, call.id), "received_ms", -DEFAULT_TIMEOUT_MS)
    frame = {"id": call.id, "name": ACTIVATE, "replyTo": call.record["replyTo"], "data": {}}
    rig.cattle.frames(json.dumps(frame))
    wait_until(lambda: rig.cattle.record(call.id)["duplicates"], 10, "the reply, again")
    again = rig.cattle.record(call.id)["duplicates"][0]["event"]
    assert (again["id"], again["data"]) == (call.reply["id"], {"a": 1})
    assert len(rig.scripted.claimed) == 1


# -- a websocket that breaks -----------------------------------------------------------------------


def test_a_dropped_websocket_is_opened_again(rig):
    """Replies go out meanwhile, and the next event is read (A 1.5)."""
    connects = rig.counted("connects")
    rig.scripted.script = lambda *_: release.wait(10) and success({})
    release = threading.Event()
    event_id = rig.cattle.send(ACTIVATE, {}, **EVENT)
    wait_until(lambda: rig.scripted.claimed, 10, "the event")
    rig.cattle.faults(drop_sockets=True)
    release.set()
    assert rig.cattle.wait(event_id, 10).state == "success"
    rig.wait_counted("connects", connects + 1)
    assert rig.cattle.call(ACTIVATE, {}, **EVENT).state == "success"


def test_a_cut_frame_costs_that_event_only(rig):
    """Half a frame is refused; the next event is answered."""
    rig.cattle.faults(cut_frame=1)
    cut = rig.cattle.send(ACTIVATE, {}, **EVENT)
    assert rig.cattle.call(ACTIVATE, {}, **EVENT).state == "success"
    assert rig.cattle.record(cut)["state"] == "waiting"


def test_a_silent_websocket_is_opened_again(rig):
    """A half-open connection is noticed by its silence (A 1.5, C 7)."""
    connects = rig.counted("connects")
    rig.cattle.faults(accept_but_hang=True)
    rig.wait_counted("connects", connects + 1)
    rig.cattle.faults_off()
    wait_until(
        lambda: rig.cattle.call(ACTIVATE, {}, **EVENT, timeout_ms=300).state == "success",
        15,
        "an answer over a new websocket",
    )


# -- a cattle that does not take replies -----------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        {"publish_status": 500},
        {"publish_status": 502},
        {"publish_status": 503},
        {"publish_status": 401},
        *({"publish_status": status} for status in (403, 404, 409, 413)),
        {"publish_status": 429},
        {"publish_reset": True},
        {"publish_lost_201": True},
    ],
    ids=lambda fault: "-".join(map(str, *fault.items())),
)
def test_a_reply_is_sent_until_cattle_takes_it(rig, fault):
    """A 1.22, 1.23, W 30: whatever hinders it, the reply arrives, by one id, and is run once."""
    other_ids = rig.counted("duplicates_other_id")
    rig.cattle.faults(publish_status_count=2, **fault)
    call = rig.cattle.call(ACTIVATE, {"a": 1}, **EVENT, wait_s=20)
    assert (call.state, call.data) == ("success", {"a": 1})
    assert len(rig.scripted.claimed) == 1
    wait_until(lambda: rig.outcomes_left() == 0, 20, "the end of the outcome")
    assert rig.counted("duplicates_other_id") == other_ids
    assert len(set(rig.cattle.record(call.id)["reply_ids"])) == 1


def test_a_hanging_cattle_gets_its_reply_in_the_end(rig):
    """A POST whose answer takes its time is waited for, not lost."""
    rig.cattle.faults(publish_hang=True)
    event_id = rig.cattle.send(ACTIVATE, {}, **EVENT)
    wait_until(lambda: rig.outcomes_left() == 1, 10, "the outcome")
    rig.cattle.faults_off()
    assert rig.cattle.wait(event_id, 10).state == "success"


def test_an_outage_of_cattle_loses_nothing(rig):
    """All replies of an outage arrive, each once."""
    duplicates = rig.counted("duplicates")
    rig.cattle.faults(publish_status=503)
    ids = [
        rig.cattle.send(ACTIVATE, {}, resource_type="x", resource_id=f"1x{number}")
        for number in range(50)
    ]
    wait_until(lambda: rig.outcomes_left() == 50, 10, "fifty outcomes")
    rig.cattle.faults_off()
    assert {rig.cattle.wait(event_id, 30).state for event_id in ids} == {"success"}
    assert rig.counted("duplicates") == duplicates


@pytest.mark.parametrize("status", [400, 422])
def test_a_reply_that_cattle_refuses_for_good_is_given_up(rig, status):
    """It is logged and does not come again; the next reply goes out."""
    seen = len(rig.bridge.output())
    rig.cattle.faults(publish_status=status, publish_status_count=1)
    refused = rig.cattle.send(ACTIVATE, {}, **EVENT)
    line = json.loads(rig.bridge.wait_for_line("reply.refused", 10, after_chars=seen))
    assert line["event_id"] == refused
    assert str(status) in line["reason"]
    assert rig.cattle.call(ACTIVATE, {}, **EVENT).state == "success"
    assert rig.cattle.record(refused)["state"] == "waiting"
    wait_until(lambda: rig.outcomes_left() == 0, 10, "the end of the outcome")


# -- what the log and Redis show -------------------------------------------------------------------


def test_no_secret_is_logged_or_lies_in_redis(rig):
    """Neither payloads nor keys are shown anywhere, in success or in failure (A 1.27, C 30)."""
    secret = "hunter2-in-a-payload"
    taken, looked = threading.Event(), threading.Event()

    def script(event, _):
        taken.set()
        assert looked.wait(20)
        return success({"answer": event.data})

    rig.scripted.script = script
    seen = rig.bridge.output
    with connect(BrokerSettings.model_validate({"REDIS_URL": rig.redis.url})) as client:
        event_id = rig.cattle.send(ACTIVATE, {"registryCredential": secret}, **EVENT)
        assert taken.wait(10)
        in_redis = everything(client)
        assert event_id in in_redis
        looked.set()
        assert rig.cattle.wait(event_id, 10).data == {"answer": {"registryCredential": secret}}
        rig.cattle.call(ACTIVATE, raw_event={"data": [secret], "timeoutMillis": secret}, **EVENT)
        in_redis += everything(client)
    for hidden in (secret, "agent-secret-5f1d", rig.key):
        assert hidden not in in_redis
        assert hidden not in seen()


def test_each_line_of_the_log_is_json(rig):
    """What the bridge says can be searched by programs (A 16.5)."""
    rig.cattle.call(ACTIVATE, {}, **EVENT)
    for line in rig.bridge.output().splitlines():
        assert json.loads(line)["event"]


def test_the_host_of_a_single_agent_is_learned(rig):
    """The worker that announces itself is the agent's host."""
    line = json.loads(rig.bridge.wait_for_line("host.learned", 5))
    assert line["host"] == HOST
