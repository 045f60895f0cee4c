"""W 9: every recorded frame of a real cattle 1.6 through the whole system, to an expected result.

Simulator, bridge, Redis and worker are real, and so is the Engine. The expected results are kept
per frame in `tests/fixtures/recordings`; they are ours, because the recorded answers are those of
an older bridge with its faults. `given` says what the host has before the frame comes: the
instance's container `running` or `stopped`, or none (`absent`). Values that are `***` in the
recordings are sent as they are.
"""

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from simulator.rig.engine import start_private_engine
from simulator.rig.errors import RigError
from simulator.rig.image import TEST_IMAGE, build_image
from simulator.rig.registry import Registry
from tests import recordings
from tests.replay import (
    AGENT,
    BOUND_FOLDERS,
    SERVICE,
    ReplayStage,
    Scene,
    bridge_environment,
    play_heartbeat,
)
from tests.system import System

EXPECTED_FILE = Path(__file__).parents[1] / "fixtures/recordings/cattle-1.6.expected.jsonl"
EXPECTED = [json.loads(line) for line in EXPECTED_FILE.read_text(encoding="utf-8").splitlines()]
FRAMES_RECORDED = 119


@pytest.fixture(scope="module")
def frames(missing_part):
    """Every recorded frame by its id; the recordings are no part of the project."""
    if not recordings.RECORDINGS.is_file():
        missing_part(f"the recordings are not here: {recordings.RECORDINGS} does not exist")
    return recordings.frames()


@pytest.fixture(scope="module")
def stage(frames, missing_part, redis_server, tmp_path_factory):
    """A registry, an Engine of the test's own, and a system on it."""
    redis_server.client().flushall()
    state = tmp_path_factory.mktemp("state")
    resolv_conf = state / "resolv.conf"
    resolv_conf.write_text("", encoding="ascii")
    missing = [folder for folder in map(Path, BOUND_FOLDERS) if not folder.exists()]
    with ExitStack() as stack:
        try:
            registry = stack.enter_context(Registry())
            engine = stack.enter_context(start_private_engine())
            assert engine.private  # every container on it is removed
            client = engine.client()
            stack.callback(client.close)
            build_image(client)
        except (RigError, OSError) as error:
            missing_part(error)
        registry.push(client, TEST_IMAGE, "bar:1")
        host = "host-under-test"
        bridges = {raw: bridge_environment(state, host, raw=raw) for raw in (False, True)}
        system = System(
            redis=redis_server,
            host_uuid=host,
            bridge=bridges[False],
            state_dir=state,
            engine_environment=engine.environment,
            agent=AGENT,
            simulator={"SIMULATOR_AGENTS": json.dumps([AGENT, SERVICE])},
            worker={"WORKER_RESOLV_CONF": str(resolv_conf)},
        )
        stack.enter_context(system)
        ready = ReplayStage(system, client, registry, bridges)
        yield ready
        ready.clear()
    for folder in missing:
        if folder.exists():
            folder.rmdir()


@pytest.mark.parametrize(
    "expected", EXPECTED, ids=lambda one: f"{one['number']:03d}-{one['event']}"
)
def test_a_recorded_frame_ends_as_expected(stage, frames, expected):
    """W 9: the reply and the host are as the expected results have it."""
    frame = frames[expected["frame"]]
    stage.subscribe_as_recorded(frame)
    if expected["outcome"] == "unanswered":
        play_heartbeat(stage, frame)
        return
    scene = Scene(stage, frame, expected["given"])
    call = scene.play()
    assert call.state == expected["outcome"], call.message
    assert call.duplicates == call.late == []
    assert scene.reply(call) == expected["reply"]
    assert scene.container() == expected["container"]


def test_every_recorded_frame_has_an_expected_result(frames):
    """W 9: none is skipped, and none is expected twice."""
    assert len(EXPECTED) == FRAMES_RECORDED
    assert {one["frame"] for one in EXPECTED} == frames.keys()
    for number, one in enumerate(EXPECTED):
        assert frames[one["frame"]]["name"] == one["event"], number
