"""Program and wait_until: what they wait for, what they say, what they leave."""

import signal

import psutil
import pytest

from simulator.rig.processes import ProgramEndedError, WaitTimeoutError, is_alive, wait_until

FAMILY = """\
import os, time
if os.fork() == 0:
    time.sleep(60)
print("family", flush=True)
time.sleep(60)
"""


@pytest.fixture
def script(tmp_path, make_program):
    """Start a little program of given source: `script("print(1)")`."""

    def start(source: str):
        (tmp_path / "little.py").write_text(source, encoding="utf-8")
        return make_program("little", directory=tmp_path)

    return start


def test_a_condition_that_never_comes_true_is_named():
    """The error says what was waited for, how long, and what was seen last."""
    with pytest.raises(WaitTimeoutError, match=r"0\.05 s for a reply; last seen: \[\]"):
        wait_until(list, 0.05, "a reply")


def test_the_value_that_ended_the_wait_is_returned():
    """The caller need not ask again."""
    values = iter(["", "", "ready"])
    assert wait_until(lambda: next(values), 5, "a value") == "ready"


def test_a_line_of_the_output_is_found(script):
    """The whole line comes back."""
    assert script("print('a'); print('the port is 80')").wait_for_line("port") == "the port is 80"


def test_a_program_that_ends_without_the_line_is_reported(script):
    """The error has the exit code and what was printed."""
    program = script("print('oh no'); raise SystemExit(3)")
    with pytest.raises(ProgramEndedError, match=r"(?s)code 3 .*oh no"):
        program.wait_for_line("ready")


def test_terminate_gives_the_exit_code(script):
    """SIGTERM reaches the program itself."""
    program = script("import time; print('up', flush=True); time.sleep(60)")
    program.wait_for_line("up")
    assert program.terminate() == -signal.SIGTERM


def test_kill_takes_the_whole_family(script):
    """A child that the program forked goes with it."""
    program = script(FAMILY)
    program.wait_for_line("family")
    family = psutil.Process(program.pid).children(recursive=True)
    assert len(family) == 1

    program.kill()

    _, left = psutil.wait_procs(family, timeout=5)
    assert not any(map(is_alive, left))


def test_a_program_sees_only_the_environment_it_is_given(monkeypatch, make_program, tmp_path):
    """Variables of the machine do not leak into it."""
    monkeypatch.setenv("CATTLE_SECRET_KEY", "of-the-machine")
    (tmp_path / "little.py").write_text("import os; print(sorted(os.environ))", encoding="utf-8")
    program = make_program("little", directory=tmp_path, environment={"CATTLE_URL": "http://x"})
    line = program.wait_for_line("CATTLE_URL")
    assert "CATTLE_SECRET_KEY" not in line
