"""Whatever an operator clicks in Flower, every event is answered; looking stays possible."""

import pytest
from celery import Celery

from cowpoke import keys
from simulator import sample
from tests.faults.faulty_system import FaultySystem, facts, new_instance

TASK = "compute.instance.activate"
LANES = 3


@pytest.fixture(scope="module")
def system(scripted, make_module_redis, tmp_path_factory):
    """One system on a Redis of its own."""
    with FaultySystem(
        scripted, redis=make_module_redis, state_dir=tmp_path_factory.mktemp("state")
    ) as running:
        running.wait_lanes()
        yield running


@pytest.fixture(scope="module")
def make_module_redis():
    """A Redis that no other module's workers use: commands reach every worker of a broker."""
    from simulator.rig.redis_server import RedisServer  # noqa: PLC0415

    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def celery_app(system):
    """What Flower and the celery command have."""
    with Celery(broker=system.redis.url, set_as_current=False) as app:
        yield app


def queue_of(system):
    """The queue of the lane that runs containers."""
    return f"host.{system.host_uuid}"


def asked(app, command, **arguments):
    """What each lane says to a command."""
    replies = app.control.broadcast(
        command, arguments=arguments, reply=True, timeout=20, limit=LANES
    )
    return {node: answer for reply in replies for node, answer in reply.items()}


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("rate_limit", {"task_name": TASK, "rate_limit": "1/h"}),
        ("time_limit", {"task_name": TASK, "hard": 0.1, "soft": 0.1}),
        ("revoke", {"task_id": "fixed-id", "terminate": True, "signal": "SIGKILL"}),
        ("revoke_by_stamped_headers", {"headers": {"a": "b"}, "terminate": True}),
        ("terminate", {"task_id": "fixed-id", "signal": "SIGKILL"}),
        ("hello", {"from_node": "other", "revoked": {"fixed-id": 1}}),
        ("cancel_consumer", {"queue": "host.host-under-test"}),
        ("add_consumer", {"queue": "host.another"}),
        ("pool_grow", {"n": 2}),
        ("pool_shrink", {"n": 16}),
        ("pool_restart", {}),
        ("autoscale", {"max": 1, "min": 0}),
        ("shutdown", {}),
        ("election", {"id": "1", "topic": "task", "action": None}),
        ("disable_events", {}),
        ("memdump", {}),
        ("memsample", {}),
        ("objgraph", {}),
        ("command_of_a_future_celery", {"x": 1}),
    ],
)
def test_command_that_changes_a_worker_is_refused_and_events_are_answered(
    system, celery_app, command, arguments
):
    """W 23: each lane answers with an error and logs one line; the next events are done."""
    before = len(facts(system.worker, "remote_control.refused"))
    answers = asked(celery_app, command, **arguments)
    assert len(answers) == LANES
    assert all(command in answer["error"] for answer in answers.values())
    lines = facts(system.worker, "remote_control.refused")[before:]
    assert [line["command"] for line in lines] == [command] * LANES
    instance = new_instance()
    more = {"event_id": "fixed-id"} if "fixed-id" in str(arguments) else {}
    if more:
        system.redis.client().delete(keys.event(system.host_uuid, "fixed-id"))
    for event in (sample.instance_activate(instance), sample.instance_activate(new_instance())):
        call = system.cattle.wait(system.send(event, **more), 30)
        assert call.state == "success", call.message
        more = {}


def test_inspection_and_events_that_flower_asks_for_go_on(system, celery_app):
    """W 23: what `celery inspect` and Flower read is answered, and nothing is logged as refused."""
    before = len(facts(system.worker, "remote_control.refused"))
    inspect = celery_app.control.inspect(timeout=20, limit=LANES)
    for look in (
        *("ping", "stats", "active", "reserved", "scheduled", "revoked", "registered"),
        *("active_queues", "conf", "report", "clock"),
    ):
        assert len(getattr(inspect, look)()) == LANES, look
    assert len(inspect.query_task("fixed-id")) == LANES
    assert TASK in str(inspect.registered())
    enabled = asked(celery_app, "enable_events")
    assert [set(answer) for answer in enabled.values()] == [{"ok"}] * LANES
    assert facts(system.worker, "remote_control.refused")[before:] == []


def test_task_message_that_claims_to_be_expired_is_run(system, celery_app):
    """W 23: the ledger decides what expired; a header or a set of Celery's silences nothing."""
    instance = new_instance()
    event_id = system.send(sample.instance_activate(instance), timeout_ms=20_000)
    celery_app.send_task(
        TASK,
        args=(event_id,),
        task_id=event_id,
        queue=queue_of(system),
        expires="2001-01-01T00:00:00",
    )
    call = system.cattle.wait(event_id, 30)
    system.assert_answered_once(call, instance)
