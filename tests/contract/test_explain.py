"""`explain`: the create body of an event, and nothing touched.

The command runs as a process where its output is the point, and in this process elsewhere.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cowpoke.environment import read
from tests import factories
from tests.drivers import volume, with_volumes
from worker.errors import EngineError, PayloadError
from worker.explain import explain_event
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
#: Imports that cost a short command most of its start.
SLOW_IMPORTS = {"celery", "docker", "kombu", "redis", "requests"}
NO_OP = {"processData": {"containerNoOpEvent": True}}
NATIVE = {"nativeContainer": True, "externalId": "a" * 64}


@pytest.fixture
def environment(tmp_path):
    """A host without Docker and Redis, whose folder must stay untouched."""
    home = tmp_path / "home"
    yield {
        "CATTLE_HOME": str(home),
        "DOCKER_HOST": "unix:///nowhere/docker.sock",
        "REDIS_URL": "redis://127.0.0.1:9/0",
    }
    assert not home.exists(), "it touches nothing"


@pytest.fixture
def command(tmp_path, environment):
    """Run the command on a text.

    The result has the exit code, the standard output and the standard error.
    """

    def run(text, *python_options, **variables):
        file = tmp_path / "event.json"
        file.write_text(text, encoding="utf-8")
        return subprocess.run(
            [sys.executable, *python_options, "-m", "worker", "explain", str(file)],
            cwd=ROOT,
            env={"PATH": os.defpath, **environment, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def explain(environment, monkeypatch):
    """Explain a text; the result is what the command prints, and the names of its log lines."""

    def run(text, **variables):
        for name, value in {**environment, **variables}.items():
            monkeypatch.setenv(name, value)
        with capture_logs() as logs:
            explained = explain_event(text, read(WorkerSettings))
        return explained, {line["event"] for line in logs}

    return run


def text_of(fields=None, **changes):
    """An activate event as JSON."""
    return json.dumps(factories.event(data=factories.instance_data(fields, **changes)))


def test_it_prints_the_engines_create_body(command):
    """The body is JSON and the Engine's own, zeros kept; other containers go by cattle's names."""
    ended = command(
        text_of(
            {"memory": 0, "environment": {"A": "1"}, "dataVolumes": ["/data:/data:ro"]},
            dataVolumesFromContainers=[{"uuid": "another"}],
        )
    )
    assert ended.returncode == 0, ended.stderr
    body = json.loads(ended.stdout)
    assert body["Image"] == factories.IMAGE
    assert body["Env"] == ["A=1"]
    assert body["HostConfig"]["Memory"] == 0
    assert body["HostConfig"]["Binds"] == ["/data:/data:ro"]
    assert ended.stderr == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "wanted one of cattle's events as JSON"),
        ('{"id": "1"}', "name: Field required"),
        (json.dumps(factories.event(name="ping")), "found ping"),
        (json.dumps(factories.event(data={})), "must have an object 'instanceHostMap'"),
    ],
)
def test_what_is_no_activate_event_is_refused_in_words(explain, text, words):
    """The error says what was wanted."""
    with pytest.raises(PayloadError) as refused:
        explain(text)
    assert words in refused.value.message


def test_refusal_goes_to_standard_error(command):
    """The file is named, and what was wanted; standard output stays empty."""
    ended = command("nonsense")
    assert ended.returncode == 1
    assert "event.json: wanted one of cattle's events as JSON" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_warnings_go_to_standard_error(command, tmp_path):
    """W 25: standard output is JSON whatever there is to warn of."""
    fields = {"dnsSearch": ["a.rancher.internal"], "lxcConf": {"a": "b"}}
    missing = str(tmp_path / "no-resolv.conf")
    ended = command(text_of(fields, nics=[factories.nic()]), WORKER_RESOLV_CONF=missing)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["HostConfig"]["DnsSearch"] == ["a.rancher.internal"]
    assert {json.loads(line)["event"] for line in ended.stderr.splitlines()} == {
        "domains.not_read",
        "field.not_applied",
        "explain.version_assumed",
    }


@pytest.mark.parametrize(
    ("driver", "warned"), [("rancher-nfs", ["vol1"]), ("rancher-longhorn", []), ("local", [])]
)
def test_a_volume_of_a_rancher_driver_is_warned_of(driver, warned):
    """Only the driver knows what is mounted (B.3)."""
    changes = with_volumes(volume("vol1", driver), binds=["vol1:/data"])
    with capture_logs() as lines:
        made = explain_event(text_of(None, **changes), read(WorkerSettings))
    assert made["HostConfig"]["Binds"] == ["vol1:/data:rw"]
    named = [one["volume"] for one in lines if one["event"] == "explain.driver_not_asked"]
    assert named == warned


def test_it_starts_without_the_libraries_it_does_not_use(command, environment):
    """An operator waits for it: the clients of Redis and Docker take most of a second to import."""
    del environment["REDIS_URL"]
    ended = command(text_of(), "-X", "importtime")
    assert ended.returncode == 0, ended.stderr
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "worker.explain" in imported
    assert imported & SLOW_IMPORTS == set()


@pytest.mark.parametrize(
    ("version", "place"),
    [("1.41", "container"), ("1.44", "endpoint"), ("1.52", "endpoint")],
)
@pytest.mark.parametrize(
    "variable", ["CATTLE_DOCKER_API_VERSION", "CATTLE_DOCKER_STORAGE_API_VERSION"]
)
def test_api_version_of_the_settings_decides(explain, variable, version, place):
    """W 25: the body is the one for that version, and no version is assumed."""
    body, logged = explain(text_of(nics=[factories.nic()]), **{variable: version})
    assert ("MacAddress" in body) is (place == "container")
    assert ("NetworkingConfig" in body) is (place == "endpoint")
    assert logged == set()


def test_unreadable_api_version_is_an_error(explain):
    """W 25: it quotes what was found."""
    with pytest.raises(EngineError, match="'new'"):
        explain(text_of(), CATTLE_DOCKER_API_VERSION="new")


def test_running_or_stopped_native_container_needs_no_create(explain):
    """W 25, A 3.14: it is found and started; the body is for one that is gone."""
    steps, _ = explain(text_of({"memory": 1}, **NATIVE))
    assert steps["foundBy"] == {
        "label": f"io.rancher.container.uuid={factories.UUID}",
        "name": factories.UUID,
        "id": "a" * 64,
    }
    assert steps["whenRunning"] == "reported as it is"
    assert steps["whenStopped"] == "started, then reported"
    assert steps["whenMissing"] == "created from createBody, then started"
    assert steps["createBody"]["HostConfig"] == {"Memory": 1}


@pytest.mark.parametrize(
    ("fields", "changes", "words"),
    [
        ({}, {"image": None}, "no image"),
        ({"memory": "much"}, {}, "memory"),
        ({"dataVolumes": [":"]}, {}, "dataVolumes"),
    ],
)
def test_native_container_that_cannot_be_created_is_explained(explain, fields, changes, words):
    """W 25: it is started all the same when it is there."""
    steps, _ = explain(text_of(fields, **NATIVE, **changes))
    assert steps["whenStopped"] == "started, then reported"
    assert steps["whenMissing"].startswith("an error: ")
    assert words in steps["whenMissing"]
    assert "createBody" not in steps


@pytest.mark.parametrize("changes", [NATIVE, {}])
def test_event_that_only_reports_creates_nothing(explain, changes):
    """W 25, A 2.13: cattle only wants to know, of native containers and of its own."""
    steps, _ = explain(text_of(**NO_OP, **changes))
    assert steps["whenStopped"] == "reported as it is"
    assert steps["whenMissing"] == "reported as gone"
    assert "createBody" not in steps


@pytest.mark.parametrize(
    ("fields", "ports", "expected"),
    [
        ({"logConfig": {"driver": "syslog"}}, [], ("LogConfig", {"Type": "syslog", "Config": {}})),
        (
            {},
            [("18085", "[::1]")],
            ("PortBindings", {"80/tcp": [{"HostIp": "::1", "HostPort": "18085"}]}),
        ),
    ],
)
def test_what_users_sent_is_mapped(explain, fields, ports, expected):
    """W 16, W 24: a log driver alone, an address in brackets."""
    published = [
        {"privatePort": 80, "publicPort": number, "data": {"fields": {"bindAddress": address}}}
        for number, address in ports
    ]
    key, value = expected
    body, _ = explain(text_of(fields, ports=published))
    assert body["HostConfig"][key] == value


def test_command_of_the_image_is_named_where_it_counts(explain):
    """B.2: in a managed network the wait program comes before what only the Engine knows."""
    body, _ = explain(text_of({}, nics=[factories.nic("cni")]))
    assert body["Entrypoint"] == ["/.r/r", "<entry point of the image>"]
    assert body["Cmd"] == ["<command of the image>"]


def test_bind_address_with_a_typo_is_refused(explain):
    """W 16: the port, the field and the text are named."""
    port = {"privatePort": 80, "publicPort": 18085}
    typo = {**port, "data": {"fields": {"bindAddress": "11127.0.0.1"}}}
    with pytest.raises(PayloadError) as refused:
        explain(text_of(ports=[typo]))
    assert "port 18085:80/tcp" in refused.value.message
    assert "bindAddress '11127.0.0.1'" in refused.value.message
