"""Containers and Engines that do not do as they are told, on a scripted Engine."""

import time

import pytest

from tests import factories
from tests.faults.scripted_engine import Answer, Held, ScriptedEngine
from worker.errors import EngineUnavailableError, OperationError

DEACTIVATE = "compute.instance.deactivate"
STOP = "/containers/.*/stop"
KILL = "/containers/.*/kill"
ID = "a" * 64


@pytest.fixture
def engine(tmp_path):
    """A scripted Engine with one running container of the test's instance."""
    with ScriptedEngine(tmp_path) as running:
        running.images.add(factories.IMAGE)
        running.add_container(ID, name="r-web", uuid=factories.UUID, running=True)
        yield running


def stopping(timeout_s):
    """A deactivate that gives the container so long."""
    return factories.instance_data(processData={"timeout": timeout_s})


def test_a_refused_stop_is_followed_by_a_kill(engine, make_host):
    """And that is a success (A 11.2)."""
    engine.script("POST", STOP, Answer(500, {"message": "cannot stop"}))
    make_host().run(DEACTIVATE, stopping(1))
    assert not engine.containers[ID]["State"]["Running"]


def test_a_container_that_survives_its_kill_is_an_error(engine, make_host):
    """In python-agent's words (A 11.2, 1.19)."""
    engine.script("POST", STOP, Answer(204))
    engine.script("POST", KILL, Answer(204))
    with pytest.raises(OperationError, match=f"Failed to stop container {factories.UUID}"):
        make_host().run(DEACTIVATE, stopping(1))


def test_our_patience_is_longer_than_the_stops(engine, make_host):
    """A stop that takes its whole time is no timeout of ours (A 11.4)."""
    held = Held()
    engine.script("POST", STOP, held)
    host = make_host(WORKER_ENGINE_TIMEOUT_S="0.5")
    began_s = time.monotonic()
    with pytest.raises(EngineUnavailableError):
        host.run(DEACTIVATE, stopping(2))
    assert time.monotonic() - began_s >= 2
    held.let_go()


@pytest.mark.parametrize("status", [500, 503])
def test_an_ill_engine_is_not_a_missing_image(engine, make_host, status):
    """Only 404 leads to a pull (A 12.3)."""
    engine.script("GET", "/images/.*/json", Answer(status, {"message": "ill"}))
    with pytest.raises(EngineUnavailableError, match="ill"):
        make_host().run("storage.image.activate", factories.image_data())
    assert not [path for _, path in engine.requests if "/images/create" in path]
