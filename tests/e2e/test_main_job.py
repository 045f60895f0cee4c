"""The main job: a cattle event starts a real container and its reply comes back."""

import base64
import json
import uuid
from dataclasses import replace

import pytest
from cryptography.fernet import Fernet

from cowpoke import keys
from cowpoke.broker import BrokerSettings, connect
from cowpoke.clock import Clock
from cowpoke.events import Event
from cowpoke.ledger.intake import Arrival, IntakeLedger
from cowpoke.messages import task_message
from cowpoke.routes import Lane, queue_for
from cowpoke.seal import ClusterKeyring
from simulator import sample
from simulator.rig.containers import remove_containers
from simulator.rig.processes import wait_until
from tests.ledgers import everything


@pytest.fixture
def instance(docker_client, test_image):
    """An instance of the test's own; its container is removed at the end."""
    made = sample.Instance(
        uuid=str(uuid.uuid4()), name=f"t-{uuid.uuid4().hex[:8]}", image=test_image
    )
    yield made
    label = f"io.rancher.container.uuid={made.uuid}"
    left = docker_client.containers(all=True, filters={"label": label})
    remove_containers(docker_client, *(one["Id"] for one in left))


def ask(system, event, **more):
    """Send a sample event and wait for its end."""
    return system.call(
        event.name,
        event.data,
        resource_type=event.resource_type,
        resource_id=event.resource_id,
        **more,
    )


def containers_of(docker_client, instance):
    """Every container the Engine has for the instance."""
    label = f"io.rancher.container.uuid={instance.uuid}"
    return docker_client.containers(all=True, filters={"label": label})


def test_a_container_lives_its_whole_life_through_events(system, docker_client, instance):
    """Activate starts it, deactivate stops it, remove removes it, each with its reply."""
    started = ask(system, sample.instance_activate(instance))
    assert started.state == "success", started.message
    (running,) = containers_of(docker_client, instance)
    assert running["State"] == "running"
    assert started.data["instanceHostMap"]["instance"]["externalId"] == running["Id"]
    stopped = ask(system, sample.instance_deactivate(instance, stop_timeout_s=1))
    assert stopped.state == "success"
    (exited,) = containers_of(docker_client, instance)
    assert exited["State"] == "exited"
    removed = ask(system, sample.instance_remove(instance))
    assert removed.state == "success"
    assert removed.data == {}
    assert containers_of(docker_client, instance) == []


def test_the_same_activate_three_times_makes_one_container(system, docker_client, instance):
    """C 13: three events for one instance, all answered, one container."""
    event = sample.instance_activate(instance)
    ids = [
        system.cattle.send(
            event.name,
            event.data,
            resource_type=event.resource_type,
            resource_id=event.resource_id,
        )
        for _ in range(3)
    ]
    calls = [system.cattle.wait(i, 30) for i in ids]
    assert [call.state for call in calls] == ["success"] * 3
    assert len(containers_of(docker_client, instance)) == 1


def test_an_error_reply_says_what_is_wrong(system):
    """An event that cannot be done ends in one error reply with both messages."""
    call = system.call(
        "compute.instance.activate",
        {"instanceHostMap": {"host": {"kind": "docker"}, "instance": {"name": "no uuid"}}},
        resource_type="instanceHostMap",
        resource_id="1ihm9",
    )
    assert call.state == "error"
    assert "uuid" in call.message
    assert call.reply["transitioningInternalMessage"].startswith("payload-invalid ")


def test_a_plain_ping_is_answered(system):
    """A 14.1: a ping with a replyTo gets its pong."""
    call = system.call("ping", {"options": {}}, resource_type="agent", resource_id="1a5")
    assert call.state == "success"


def accept(client, key, arrival):
    """Put an event into the ledger, as a bridge with this key."""
    IntakeLedger(client, ClusterKeyring(key), Clock(client)).accept([arrival])


def forged_message(task, event_id, *args, **embed):
    """A Celery message as somebody with the broker's password would write it."""
    message = json.loads(
        task_message(event_id=event_id, task_name=task, queue="forged", summary="-")
    )
    body = [list(args), {}, {"callbacks": None, "errbacks": None, "chain": None, **embed}]
    message["body"] = base64.b64encode(json.dumps(body).encode()).decode()
    return json.dumps(message)


@pytest.fixture
def held_event(system):
    """The id of an event that lies in the ledger and whose message nobody has."""
    event_id = str(uuid.uuid4())
    event = Event.model_validate(
        {"id": event_id, "name": "ping", "replyTo": "reply.nobody", "data": {}}
    )
    arrival = Arrival(
        event=event,
        agent="",
        host_uuid=system.host_uuid,
        lane=Lane.CONTROL,
        remaining_ms=20_000,
    )
    nobody = f"{system.host_uuid}.nobody"
    with connect(BrokerSettings.model_validate({"REDIS_URL": system.redis.url})) as client:
        # Accepted as if for a host that nobody runs, so that only the forger's message comes.
        accept(client, system.queue_key, replace(arrival, host_uuid=nobody))
        client.rename(keys.event(nobody, event_id), keys.event(system.host_uuid, event_id))
        yield event_id, client
        client.delete(keys.event(system.host_uuid, event_id), keys.open_events(nobody))
        client.zrem(keys.DUE, keys.member(nobody, event_id))


