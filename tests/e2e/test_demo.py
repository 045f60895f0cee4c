"""The demo, as a newcomer runs it."""

import os
import tempfile
from pathlib import Path

import pytest

from simulator.rig.private_engine import FOLDER_PREFIX

END_TIMEOUT_S = 90


def test_the_demo_shows_the_main_job_and_cleans_up(make_program, engine, docker_client):
    """On a given Engine it ends with code 0, and neither container nor image is left there."""
    before = {image["Id"] for image in docker_client.images(all=True)}
    demo = make_program("simulator.demo", environment=engine.environment)

    assert demo.wait(END_TIMEOUT_S) == 0

    assert "demo passed" in demo.output()
    assert {image["Id"] for image in docker_client.images(all=True)} == before


@pytest.mark.skipif(os.geteuid() != 0, reason="a private Engine needs root")
def test_two_demos_run_beside_each_other(make_program):
    """Each has an Engine, a Redis and ports of its own, and leaves none of them."""
    demos = [make_program("simulator.demo") for _ in range(2)]

    assert [demo.wait(END_TIMEOUT_S) for demo in demos] == [0, 0]

    records = Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*/engine.json")
    pids = [f'"owner_pid": {demo.pid},' for demo in demos]
    texts = [record.read_text(encoding="utf-8") for record in records]
    assert [text for text in texts if any(pid in text for pid in pids)] == []


def test_a_demo_that_fails_says_where(make_program, tmp_path):
    """An Engine that does not answer and no right to start one: non-zero, and one clear line."""
    program = make_program(
        "simulator.demo", environment={"PATH": str(tmp_path), "DOCKER_HOST": "unix:///nowhere"}
    )

    assert program.wait(END_TIMEOUT_S) != 0

    assert "Docker" in program.output()
    assert "Traceback" not in program.output()
