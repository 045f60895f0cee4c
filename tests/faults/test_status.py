"""`cowpoke status` of real programs: 0 while all is well, and the truth while parts fail."""

import json

import pytest

from simulator.rig.processes import Program, wait_until
from tests import factories
from tests.faults.faulty_system import FaultySystem
from tests.faults.scripted_engine import ScriptedEngine
from tests.system import AGENT

HOST = "host-under-test"
#: A bridge counts as unable to connect after 15 s, and a dead worker's lease lasts 5 s.
WITHIN_S = 90.0


@pytest.fixture
def folder(tmp_path):
    """The folder of the Engine's socket."""
    path = tmp_path / "engine"
    path.mkdir()
    return path


@pytest.fixture
def system(redis_server, folder, tmp_path):
    """A whole system, with pings; a test stops its parts and starts them again."""
    redis_server.client().flushall()
    with ScriptedEngine(folder) as engine:
        engine.images.add(factories.IMAGE)
        with FaultySystem(
            engine,
            redis=redis_server,
            state_dir=tmp_path,
            simulator={"SIMULATOR_PING_INTERVAL_S": "1"},
        ) as running:
            running.wait_lanes()
            yield running


def status(system):
    """The exit code, and what the command says as JSON."""
    environment = {"REDIS_URL": system.redis.url, "QUEUE_KEY": system.queue_key}
    with Program("cowpoke", "status", "--json", environment=environment) as command:
        code = command.wait(60)
        return code, json.loads(command.output())


def wait_problems(system, *codes):
    """Wait until exactly these need a person; the exit code tells the same. Returns the status."""
    seen = {}

    def are_told():
        code, seen["said"] = status(system)
        urgent = {one["code"] for one in seen["said"]["problems"] if one["needs_person"]}
        assert code == (1 if urgent else 0)
        seen["urgent"] = urgent
        return urgent == set(codes)

    wait_until(are_told, WITHIN_S, f"the problems {codes}")
    return seen["said"]


def pinged(said):
    """Whether the bridge reports when cattle last pinged."""
    return any(one["last_ping_ms"] for bridge in said["bridges"] for one in bridge["websockets"])


def test_status_follows_what_fails_and_heals(system, folder):
    """Engine, worker, cattle and bridge, one after the other."""
    wait_until(lambda: pinged(status(system)[1]), WITHIN_S, "a websocket with a ping")
    said = wait_problems(system)
    (bridge,), (host,) = said["bridges"], said["hosts"]
    assert bridge["server"] == system.cattle_url
    (websocket,) = bridge["websockets"]
    assert (websocket["agent"], websocket["host_uuid"]) == (AGENT["access_key"], HOST)
    assert websocket["state"] == "open"
    assert host["engine"]["reachable"]
    assert host["engine"]["api_version"] == "1.41"
    calls = wait_problems(system)["hosts"][0]["workers"][0]["figures"]
    assert set(calls) == {"compute", "control", "images"}
    assert AGENT["secret_key"] not in json.dumps(said)

    system.scripted.__exit__(None, None, None)
    said = wait_problems(system, "engine-unreachable")
    assert "cannot be reached" in said["hosts"][0]["engine"]["reason"]
    (folder / "engine.sock").unlink()
    system.scripted = ScriptedEngine(folder).__enter__()
    try:
        wait_problems(system)
        system.worker.terminate()
        said = wait_problems(system, "host-without-worker")
        assert said["problems"][0]["subject"] == HOST
        system.worker.start()
        wait_problems(system)

        system.simulator.kill()
        said = wait_problems(system, "cattle-unreachable")
        assert said["problems"][0]["subject"] == system.cattle_url
        assert "stream.closed" in {one["code"] for one in said["bridges"][0]["errors"]}
        system.bridge.terminate()
        wait_problems(system, "no-bridge")
    finally:
        system.scripted.__exit__(None, None, None)
