"""Dockerd was killed while it started a container, and refuses that container ever after."""

import pytest

from tests import factories
from tests.faults.scripted_engine import Answer, Drop
from worker.errors import (
    ContainerStrandedError,
    EngineBusyError,
    EngineError,
    EngineUnavailableError,
)

ACTIVATE = "compute.instance.activate"
START = "/containers/.*/start"
STRANDED = Answer(500, {"message": "failed to start shim: mkdir 00000001: file exists"})


@pytest.mark.parametrize(
    "words",
    [
        "task 00000001: already exists",
        "id already in use",
        "failed to start shim: mkdir 00000001: file exists: unknown",
    ],
)
def test_what_never_ran_is_made_anew(engine, host, words):
    """Its 500 is for ever, a new container is not; the words are those of Docker 20.10."""
    engine.script("POST", START, Drop(), Answer(500, {"message": words}))
    with pytest.raises(EngineUnavailableError):
        host.run(ACTIVATE, factories.instance_data())
    with pytest.raises(EngineBusyError, match=r"; .* is created again"):
        host.run(ACTIVATE, factories.instance_data())
    host.run(ACTIVATE, factories.instance_data())
    (only,) = engine.containers.values()
    assert only["State"]["Running"]
    assert engine.count("POST", "/containers/create") == 2


def test_it_is_made_anew_once(engine, host):
    """The new one is refused as well: that is the answer, and nothing is left (A 3.9)."""
    engine.script("POST", START, Drop(), STRANDED, STRANDED)
    for expected in (EngineUnavailableError, EngineBusyError, ContainerStrandedError):
        with pytest.raises(EngineError) as caught:
            host.run(ACTIVATE, factories.instance_data())
        assert type(caught.value) is expected
    assert engine.containers == {}


def test_what_had_run_is_kept(engine, host):
    """What a container wrote is the user's: nothing of ours removes it to start it (A 3.9)."""
    engine.add_container("a" * 64, name="r-web", uuid=factories.UUID)
    engine.containers["a" * 64]["State"] = {"Running": False, "Status": "exited"}
    assert_refused_and_kept(engine, host, factories.instance_data())


def test_what_a_user_made_is_kept(engine, host):
    """It never ran, and may hold what its user copied into it."""
    engine.add_container("a" * 64, name="users")
    engine.containers["a" * 64]["State"] = {"Running": False, "Status": "created"}
    native = factories.instance_data(nativeContainer=True, externalId="a" * 64)
    assert_refused_and_kept(engine, host, native)


def test_another_refusal_keeps_what_was_there(engine, host):
    """A taken port or a missing program is cattle's to hear, and the container stays (A 3.9)."""
    engine.add_container("a" * 64, name="r-web", uuid=factories.UUID)
    engine.script("POST", START, Answer(500, {"message": "port is already allocated"}))
    with pytest.raises(EngineError, match="port is already allocated"):
        host.run(ACTIVATE, factories.instance_data())
    assert "a" * 64 in engine.containers


def assert_refused_and_kept(engine, host, data):
    """The event ends in the Engine's words; the container is there."""
    engine.script("POST", START, STRANDED)
    with pytest.raises(ContainerStrandedError, match="file exists"):
        host.run(ACTIVATE, data)
    assert "a" * 64 in engine.containers
