"""The reaper: exit codes, signals, and orphans of the command."""

import contextlib
import signal
import subprocess
import sys

import psutil
import pytest

from simulator.rig.processes import wait_until

#: Leaves a child behind that sleeps for the seconds given, and prints its process id.
ORPHAN = """\
import os, sys, time
pid = os.fork()
if pid == 0:
    time.sleep(float(sys.argv[1]))
    os._exit(0)
print(pid, flush=True)
"""
#: Runs a command under a reaper that waits for orphans for the seconds given.
WITH_GRACE = """\
import sys
from simulator.rig import reaper
sys.exit(reaper.run(sys.argv[2:], grace_s=float(sys.argv[1])))
"""


@pytest.fixture
def reaped():
    """Start a command under the reaper; it is killed with the test."""
    started = []

    def start(*command: str, grace_s: float | None = None) -> subprocess.Popen[str]:
        reaper = ["-c", WITH_GRACE, str(grace_s)] if grace_s else ["-m", "simulator.rig.reaper"]
        process = subprocess.Popen(
            [sys.executable, *reaper, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended, as most tests want
            reaper = psutil.Process(process.pid)
            for one in [*reaper.children(recursive=True), reaper]:
                one.kill()
        process.communicate(timeout=10)


@pytest.mark.parametrize(
    ("code", "wanted"),
    [("exit(0)", 0), ("exit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)],
)
def test_the_exit_code_of_the_command_is_returned(reaped, code, wanted):
    """A shell sees 128 and the signal's number for a killed command."""
    assert reaped(sys.executable, "-c", code).wait(20) == wanted


def test_an_orphan_that_ends_is_reaped(reaped):
    """W 40: it reaches no process outside, and the command's success stays one."""
    process = reaped(sys.executable, "-c", ORPHAN, "0.2")
    pid = int(process.stdout.readline())
    assert process.wait(20) == 0
    assert not psutil.pid_exists(pid)


def test_an_orphan_that_stays_is_killed_and_named(reaped):
    """W 40: a run that leaves a process behind has failed."""
    process = reaped(sys.executable, "-c", ORPHAN, "600", grace_s=0.5)
    pid = int(process.stdout.readline())
    assert process.wait(40) == 1
    assert "left processes behind" in process.stderr.read()
    assert not psutil.pid_exists(pid)


def test_sigterm_reaches_the_command(reaped):
    """The command decides how it ends."""
    code = "import signal; print('up', flush=True); signal.pause()"
    process = reaped(sys.executable, "-c", code)
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 128 + signal.SIGTERM


def test_sigint_of_a_terminal_ends_the_command_and_not_the_reaper(reaped):
    """A terminal signals both; the reaper stays to reap."""
    code = "import signal; print('up', flush=True); signal.pause()"
    process = reaped(sys.executable, "-c", code)
    assert process.stdout.readline() == "up\n"
    (command,) = wait_until(lambda: psutil.Process(process.pid).children(), 5, "the command")
    process.send_signal(signal.SIGINT)
    command.send_signal(signal.SIGINT)
    assert process.wait(20) == 128 + signal.SIGINT
