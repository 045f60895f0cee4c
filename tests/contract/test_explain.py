"""`python -m worker explain EVENT.json`: the create body of an event, and nothing touched."""

import json

import pytest

from tests import factories

MISSING_ENGINE = "unix:///nowhere/docker.sock"


@pytest.fixture
def explain(make_program, tmp_path):
    """Run the command on a text, on a host without Docker and Redis; its exit code and output."""
    home = tmp_path / "home"

    def run(text):
        file = tmp_path / "event.json"
        file.write_text(text, encoding="utf-8")
        program = make_program(
            "worker",
            "explain",
            str(file),
            environment={
                "CATTLE_HOME": str(home),
                "DOCKER_HOST": MISSING_ENGINE,
                "REDIS_URL": "redis://127.0.0.1:9/0",
            },
        )
        code = program.wait(20)
        assert not home.exists(), "it touches nothing"
        return code, program.output()

    return run


def test_it_prints_the_engines_create_body(explain):
    """The body is JSON and the Engine's own, zeros kept; other containers go by cattle's names."""
    data = factories.instance_data(
        {"memory": 0, "environment": {"A": "1"}, "dataVolumes": ["/data:/data:ro"]},
        dataVolumesFromContainers=[{"uuid": "another"}],
    )
    code, output = explain(json.dumps(factories.event(data=data)))
    body = json.loads(output)
    assert code == 0
    assert body["Image"] == factories.IMAGE
    assert body["Env"] == ["A=1"]
    assert body["HostConfig"]["Memory"] == 0
    assert body["HostConfig"]["Binds"] == ["/data:/data:ro"]


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
    """The file is named, and what was wanted."""
    code, output = explain(text)
    assert code == 1
    assert "event.json: " in output
    assert words in output
    assert "Traceback" not in output
