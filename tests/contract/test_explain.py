"""`python -m worker explain EVENT.json`: the create body of an event, and nothing touched."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import factories

ROOT = Path(__file__).parents[2]
MISSING_ENGINE = "unix:///nowhere/docker.sock"
NO_OP = {"processData": {"containerNoOpEvent": True}}
NATIVE = {"nativeContainer": True, "externalId": "a" * 64}


@pytest.fixture
def explain(tmp_path):
    """Run the command on a text, on a host without Docker and Redis.

    The result has the exit code, the standard output and the standard error.
    """
    home = tmp_path / "home"

    def run(text, **environment):
        file = tmp_path / "event.json"
        file.write_text(text, encoding="utf-8")
        ended = subprocess.run(
            [sys.executable, "-m", "worker", "explain", str(file)],
            cwd=ROOT,
            env={
                "PATH": os.defpath,
                "CATTLE_HOME": str(home),
                "DOCKER_HOST": MISSING_ENGINE,
                "REDIS_URL": "redis://127.0.0.1:9/0",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not home.exists(), "it touches nothing"
        return ended

    return run


def explained(ended):
    """The JSON on standard output of a run that ended well."""
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def warnings(ended):
    """The log lines on standard error."""
    return [json.loads(line) for line in ended.stderr.splitlines()]


def text_of(fields=None, **changes):
    """An activate event as JSON."""
    return json.dumps(factories.event(data=factories.instance_data(fields, **changes)))


def test_it_prints_the_engines_create_body(explain):
    """The body is JSON and the Engine's own, zeros kept; other containers go by cattle's names."""
    ended = explain(
        text_of(
            {"memory": 0, "environment": {"A": "1"}, "dataVolumes": ["/data:/data:ro"]},
            dataVolumesFromContainers=[{"uuid": "another"}],
        )
    )
    body = explained(ended)
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
    """The file is named, and what was wanted; standard output stays empty."""
    ended = explain(text)
    assert ended.returncode == 1
    assert "event.json: " in ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_warnings_go_to_standard_error(explain, tmp_path):
    """W 25: standard output is JSON whatever there is to warn of."""
    fields = {"dnsSearch": ["a.rancher.internal"], "lxcConf": {"a": "b"}}
    missing = str(tmp_path / "no-resolv.conf")
    ended = explain(text_of(fields, nics=[factories.nic()]), WORKER_RESOLV_CONF=missing)
    assert explained(ended)["HostConfig"]["DnsSearch"] == ["a.rancher.internal"]
    assert {line["event"] for line in warnings(ended)} == {
        "domains.not_read",
        "field.not_applied",
        "explain.version_assumed",
    }


@pytest.mark.parametrize(
    ("version", "place"),
    [("1.41", "container"), ("1.44", "endpoint"), ("1.52", "endpoint")],
)
@pytest.mark.parametrize(
    "variable", ["CATTLE_DOCKER_API_VERSION", "CATTLE_DOCKER_STORAGE_API_VERSION"]
)
def test_api_version_of_the_settings_decides(explain, variable, version, place):
    """W 25: the body is the one for that version, and no version is assumed."""
    ended = explain(text_of(nics=[factories.nic()]), **{variable: version})
    assert ("MacAddress" in explained(ended)) is (place == "container")
    assert ("NetworkingConfig" in explained(ended)) is (place == "endpoint")
    assert ended.stderr == ""


def test_unreadable_api_version_is_an_error(explain):
    """W 25: in words, without a traceback."""
    ended = explain(text_of(), CATTLE_DOCKER_API_VERSION="new")
    assert ended.returncode == 1
    assert "'new'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_running_or_stopped_native_container_needs_no_create(explain):
    """W 25, A 3.14: it is found and started; the body is for one that is gone."""
    steps = explained(explain(text_of({"memory": 1}, **NATIVE)))
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
    steps = explained(explain(text_of(fields, **NATIVE, **changes)))
    assert steps["whenStopped"] == "started, then reported"
    assert steps["whenMissing"].startswith("an error: ")
    assert words in steps["whenMissing"]
    assert "createBody" not in steps


@pytest.mark.parametrize("changes", [NATIVE, {}])
def test_event_that_only_reports_creates_nothing(explain, changes):
    """W 25, A 2.13: cattle only wants to know, of native containers and of its own."""
    steps = explained(explain(text_of(**NO_OP, **changes)))
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
    assert explained(explain(text_of(fields, ports=published)))["HostConfig"][key] == value


def test_bind_address_with_a_typo_is_refused(explain):
    """W 16: the port, the field and the text are named."""
    port = {"privatePort": 80, "publicPort": 18085}
    typo = {**port, "data": {"fields": {"bindAddress": "11127.0.0.1"}}}
    ended = explain(text_of(ports=[typo]))
    assert ended.returncode == 1
    assert "port 18085:80/tcp" in ended.stderr
    assert "bindAddress '11127.0.0.1'" in ended.stderr
