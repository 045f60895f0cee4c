"""A worker that runs out of file handles: real processes with a low limit of open files."""

import resource

import psutil
import pytest

from simulator import sample
from simulator.rig.processes import wait_until
from tests.faults.faulty_system import FaultySystem, facts, new_instance
from worker.process.handles import is_shortage, most_slots

EVENTS = 40
TIMEOUT_MS = 45_000


class ShortOfHandles(FaultySystem):
    """A system whose worker has few file handles from its start on."""

    limit = 64

    def start_worker(self, **extra):
        """Start it; its lanes inherit the limit."""
        worker = super().start_worker(**extra)
        limit_files(worker.pid, self.limit)
        return worker


def limit_files(pid, limit):
    """Do what `ulimit -n` does, to a process that runs."""
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))


def open_files(pid):
    """How many handles a process has in use."""
    return psutil.Process(pid).num_fds()


@pytest.fixture
def options(make_redis, tmp_path):
    """What a system of the test's own is made of."""
    return {"redis": make_redis(appendonly=True), "state_dir": tmp_path}


def all_answered(system):
    """Send many activates at once; each must end well, and once."""
    instances = [new_instance() for _ in range(EVENTS)]
    ids = [system.send(sample.instance_activate(i), timeout_ms=TIMEOUT_MS) for i in instances]
    calls = [system.cattle.wait(event_id, 60) for event_id in ids]
    assert {call.state for call in calls} == {"success"}, {call.message for call in calls}
    for call, instance in zip(calls, instances, strict=True):
        system.assert_answered_once(call, instance)


def test_worker_with_few_handles_answers_everything(engine, options):
    """It runs fewer events at once, and the others wait in the queue (W 35)."""
    with ShortOfHandles(engine, **options, worker={"WORKER_CONCURRENCY": "40"}) as system:
        system.wait_lanes()
        all_answered(system)
        reduced = {
            fact["lane"]: fact["slots"] for fact in facts(system.worker, "lane.slots_reduced")
        }
        assert reduced["compute"] < 40
        pids = {fact["lane"]: fact["pid"] for fact in facts(system.worker, "lane.ready")}
        assert open_files(pids["compute"]) <= ShortOfHandles.limit


def test_handles_that_run_out_later_are_waited_for(engine, options):
    """Any place may fail then: the try waits for handles, and the event ends well (W 35)."""
    with FaultySystem(engine, **options) as system:
        system.wait_lanes()
        for fact in facts(system.worker, "lane.ready"):
            limit_files(fact["pid"], open_files(fact["pid"]) + 30)
        all_answered(system)
        wait_until(lambda: facts(system.worker, "handles.exhausted"), 1, "a shortage to be met")


@pytest.mark.parametrize("number", [23, 24])
def test_shortage_is_recognized_behind_other_errors(number):
    """EMFILE and ENFILE, as cause or as context (W 35)."""
    shortage = OSError(number, "Too many open files")
    outer = RuntimeError("outer")
    outer.__context__ = ValueError("inner")
    assert not is_shortage(outer)
    outer.__context__.__cause__ = shortage
    assert is_shortage(outer)
    assert is_shortage(shortage)
    assert not is_shortage(OSError(2, "No such file"))
    assert not is_shortage(None)


def test_slots_fit_the_limit_of_open_files():
    """Never none, and never more than was asked for (W 35)."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert most_slots(1) == 1
    assert 1 <= most_slots(10**9) <= (limit if limit > 0 else 10**9)
