"""Secrets that the Engine, a registry, git or a script quotes: they reach no text that leaves."""

import base64
import io
import json
import logging
import stat

import pytest

from cowpoke import keys, log
from cowpoke.broker import BrokerSettings, connect
from cowpoke.messages import task_message
from cowpoke.routes import Lane, queue_for
from simulator import sample
from simulator.rig.processes import wait_until
from tests import factories
from tests.faults.faulty_system import new_instance, wait_fact
from tests.faults.scripted_engine import Answer, Pull
from tests.ledgers import everything
from worker.errors import OperationError, WorkerError

ACTIVATE = "compute.instance.activate"
IMAGE = "storage.image.activate"
CREATE = "/containers/create"
START = "/containers/.*/start"
SECRET = "S3cr3t/val'ue 1"
MASK = "***"
#: What the Engine says when it quotes: some words, and the secret as Go writes it.
WORDS = "the quoted sentence of the engine"

CREATE_DATA = {
    "environment without a name": {"environment": {"": SECRET}},
    "NUL in a name": {"environment": {"A\0B": SECRET}},
    "environment": {"environment": {"A": SECRET}},
    "log options": {"logConfig": {"driver": "x", "config": {"key": SECRET}}},
    "label": {"labels": {"my-password": SECRET}},
    "command": {"command": ["run", f"--password={SECRET}"]},
    "health command": {"healthCmd": ["run", "--token", SECRET]},
}


@pytest.mark.parametrize("call", ["create", "start", "inspect"])
@pytest.mark.parametrize("fields", CREATE_DATA)
def test_the_engines_words_are_scrubbed(engine, host, fields, call):
    """W 37: whichever call is refused, with whichever status, and however the value got there."""
    method, path = {"create": ("POST", CREATE), "start": ("POST", START)}.get(
        call, ("GET", "/containers/[0-9a-f]+/json")
    )
    said = {"message": f"{WORDS}: invalid value {json.dumps(SECRET)} or {SECRET}"}
    engine.script(method, path, Answer(400, said))
    with pytest.raises(WorkerError, match=WORDS) as caught:
        host.run(ACTIVATE, factories.instance_data(CREATE_DATA[fields]))
    assert SECRET not in caught.value.message
    assert MASK in caught.value.message
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_the_engines_warnings_are_scrubbed(engine, host):
    """W 37: they reach the reply's message."""
    engine.script("POST", CREATE, Answer(201, {"Id": "a" * 64, "Warnings": [f"{WORDS} {SECRET}"]}))
    engine.add_container("a" * 64, name="other")
    host.run(ACTIVATE, factories.instance_data({"environment": {"A": SECRET}}))
    assert host.warned == [f"{WORDS} {MASK}"]


def test_words_that_are_cut_in_a_secret_show_no_part_of_it(engine, host):
    """W 37: the limit of an error's length may be in the middle of a value."""
    secret = "0123456789abcdef" * 20
    engine.script("POST", CREATE, Answer(400, {"message": f"{'x' * 1900}{secret}"}))
    with pytest.raises(WorkerError) as caught:
        host.run(ACTIVATE, factories.instance_data({"environment": {"A": secret}}))
    assert secret[:6] not in caught.value.message


def test_a_value_written_as_a_name_is_scrubbed(host):
    """W 37: the path of an unreadable variable names it."""
    with pytest.raises(WorkerError) as caught:
        host.run(ACTIVATE, factories.instance_data({"environment": {f"A={SECRET}": ["x"]}}))
    assert SECRET not in caught.value.message


def credential():
    """The image of an event, with a credential whose password is the secret."""
    return {"registryCredential": {"publicValue": "somebody", "secretValue": SECRET}}


def test_a_registrys_words_are_scrubbed_in_error_progress_and_files(engine, host, tmp_path):
    """W 37: the password as it is, and in the header that the Engine sent on."""
    login = base64.b64encode(f"somebody:{SECRET}".encode()).decode()
    quoted = {"error": f"{WORDS}: denied to {SECRET} ({login})"}
    engine.images.clear()
    engine.script("POST", "/images/create", *[Pull((quoted,), arrives=False)] * 2)
    with pytest.raises(WorkerError, match=WORDS) as caught:
        host.run(IMAGE, factories.image_data(**credential()))
    left = "".join(path.read_text() for path in (tmp_path / "pulls").iterdir())
    for text in (caught.value.message, str(host.told), left):
        assert WORDS in text
        assert SECRET not in text
        assert login not in text
        assert base64.b64encode(SECRET.encode()).decode()[:8] not in text