@pytest.mark.parametrize(
    ("task", "args"),
    [
        ("celery.accumulate", [{"forged": True}]),
        ("celery.backend_cleanup", []),
        ("no.such.task", []),
        ("ping", ["another-event"]),
    ],
)
def test_a_forged_message_answers_for_no_event(system, held_event, task, args):
    """C 41: nothing that a message makes Celery return is sealed as an event's answer."""
    event_id, client = held_event
    queue = queue_for(system.host_uuid, Lane.CONTROL)
    client.lpush(queue, forged_message(task, event_id, *args))
    wait_until(lambda: not client.llen(queue), 10, "the message to be taken")
    assert system.call("ping", {"options": {}}, resource_type="agent").state == "success"
    assert client.hget(keys.event(system.host_uuid, event_id), "state") == "queued"


def test_a_forged_message_gets_no_result_in_clear(system, held_event):
    """C 41: a callback would carry the result through Redis, where anybody may read it."""
    event_id, client = held_event
    queue = queue_for(system.host_uuid, Lane.CONTROL)
    leak = {"task": "leak", "args": [], "kwargs": {}, "options": {"queue": "leak"}}
    client.lpush(queue, forged_message("ping", event_id, event_id, callbacks=[leak]))
    system.worker.wait_for_line(f"{event_id}.*event.unreadable|event.unreadable.*{event_id}", 20)
    assert not client.llen(queue)
    assert not client.exists("leak")


def test_celerys_events_tell_nothing_of_a_result(system, docker_client, instance):
    """C 30: they go through Redis in clear, to whoever listens."""
    secret = "planted-0815-argument"
    event = sample.instance_activate(instance, command=["/sleep.sh", secret])
    assert ask(system, event).state == "success"
    with system.redis.client() as client, client.pubsub() as listener:
        listener.psubscribe("*celeryev*")
        inspected = system.call(
            "compute.instance.inspect",
            {"instanceInspect": {"kind": "docker", "name": f"r-{instance.name}"}},
            resource_type="instanceInspect",
        )
        assert secret in json.dumps(inspected.data)
        heard = []

        def succeeded():
            message = listener.get_message(timeout=0.1)
            if not message or message["type"] != "pmessage":
                return False
            heard.append(base64.b64decode(json.loads(message["data"])["body"]).decode())
            return "task-succeeded" in heard[-1] and inspected.id in heard[-1]

        wait_until(succeeded, 20, "the task's end in the events")
    assert secret not in "".join(heard)


def test_celerys_own_inspection_shows_the_queues_of_the_host(system, make_program):
    """`celery -A worker.app inspect` works: one node per lane, each on the host's queue of it."""
    inspection = make_program(
        "celery",
        *("-A", "worker.app", "inspect", "active_queues", "--json", "--timeout", "3"),
        environment={"REDIS_URL": system.redis.url, "QUEUE_KEY": system.queue_key},
    )
    assert inspection.wait(40) == 0
    output = inspection.output()
    nodes = json.loads(output[output.index("{") : output.rindex("}") + 1])
    found = {queue["name"] for queues in nodes.values() for queue in queues}
    assert found == {queue_for(system.host_uuid, lane) for lane in Lane}
    assert {name.partition("-")[0] for name in nodes} == {str(lane) for lane in Lane}


def test_no_secret_lies_in_redis_or_in_a_log(system, docker_client, instance):
    """C 30: a planted password is found neither in Redis nor in any program's output."""
    secret = "planted-4711-password"
    event = sample.instance_activate(instance, environment={"PASSWORD": secret})
    assert ask(system, event).state == "success"
    with connect(BrokerSettings.model_validate({"REDIS_URL": system.redis.url})) as client:
        seen = everything(client)
    assert instance.uuid in seen or event.resource_id in seen
    assert secret not in seen
    for program in (system.bridge, system.worker):
        assert secret not in program.output()
        assert '"level": "debug"' in program.output()


def test_each_line_of_a_workers_log_is_json(system):
    """A 16.5: what Celery and the libraries say, too."""
    assert system.call("ping", {"options": {}}, resource_type="agent").state == "success"
    lines = system.worker.output().splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)


@pytest.mark.parametrize("attack", ["forged", "for another host"])
def test_who_can_write_to_redis_cannot_run_a_container(system, docker_client, instance, attack):
    """C 41: an entry of a forger's key, and a true one of another host, are refused and logged."""
    key, host = {
        "forged": (Fernet.generate_key().decode(), system.host_uuid),
        "for another host": (system.queue_key, "another-host"),
    }[attack]
    wanted = sample.instance_activate(instance)
    event = Event.model_validate(
        {
            "id": str(uuid.uuid4()),
            "name": wanted.name,
            "replyTo": "reply.nobody",
            "resourceType": wanted.resource_type,
            "resourceId": wanted.resource_id,
            "data": wanted.data,
        }
    )
    arrival = Arrival(
        event=event, agent="", host_uuid=host, lane=Lane.COMPUTE, remaining_ms=event.timeout_ms
    )
    with connect(BrokerSettings.model_validate({"REDIS_URL": system.redis.url})) as client:
        accept(client, key, arrival)
        entry = keys.event(system.host_uuid, event.id)
        if host != system.host_uuid:  # the ledger put it into the other host's queue
            client.rename(keys.event(host, event.id), entry)
            client.lpush(queue_for(system.host_uuid, Lane.COMPUTE), client.hget(entry, "message"))
        system.worker.wait_for_line(
            f"{event.id}.*event.unreadable|event.unreadable.*{event.id}", 20
        )
        # It settles nothing: a true copy would still be run.
        wait_until(lambda: client.hget(entry, "state") == "queued", 10, "the rejection")
        assert containers_of(docker_client, instance) == []
        client.delete(entry)
