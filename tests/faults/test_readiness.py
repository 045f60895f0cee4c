"""A worker says what it lacks: in its log at start and later, and on its health check."""

import json

import pytest

from simulator.rig.processes import wait_until
from tests import factories
from tests.faults.faulty_system import facts, wait_fact, wait_lane
from tests.faults.scripted_engine import ScriptedEngine

LANES = ("compute", "control", "images")


@pytest.fixture
def environment(redis_url, tmp_path):
    """The settings of a worker whose Engine is not there yet."""
    return {
        "REDIS_URL": redis_url,
        "DOCKER_HOST": f"unix://{tmp_path}/engine.sock",
        "CATTLE_HOME": str(tmp_path / "home"),
    }


@pytest.fixture
def health(make_program, environment):
    """Run `python -m worker health`: its exit code and what it printed."""

    def ask(*arguments, **extra):
        program = make_program("worker", "health", *arguments, environment={**environment, **extra})
        return program.wait(60), program.output()

    return ask


def test_worker_without_an_engine_says_so_once_and_when_it_comes(
    make_program, environment, tmp_path
):
    """W 33: one line with advice at start, one when the Engine answers, and again when it goes."""
    worker = make_program("worker", environment=environment)
    wait_fact(worker, "engine.unreachable")
    (line,) = facts(worker, "engine.unreachable")
    assert "start Docker" in line["advice"]
    assert line["engine"] == environment["DOCKER_HOST"]
    for lane in LANES:
        wait_lane(worker, lane)
    with ScriptedEngine(tmp_path) as engine:
        assert engine.host == environment["DOCKER_HOST"]
        engine.images.add(factories.IMAGE)
        wait_fact(worker, "engine.reachable", timeout_s=60)
        assert len(facts(worker, "engine.unreachable")) == 1
    wait_fact(worker, "engine.unreachable", 2, timeout_s=60)
    assert len(facts(worker, "engine.reachable")) == 1


def test_health_check_names_each_missing_part(make_program, environment, health, tmp_path):
    """W 33: exit code 1 with reasons without an Engine or lanes, 0 with all of them."""
    code, said = health()
    assert code == 1
    assert "no worker has run here yet" in said
    assert "CATTLE_STATE_DIR" in said
    worker = make_program("worker", environment=environment)
    for lane in LANES:
        wait_lane(worker, lane)
    code, said = health()
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("Docker: ")
    code, said = health("--json")
    found = json.loads(said)
    assert (code, found["healthy"], len(found["problems"])) == (1, False, 1)
    with ScriptedEngine(tmp_path):
        wait_until(lambda: health() == (0, "healthy\n"), 60, "a healthy worker")
        worker.terminate()
        code, said = health()
    assert code == 1
    assert [f"lane {lane}" in said for lane in LANES] == [True] * 3


def test_health_check_without_redis_fails(environment, health, tmp_path):
    """W 33: a port where nobody listens; the exit code is 1 in bounded time."""
    with ScriptedEngine(tmp_path):
        code, said = health(REDIS_URL="redis://127.0.0.1:1/0", CATTLE_DOCKER_UUID="u")
    assert code == 1
    assert said.startswith("Redis: ")


def test_health_check_of_one_lane_asks_for_that_lane_only(
    make_program, environment, health, tmp_path
):
    """W 33: `--lane` as for the worker itself."""
    with ScriptedEngine(tmp_path):
        worker = make_program("worker", "run", "--lane", "control", environment=environment)
        wait_lane(worker, "control")
        assert health("--lane", "control") == (0, "healthy\n")
        code, said = health()
    assert code == 1
    assert "lane compute" in said
