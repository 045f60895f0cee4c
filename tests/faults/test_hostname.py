"""The name of the machine: given, else what `hostname -f` says there, else the best that is known.

Row numbers (B) refer to docs/parity.md.
"""

import socket
import time

import pytest

from tests.faults.scripted_engine import Answer, ScriptedEngine
from tests.floor import allowed_s
from worker.host.identity import identify
from worker.process import hostname
from worker.settings import WorkerSettings

SHORT = socket.gethostname().partition(".")[0]


@pytest.fixture
def hostname_program(tmp_path, monkeypatch):
    """Replace the program `hostname` by a shell script."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def replace(script):
        program = folder / "hostname"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")

    return replace


@pytest.fixture
def told(tmp_path):
    """Learn the name as a starting worker does; what cattle is told."""

    def learn(**given):
        settings = WorkerSettings(CATTLE_HOME=str(tmp_path / "home"), **given)
        hostname.learn_hostname(settings)
        return identify(settings).hostname

    return learn


@pytest.fixture
def in_container(monkeypatch):
    """The worker takes itself for one in a container that does not see the machine's processes."""
    monkeypatch.setattr(hostname, "own_container_id", lambda: "f" * 64)
    monkeypatch.setattr(hostname, "engine_pid", lambda _: None)


@pytest.mark.parametrize("full", [f"{SHORT}.example.org", "another.example.org", SHORT])
def test_the_full_name_of_the_machine_is_told(hostname_program, told, full):
    """B.6: as the old agent named it, so that a take-over renames nothing in Rancher."""
    hostname_program(f'[ "$*" = -f ] && echo {full}')
    assert told() == full
    assert told(CATTLE_HOSTNAME="given") == "given"
    assert told() == full


@pytest.mark.parametrize(
    "script",
    ["exit 1", "echo localhost", "echo localhost.localdomain", "echo a b", "true", "exec 5"],
)
def test_without_a_full_name_the_short_one_is_told(hostname_program, told, script):
    """B.6: what tells nothing is not believed."""
    hostname_program(script)
    assert told() == socket.gethostname()


def test_the_last_full_name_is_kept_while_no_name_server_answers(hostname_program, told):
    """B.6: a host is not renamed for an outage; a machine with a new name has it at once."""
    hostname_program(f"echo {SHORT}.example.org")
    assert told() == f"{SHORT}.example.org"
    hostname_program("exit 1")
    assert told() == f"{SHORT}.example.org"
    hostname_program("echo new.example.org")
    assert told() == "new.example.org"
    hostname_program("exit 1")
    assert told() == socket.gethostname()


def test_a_slow_name_server_delays_a_start_a_little(hostname_program, told, monkeypatch):
    """B.6: the look-up is cut."""
    monkeypatch.setattr(hostname, "LOOK_UP_TIMEOUT_S", 0.2)
    hostname_program("exec sleep 30")
    began_s = time.monotonic()
    assert told() == socket.gethostname()
    assert time.monotonic() - began_s < allowed_s(5)


def test_in_a_container_the_engine_names_the_machine(tmp_path, told, in_container):
    """B.6: its name is kept, and all workers of the host tell it, also without an Engine."""
    with ScriptedEngine(tmp_path) as engine:
        engine.script("GET", "/info", Answer(200, {"Name": "machine-7"}))
        assert told(DOCKER_HOST=engine.host) == "machine-7"
        asked = engine.count("GET", "/info")
        assert told(DOCKER_HOST=engine.host) == "machine-7"
        assert engine.count("GET", "/info") == asked
    assert told(DOCKER_HOST=engine.host) == "machine-7"


def test_a_container_with_the_machines_name_finds_the_full_one(
    tmp_path, hostname_program, told, in_container
):
    """B.6: with the machine's network it resolves names as the machine does."""
    hostname_program("echo machine-7.example.org")
    with ScriptedEngine(tmp_path) as engine:
        engine.script("GET", "/info", Answer(200, {"Name": socket.gethostname()}))
        assert told(DOCKER_HOST=engine.host) == "machine-7.example.org"


def test_a_container_without_an_engine_is_named_later(tmp_path, told, in_container, logged):
    """B.6: a warning says what to do; nothing is kept."""
    host = f"unix://{tmp_path}/none.sock"
    assert told(DOCKER_HOST=host) == socket.gethostname()
    (line,) = logged("hostname.unknown")
    assert line["advice"] == "set CATTLE_HOSTNAME"
    assert told(DOCKER_HOST=host, CATTLE_HOSTNAME="given") == "given"
