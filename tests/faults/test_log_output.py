"""All that the two programs print is JSON lines, whatever happens to them."""

import json
import os
import signal
import socket

import pytest

from simulator import sample
from simulator.rig.processes import PROJECT_DIR, wait_until
from tests.faults.faulty_system import FaultySystem, facts, lane_pid, new_instance, wait_fact
from tests.faults.scripted_engine import Answer

CREATE = "/containers/create"
#: Also what Python hides by default.
ALL_WARNINGS = {"PYTHONWARNINGS": "always"}

CRASHES = """\
import asyncio, gc, sys, threading, warnings
from cowpoke import log
log.set_up_program()
log.logger("little").info("program.started")
print("printed", "by a library")
print("an error", file=sys.stderr)
warnings.warn("old ways", DeprecationWarning)

class Bad:
    def __del__(self):
        raise ValueError("while it was removed")

bad = Bad()
del bad
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()

async def main():
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    forgotten = asyncio.create_task(asyncio.sleep(0, 1 / 1))
    async def fails():
        raise KeyError("nobody waits")
    task = asyncio.create_task(fails())
    await asyncio.sleep(0.01)
    del task
    gc.collect()

asyncio.run(main())
"""


@pytest.fixture
def script(tmp_path, make_program):
    """Start a little program of given source, with the project on its path."""

    def start(source):
        (tmp_path / "little.py").write_text(source, encoding="utf-8")
        environment = {"PYTHONPATH": str(PROJECT_DIR), **ALL_WARNINGS}
        return make_program("little", directory=tmp_path, environment=environment)

    return start


def lines_of(*programs):
    """Every line that programs printed, each as an object."""
    found = []
    for program in programs:
        for line in program.output().splitlines():
            fact = json.loads(line)
            assert isinstance(fact, dict), line
            assert {"event", "level", "timestamp"} <= fact.keys(), line
            found.append(fact)
    assert found
    return found


def test_a_program_that_goes_wrong_in_every_way_prints_json(script):
    """W 34: prints, warnings, errors that nobody caught, in any thread or loop."""
    program = script(f"{CRASHES}\nraise RuntimeError('the end')")
    assert program.wait() == 1
    told = [(one["event"], one.get("text", "")) for one in lines_of(program)]
    assert ("output.printed", "printed by a library") in told
    assert ("output.printed", "an error") in told
    names = [name for name, _ in told]
    assert {"error.ignored", "thread.crashed", "program.crashed"} <= set(names)
    assert any("old ways" in name for name in names)
    assert sum("exception" in name.lower() for name in names) >= 2
    assert names[-1] == "program.crashed"


@pytest.mark.parametrize(("ending", "code"), [("sys.exit('no more')", 1), ("sys.exit(3)", 3)])
def test_a_program_that_leaves_with_a_text_prints_json(script, ending, code):
    """W 34: Python itself prints that text."""
    program = script(f"{CRASHES}\n{ending}")
    assert program.wait() == code
    texts = [one.get("text") for one in lines_of(program)]
    assert ("no more" in texts) == (code == 1)


def test_repeats_are_written_at_the_end_of_a_program(script):
    """W 33: what was held back is not lost."""
    source = "from cowpoke import log\nlog.set_up_program()\n"
    program = script(
        source + "for _ in range(9): log.logger('little').error('redis.unavailable')\n"
    )
    assert program.wait() == 0
    first, repeats = lines_of(program)
    assert "count" not in first
    assert repeats["count"] == 8


@pytest.mark.parametrize("module", ["worker", "bridge"])
def test_an_environment_that_is_not_complete_is_told_in_json(make_program, module):
    """W 34: the setting is named, also before anything else could be set up."""
    program = make_program(module, environment={"REDIS_URL": "http://nowhere"})
    assert program.wait() == 1
    assert "REDIS_URL" in "".join(one["text"] for one in lines_of(program))


