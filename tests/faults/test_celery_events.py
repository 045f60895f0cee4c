"""What Flower is told of an event: names, ids, images, codes and times, and nothing secret."""

import base64

import pytest

from cowpoke.broker import BrokerSettings, connect
from simulator import sample
from tests.celery_events import hearing
from tests.faults.faulty_system import new_instance
from tests.faults.scripted_engine import Answer, Pull
from tests.ledgers import everything

ACTIVATE = "compute.instance.activate"
SECRET = "S3cr3t-in-every-place"
ENCODED = base64.b64encode(SECRET.encode()).decode()[:24]


@pytest.fixture(scope="module")
def system(make_system):
    """A system with a worker as it is by default."""
    return make_system()


@pytest.fixture
def heard(system):
    """Celery's events from now on."""
    with hearing(system.redis) as events:
        yield events


def secret_event(instance: sample.Instance) -> sample.SampleEvent:
    """An activate with a secret in every place that is not public."""
    event = sample.instance_activate(
        instance,
        environment={"PASSWORD": SECRET, SECRET: "x"},
        labels={"my-token": SECRET, SECRET: "x"},
        command=["run", SECRET],
        entryPoint=["/entry", SECRET],
        healthCmd=["check", SECRET],
        logConfig={"driver": "json-file", "config": {"tag": SECRET}},
    )
    row = event.data["instanceHostMap"]["instance"]
    row["token"] = SECRET
    row["image"]["registryCredential"] = {"publicValue": "somebody", "secretValue": SECRET}
    row["secrets"] = [{"name": "db", "value": SECRET, "rewrapText": SECRET}]
    row["data"]["dockerInspect"] = {"Config": {"Env": [f"A={SECRET}"]}}
    event.data["instanceHostMap"]["host"]["data"] = {
        "fields": {"hostname": "host1", "labels": {"secret": SECRET}}
    }
    return event


def assert_public(system, heard):
    """No secret is in Celery's events, in the rest of Redis, or in the worker's log."""
    with connect(BrokerSettings.model_validate({"REDIS_URL": system.redis.url})) as client:
        assert SECRET not in everything(client)
    assert SECRET not in heard.text
    assert ENCODED not in heard.text
    assert SECRET not in system.worker.output()


def test_event_says_what_it_is_about_and_what_became_of_it(system, heard):
    """Name, id, image and host as the arguments; state and id of the container as the result."""
    instance = new_instance()
    call = system.ask(secret_event(instance))
    assert call.state == "success", call.message
    done = heard.wait(call.id, "succeeded")
    received = heard.wait(call.id, "received")
    wanted = f"{instance.name} (1i{instance.id}) {instance.image} on host1"
    assert (received["name"], received["args"], received["kwargs"]) == (ACTIVATE, wanted, "{}")
    container_id = call.data["instanceHostMap"]["instance"]["externalId"]
    assert done["result"].startswith(f"running {container_id[:12]}")
    assert_public(system, heard)


def test_arguments_stay_after_a_change_of_lane_and_the_retry_has_its_reason(system, heard):
    """An activate whose image is missing goes on in the images lane, as the same task."""
    instance = new_instance(image="example/elsewhere:1")
    system.scripted.script("POST", "/images/create", Pull(({"status": "Pulling"},)))
    call = system.ask(secret_event(instance))
    assert call.state == "success", call.message
    heard.wait(call.id, "succeeded")
    received = [one for one in heard.of(call.id) if one["type"] == "task-received"]
    assert len(received) == 2
    assert {one["args"] for one in received} == {
        f"{instance.name} (1i{instance.id}) example/elsewhere:1 on host1"
    }
    assert {one["hostname"].partition("-")[0] for one in received} == {"compute", "images"}
    retried = heard.wait(call.id, "retried")
    assert retried["exception"] == (
        "image-needed: the image must be pulled first, goes on in the lane images"
    )
    assert retried["traceback"] == ""
    assert_public(system, heard)


def test_failure_after_retries_has_its_code_and_nothing_of_the_engines_words(system, heard):
    """The code, and which command shows the sentence."""
    refused = Answer(503, {"message": f"the Engine quotes {SECRET}"})
    system.scripted.script("POST", "/containers/create", *[refused] * 50)
    call = system.ask(secret_event(new_instance()), timeout_ms=5000)
    system.scripted.forget_scripts()
    assert call.state == "error"
    failed = heard.wait(call.id, "failed")
    assert failed["exception"] == "engine-unavailable"
    assert failed["traceback"].endswith(f"cowpoke events show {call.id}")
    retried = heard.wait(call.id, "retried")
    assert retried["exception"].startswith("engine-unavailable: the Engine does not answer, again")
    assert "the Engine quotes" not in heard.text
    assert_public(system, heard)


def ping(system) -> str:
    """A ping that was answered; its id."""
    call = system.call("ping", {"options": {}}, resource_type="agent", resource_id="1a5")
    assert call.state == "success"
    return call.id


def test_pings_are_not_shown_unless_a_worker_is_told_to(system, heard, make_system):
    """`WORKER_FLOWER_PINGS`: none by default, 1 shows all of them with their arguments."""
    hidden = ping(system)
    event = system.ask(sample.instance_activate(new_instance()))
    heard.wait(event.id, "succeeded")
    assert heard.types(hidden) == []
    telling = make_system(host_uuid="another-host", worker={"WORKER_FLOWER_PINGS": "1"})
    with hearing(telling.redis) as all_events:
        shown = ping(telling)
        assert all_events.wait(shown, "succeeded")["result"].startswith("answered in ")
        assert all_events.types(shown) == ["received", "started", "succeeded"]
        assert all_events.wait(shown, "received")["args"] == "agent:1a5"
