"""Bridges and workers replaced one after the other under load: cattle does not notice."""

import signal
import subprocess
from pathlib import Path

import pytest

from simulator import sample
from simulator.rig.processes import PROJECT_DIR
from tests.faults.faulty_system import FaultySystem, new_instance
from tests.faults.scripted_engine import Held
from tests.rolling import Load, Programs

#: The last commit that changed the recorded wire data of version 1, so code of that release.
RECORDED_BY = "bacbe6e"
CREATE = "/containers/create"


@pytest.fixture
def system(make_system) -> FaultySystem:
    """A host whose agent is pinged often; each test replaces its programs."""
    return make_system(
        simulator={"SIMULATOR_PING_INTERVAL_S": "0.5"}, worker={"WORKER_DRAIN_TIMEOUT_S": "20"}
    )


@pytest.fixture
def programs():
    """Start and replace programs."""
    with Programs() as started:
        yield started


@pytest.fixture(scope="module")
def recorded_release(tmp_path_factory) -> Path:
    """The source tree of the release that wrote the recorded wire data."""
    folder = tmp_path_factory.mktemp("release")
    git = ["git", "-C", str(PROJECT_DIR), "archive", "--format=tar", RECORDED_BY]
    packed = subprocess.run(git, capture_output=True, check=False)
    if packed.returncode != 0:
        pytest.skip(f"this checkout has no commit {RECORDED_BY}: it has no history")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    return folder


def test_cattle_does_not_notice_that_programs_are_replaced(system, programs):
    """Two bridges, then two workers: each stops before its successor starts."""
    bridge, worker = programs.add(system.bridge), programs.add(system.worker)
    with Load(system) as load:
        for program in (system.bridge, bridge, system.worker, worker):
            programs.replace(program)
            load.wait_sent(5)
    load.assert_nothing_noticed()


def test_cattle_does_not_notice_an_update_from_the_recorded_release(
    system, programs, recorded_release
):
    """In a mixed order: programs of both releases work together at any time."""
    recorded = {"directory": recorded_release}
    old = [programs.add(one, **recorded) for one in (system.worker, system.bridge)]
    old += [programs.replace(one, **recorded) for one in (system.bridge, system.worker)]
    with Load(system) as load:
        for program in old:
            programs.replace(program)
            load.wait_sent(5)
    load.assert_nothing_noticed()


def test_the_only_worker_answers_pings_while_it_drains(system):
    """Its control lane leaves last, so a long create stops no pings; the pause is short."""
    held = Held()
    system.scripted.script("POST", CREATE, held)
    event_id = system.send(sample.instance_activate(new_instance()))
    held.wait_reached()
    system.worker.send_signal(signal.SIGTERM)
    system.worker.wait_for_line("lane.stopping")
    for _ in range(3):
        assert system.cattle.call("ping", {}, resource_type="agent").state == "success"
    assert system.worker.running
    held.let_go()
    assert system.worker.wait() == 0
    assert system.cattle.wait(event_id).state == "success"
    system.restart_worker()
    with Load(system) as load:
        load.wait_sent(1)
    load.assert_nothing_noticed()