@pytest.mark.parametrize(
    "remote",
    [
        f"https://u:{SECRET.replace(' ', '%20').replace('/', '%2F')}@127.0.0.1/app.git",
        "https://127.0.0.1/app.git#branch-S3cr3t/val'ue",
        "https://127.0.0.1/app.git;token=S3cr3t/val'ue",
        "user:S3cr3t/val'ue@127.0.0.1:team/app.git",
    ],
)
def test_a_builds_url_shows_no_secret(engine, host, remote):
    """W 38: neither its login nor what follows `#` or `;`, in any text of a failed build."""
    refused = Answer(500, {"message": f"{WORDS}: cannot clone {remote}"})
    engine.script("POST", "/build", refused)
    build = {"build": {"remote": remote}}
    image = {"dockerImage": {"fullName": factories.IMAGE}, "fields": build}
    engine.images.clear()
    with pytest.raises(WorkerError) as caught:
        host.run(IMAGE, factories.image_data(data=image))
    assert "127.0.0.1" in caught.value.message
    for text in (caught.value.message, str(host.told)):
        assert "S3cr3t" not in text
        assert "val'ue" not in text


def test_a_failing_scripts_output_is_scrubbed(make_host, tmp_path):
    """W 38: of all that the worker itself keeps secret, in errors and in answers."""
    script = tmp_path / "config.sh"
    script.write_text('#!/bin/sh\necho "$CATTLE_SECRET_KEY at $http_proxy"; exit ${1#exit-}\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    host = make_host(
        WORKER_CONFIG_SCRIPT=str(script),
        CATTLE_SECRET_KEY=SECRET,
        http_proxy="http://me:proxy-pass@proxy:3128",
    )
    failing = {"items": [{"name": "exit-7"}]}
    with pytest.raises(OperationError, match="failed with exit code 7") as caught:
        host.run("config.update", failing, resource_type="agent")
    reply = host.run("config.update", {"items": [{"name": "exit-0"}]}, resource_type="agent")
    for text in (caught.value.message, reply["output"]):
        assert SECRET not in text
        assert "proxy-pass" not in text
        assert f"{MASK} at" in text


def test_a_log_line_of_an_event_is_scrubbed(engine, host):
    """W 37: also one that a library writes while the event runs."""
    stream = io.StringIO()
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    try:
        log.set_up(debug=True, stream=stream)
        said = {"message": f"{WORDS} {SECRET}"}
        # A start that is refused is taken back; that this fails is only logged.
        engine.script("POST", START, Answer(400, said))
        engine.script("DELETE", "/containers/.*", Answer(400, said))
        with pytest.raises(WorkerError):
            host.run(ACTIVATE, factories.instance_data({"environment": {"A": SECRET}}))
    finally:
        root.handlers[:], root.level = before
        logging.captureWarnings(capture=False)
    assert WORDS in stream.getvalue()
    assert SECRET not in stream.getvalue()


def test_a_password_that_is_a_common_word_spoils_no_log_line(make_program, redis_url, tmp_path):
    """W 37: facts, levels and codes are the program's own words."""
    program = make_program(
        "worker",
        environment={
            "REDIS_URL": redis_url,
            "CATTLE_HOME": str(tmp_path),
            "DOCKER_HOST": f"unix://{tmp_path}/none.sock",
            "CATTLE_DOCKER_REQUIRED": "true",
            "CATTLE_SECRET_KEY": "engine-unavailable",
            "http_proxy": "http://me:worker@proxy:3128",
        },
    )
    assert program.wait() == 1
    (fact,) = map(json.loads, program.output().splitlines())
    assert (fact["event"], fact["code"]) == ("worker.not_started", "engine-unavailable")


def test_a_state_file_has_no_secret(host, tmp_path):
    """W 38: whatever the list of secret keys names, in the instance or in one beside it."""
    fields = {
        "environment": {"A": SECRET},
        "command": ["run", SECRET],
        "entryPoint": [SECRET],
        "healthCmd": f"check {SECRET}",
        "logConfig": {"driver": "json-file", "config": {"tag": SECRET}},
        "secrets": [{"name": "db", "value": SECRET}],
        "labels": {"api-token": SECRET, "role": "db"},
    }
    build = {"remote": f"https://u:{SECRET}@e.org/a.git", "context": f"http://u:{SECRET}@e.org/a"}
    image = factories.image(**credential())
    image["data"]["fields"] = {"build": build}
    beside = factories.link()
    beside["targetInstance"] |= {"token": SECRET, "data": {"fields": fields}}
    host.run(
        ACTIVATE, factories.instance_data(fields, image=image, token=SECRET, instanceLinks=[beside])
    )
    (path,) = (tmp_path / "containers").iterdir()
    written = path.read_text()
    assert SECRET not in written
    assert json.loads(written)["data"]["fields"] == {
        "logConfig": {"driver": "json-file"},
        "secrets": [{"name": "db"}],
        "labels": {"role": "db"},
    }


# -- through the whole system ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def system(make_system):
    """A whole system that logs all it can."""
    return make_system(bridge={"CATTLE_DEBUG": "true"}, worker={"CATTLE_DEBUG": "true"})