def test_a_worker_that_may_not_start_says_so_in_one_line(make_program, tmp_path, redis_url):
    """W 34: with the code and the reason, and a code that is not 0."""
    program = make_program(
        "worker",
        environment={
            "REDIS_URL": redis_url,
            "CATTLE_HOME": str(tmp_path),
            "DOCKER_HOST": f"unix://{tmp_path}/none.sock",
            "CATTLE_DOCKER_REQUIRED": "true",
        },
    )
    assert program.wait() == 1
    (only,) = lines_of(program)
    assert (only["event"], only["code"]) == ("worker.not_started", "engine-unavailable")


@pytest.mark.parametrize(
    ("host", "setting"),
    [("127.0.0.1", "BRIDGE_HTTP_PORT"), ("192.0.2.1", "BRIDGE_HTTP_HOST")],
)
def test_an_address_that_metrics_cannot_have_is_told_in_one_line(
    make_program, redis_url, host, setting
):
    """W 34: which setting to change, no traceback, a code that is not 0."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        program = make_program(
            "bridge",
            environment={
                "REDIS_URL": redis_url,
                "CATTLE_URL": "http://127.0.0.1:1/v1",
                "CATTLE_ACCESS_KEY": "key",
                "CATTLE_SECRET_KEY": "planted-secret",
                "QUEUE_KEY": "W4pUW3GfDz2lDsOnmV1xC3iVw5WGZ6aVYyqkyXPo0rk=",
                "BRIDGE_HTTP_HOST": host,
                "BRIDGE_HTTP_PORT": str(taken.getsockname()[1]),
            },
        )
        assert program.wait() == 1
    (only,) = lines_of(program)
    assert (only["event"], only["level"]) == ("bridge.not_started", "critical")
    assert setting in only["advice"]
    assert f"cannot listen on {host}:" in only["reason"]


@pytest.fixture
def system(scripted, make_redis, tmp_path):
    """A whole system on a Redis of the test's own."""
    with FaultySystem(
        scripted,
        redis=make_redis(appendonly=True),
        state_dir=tmp_path,
        bridge=ALL_WARNINGS,
        worker=ALL_WARNINGS,
    ) as running:
        running.wait_lanes()
        yield running


def test_every_line_of_both_programs_is_json(system):
    """W 34: start, success, retries, an error, a killed lane, Redis away, and SIGTERM."""
    system.scripted.script("POST", CREATE, *[Answer(503, {"message": "busy"})] * 2)
    assert system.ask(sample.instance_activate(new_instance())).state == "success"
    system.scripted.script("POST", CREATE, Answer(400, {"message": "no\nsuch\nthing"}))
    assert system.ask(sample.instance_activate(new_instance())).state == "error"
    os.kill(lane_pid(system.worker, "images"), signal.SIGKILL)
    wait_fact(system.worker, "lane.died")
    wait_until(lambda: len(facts(system.worker, "lane.ready")) == 4, 30, "the lane to be back")
    system.redis.kill()
    wait_fact(system.worker, "redis.unavailable")
    wait_fact(system.worker, "broker.unavailable", 3)
    system.redis.restart()
    wait_fact(system.worker, "redis.available", 1, 60)
    assert system.ask(sample.instance_activate(new_instance())).state == "success"
    assert system.worker.terminate(60) == 0
    assert system.bridge.terminate(60) == 0
    lines = lines_of(system.worker, system.bridge)
    assert {"lane.stopped", "worker.stopped", "bridge.stopped"} <= {one["event"] for one in lines}
    texts = [line for line in system.worker.output().splitlines() if "output.printed" in line]
    assert texts == []
    assert "remove_pending_result" not in system.worker.output()


def test_a_long_outage_does_not_fill_the_log(system):
    """W 33: the lines of an outage of Redis are counted, not repeated."""
    system.redis.kill()

    def folded():
        return [one for one in lines_of(system.worker, system.bridge) if one.get("count", 0) > 1]

    wait_until(folded, 60, "a line with a count")
    assert folded()[0]["first"] <= folded()[0]["last"]
