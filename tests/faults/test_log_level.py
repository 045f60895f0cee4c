"""The log level of running programs changes by a signal, in every process of a worker."""

import json
import signal
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet

from cowpoke import log_level
from simulator.rig.processes import PROJECT_DIR, wait_until


def _command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "cowpoke", "log-level", *arguments],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )


def _changes(program):
    """The level after each change, one for each process that changed."""
    lines = [json.loads(line) for line in program.output().splitlines() if line.startswith("{")]
    return [one["log_level"] for one in lines if one["event"] == "log.level_changed"]


@pytest.fixture
def programs(make_program, redis_url, tmp_path):
    """A bridge and a worker that run."""
    shared = {"REDIS_URL": redis_url, "QUEUE_KEY": Fernet.generate_key().decode()}
    worker = make_program(
        "worker",
        environment={
            **shared,
            "CATTLE_HOME": str(tmp_path),
            "CATTLE_DOCKER_ENABLED": "false",
            # The next round of questions that no cloud answers, which only debug shows.
            "WORKER_CLOUD_RETRY_S": "6",
        },
    )
    bridge = make_program("bridge", environment={**shared, "CATTLE_URL": "http://127.0.0.1:9/v1"})
    bridge.wait_for_line(r'"bridge\.ready"', timeout_s=60)
    for lane in ("compute", "control", "images"):
        worker.wait_for_line(rf'"lane": "{lane}".*"lane\.ready"|"lane\.ready".*"{lane}"', 60)
    return {"bridge": bridge, "worker": worker}


def test_a_command_changes_the_level_of_all_processes_and_back(programs):
    """Of the supervisor and the three lanes of a worker, and of a bridge."""
    pids = [word for one in programs.values() for word in ("--pid", str(one.pid))]
    said = _command("debug", *pids)
    assert (said.returncode, said.stderr) == (0, "")
    assert {line.split()[0] for line in said.stdout.splitlines()} == {"bridge", "worker"}
    wait_until(lambda: _changes(programs["bridge"]) == ["debug"], 20, "debug in the bridge")
    wait_until(lambda: _changes(programs["worker"]) == ["debug"] * 4, 20, "debug in the worker")
    programs["worker"].wait_for_line(r'"cloud\.no_answer"', timeout_s=30)

    assert _command("default", *pids).returncode == 0
    wait_until(lambda: _changes(programs["bridge"])[1:] == ["info"], 20, "info in the bridge")
    wait_until(lambda: _changes(programs["worker"])[4:] == ["info"] * 4, 20, "info in the worker")

    # As `docker compose kill -s SIGUSR1 bridge` does.
    programs["bridge"].send_signal(signal.SIGUSR1)
    wait_until(lambda: _changes(programs["bridge"])[2:] == ["debug"], 20, "debug by a signal")
    assert all(program.running for program in programs.values())


def test_a_command_that_finds_no_program_says_where_to_run_it():
    """Such as a pid that is none of ours."""
    said = _command("debug", "--pid", "1")
    assert (said.returncode, said.stdout) == (1, "")
    assert "in its container" in said.stderr


def test_only_programs_of_this_container_that_listen_are_found(tmp_path):
    """A container that shares the process ids of the machine sees those of other containers."""
    both = sum(1 << (number - 1) for number in log_level.SIGNALS)
    for pid, comm, mounts, caught in (
        ("self", "python", "mnt:[1]", 0),
        ("11", "cowpoke-bridge", "mnt:[1]", both),
        ("12", "cowpoke-bridge", "mnt:[2]", both),
        ("13", "cowpoke-worker", "mnt:[1]", 0),
        ("14", "cowpoke-compute", "mnt:[1]", both),
        ("15", "bash", "mnt:[1]", both),
    ):
        (tmp_path / pid / "ns").mkdir(parents=True)
        (tmp_path / pid / "ns" / "mnt").symlink_to(mounts)
        (tmp_path / pid / "comm").write_text(f"{comm}\n", encoding="ascii")
        (tmp_path / pid / "status").write_text(f"Name:\tx\nSigCgt:\t{caught:016x}\n", "ascii")
    found = [(one.pid, one.kind, one.listens) for one in log_level.running_programs(tmp_path)]
    assert found == [(11, "bridge", True), (13, "worker", False)]