@pytest.fixture
def heard(system):
    """Listen to all that Redis publishes in clear; `heard(text)` waits for a text in it."""
    messages = []
    with system.redis.client() as client, client.pubsub() as listener:
        listener.psubscribe("*")
        listener.get_message(timeout=5)

        def wait(text):
            def found():
                message = listener.get_message(timeout=0.1)
                if message and message["type"] == "pmessage":
                    messages.append(_decoded(message["data"]))
                return any(text in one for one in messages)

            wait_until(found, 30, f"{text} in what Redis published")
            return "\n".join(messages)

        yield wait


def _decoded(data):
    """A message of Celery's events in clear, with the one inside it."""
    outer = data.decode(errors="replace")
    try:
        return outer + base64.b64decode(json.loads(outer)["body"]).decode(errors="replace")
    except (ValueError, KeyError, TypeError):
        return outer


def assert_kept(system, call, published):
    """The secret is nowhere; the sentence is in the reply and the worker's log only."""
    assert call.state == "error"
    assert WORDS in call.message
    assert WORDS not in published
    with connect(BrokerSettings.model_validate({"REDIS_URL": system.redis.url})) as client:
        seen = everything(client)
    for text in (json.dumps(call.reply), published, seen):
        assert SECRET not in text
    for program in (system.bridge, system.worker):
        assert SECRET not in program.output()
        assert json.dumps(SECRET)[1:-1] not in program.output()
    assert WORDS in system.worker.output()


@pytest.mark.parametrize("fields", ["environment without a name", "NUL in a name"])
def test_a_quoted_secret_leaves_the_host_nowhere(system, heard, fields):
    """W 37: reply, logs, Redis, and Celery's events, which carry the code only."""
    quoted = {"message": f"{WORDS}: {json.dumps(SECRET)}, {SECRET}"}
    system.scripted.script("POST", CREATE, Answer(400, quoted))
    call = system.ask(sample.instance_activate(new_instance(), **CREATE_DATA[fields]))
    published = heard("task-failed")
    assert "engine-refused" in published
    assert_kept(system, call, published)


def test_a_retry_tells_the_code_only(system, heard):
    """W 37: `exception` and `traceback` of a retry, and of the failure after it."""
    quoted = {"message": f"{WORDS}: {SECRET}"}
    system.scripted.script("POST", CREATE, *[Answer(503, quoted)] * 50)
    event = sample.instance_activate(new_instance(), environment={"A": SECRET})
    call = system.ask(event, timeout_ms=6000)
    published = heard("task-failed")
    assert "task-retried" in published
    assert "engine-unavailable" in published
    assert_kept(system, call, published)
    assert "remove_pending_result" not in system.worker.output()


def test_a_move_to_the_images_lane_and_a_failed_pull_tell_the_code_only(system, heard):
    """W 37: the retry on the other queue, and the registry's words."""
    quoted = {"error": f"{WORDS}: {SECRET}"}
    system.scripted.script("POST", "/images/create", *[Pull((quoted,), arrives=False)] * 2)
    instance = new_instance(image="example/other:1")
    event = sample.instance_activate(instance)
    event.data["instanceHostMap"]["instance"]["image"].update(credential())
    call = system.ask(event)
    published = heard("task-failed")
    assert "image-needed" in published
    assert "image-pull-failed" in published
    assert_kept(system, call, published)


def test_an_unforeseen_error_tells_the_code_only(system, heard):
    """W 37: its text may hold anything, and is quoted nowhere."""
    system.scripted.script("POST", CREATE, Answer(201, [SECRET, WORDS]))
    call = system.ask(sample.instance_activate(new_instance(), environment={"A": SECRET}))
    published = heard("task-failed")
    assert call.state == "error"
    assert "internal-error" in published
    for text in (json.dumps(call.reply), published, system.worker.output()):
        assert SECRET not in text


def test_a_message_that_no_task_can_run_tells_nothing(system):
    """W 37: what is kept and logged of such a message quotes no payload."""
    queue = queue_for(system.host_uuid, Lane.CONTROL)
    message = json.loads(task_message(event_id="e", task_name="ping", queue=queue, summary="-"))
    body = [["e", SECRET], {"x": WORDS}, {}]
    message["body"] = base64.b64encode(json.dumps(body).encode()).decode()
    printed = len(system.worker.output())
    with system.redis.client() as client:
        client.lpush(queue, json.dumps(message))
        dead = keys.dead_letters(system.host_uuid)
        (letter, *_) = wait_until(lambda: client.lrange(dead, 0, -1), 10, "the dead letter")
    wait_fact(system.worker, "message.dead_lettered")
    for said in (letter.decode(), system.worker.output()[printed:]):
        assert SECRET not in said
        assert WORDS not in said
