"""The second act of the demo, as a newcomer runs it."""

import os
import signal
import tempfile
from pathlib import Path

import psutil
import pytest

from simulator.demo_host import machine
from simulator.rig.containers import remove_containers
from simulator.rig.old_agent import OLD_AGENT, start_old_agent

DEMO = "simulator.demo_host"
#: It takes 40 s on a quiet machine.
END_TIMEOUT_S = 240
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.timeout(300),
]


@pytest.fixture
def temporary():
    """The folder for temporary files; short, because the path of a socket is."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        yield Path(folder)


@pytest.fixture
def environment(engine, temporary):
    """Variables of the demo: the session's Engine, and a folder of its own."""
    return {**engine.environment, "TMPDIR": str(temporary)}


@pytest.fixture
def unchanged(docker_client, temporary):
    """Call it at the end: no file is left, and on the Engine no image, container or volume."""

    def found():
        return {
            "images": {one["Id"] for one in docker_client.images(all=True)},
            "containers": {one["Id"] for one in docker_client.containers(all=True)},
            "volumes": {one["Name"] for one in docker_client.volumes()["Volumes"] or []},
        }

    before = found()

    def check():
        assert found() == before
        assert list(temporary.iterdir()) == []

    return check


def test_a_host_lives_on_cowpoke(make_program, environment, unchanged):
    """It joins, runs a stack, is taken over and given back, and leaves nothing behind."""
    demo = make_program(DEMO, environment=environment)
    assert demo.wait(END_TIMEOUT_S) == 0
    text = demo.output()
    assert "demo-host passed" in text
    for said in (
        "still has one host, 1h1: the same one",
        "as assigned",
        "cattle  learns the address from the reply: 10.77.",
        "read 'written by one container, read by another'",
        "ms after the kill",
        "rancher-agent is stopped, restart policy no",
        "rancher-agent runs, restart policy always",
        "5 containers of the stack: same ids, same start times",
    ):
        assert said in text
    unchanged()


@pytest.mark.parametrize("line", ["The host joins: one command", "cattle starts two"])
def test_ctrl_c_takes_everything_down(make_program, environment, unchanged, line):
    """While a command of the host runs, and while containers start."""
    demo = make_program(DEMO, environment=environment)
    demo.wait_for_line(line, END_TIMEOUT_S)
    demo.send_signal(signal.SIGINT)
    assert demo.wait(END_TIMEOUT_S) == 130
    assert "everything it started is gone" in demo.output()
    assert "Traceback" not in demo.output()
    unchanged()


def test_a_failure_names_its_step_and_the_part_that_ended(make_program, environment, unchanged):
    """Here cattle is killed while the host joins."""
    demo = make_program(DEMO, environment=environment)
    demo.wait_for_line("The host joins: one command", END_TIMEOUT_S)
    (cattle,) = [
        one
        for one in psutil.Process(demo.pid).children(recursive=True)
        if one.cmdline()[-2:] == ["-m", "simulator"]
    ]
    cattle.kill()
    assert demo.wait(END_TIMEOUT_S) == 1
    assert "demo-host FAILED at: The host joins: one command: " in demo.output()
    assert "the simulator ended with code -9" in demo.output()
    assert "Traceback" not in demo.output()
    unchanged()


def test_engine_with_an_agent_of_its_own_is_left_alone(
    make_program, environment, docker_client, test_image, tmp_path
):
    """The agent may be that of a real host."""
    agent = start_old_agent(docker_client, test_image, tmp_path, {})
    try:
        demo = make_program(DEMO, environment=environment)
        assert demo.wait(END_TIMEOUT_S) == 1
        assert f"has a container {OLD_AGENT}" in demo.output()
        assert "DOCKER_HOST=unix:///none make demo-host" in demo.output()
        assert docker_client.inspect_container(agent)["State"]["Running"]
    finally:
        remove_containers(docker_client, agent)


def test_missing_rights_are_said_at_once(monkeypatch, tmp_path):
    """Root, and network namespaces."""
    unshare = tmp_path / "unshare"
    unshare.write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
    unshare.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(machine.UnfitMachineError, match="Operation not permitted"):
        machine.check_rights()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(machine.UnfitMachineError, match="sudo make demo-host"):
        machine.check_rights()
