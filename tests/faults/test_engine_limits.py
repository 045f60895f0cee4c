"""Creates, starts, stops and removals go to the Engine only so many at a time, host-wide."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import factories
from tests.faults.scripted_engine import Answer, Held, ScriptedEngine
from worker.errors import LockHeldError

ACTIVATE = "compute.instance.activate"
REMOVE = "compute.instance.remove"
CREATE = "/containers/create"
INSTANCES = 12


class CountingEngine(ScriptedEngine):
    """Knows how many calls that change a container were ever under way at once."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.most_at_once = 0
        self._under_way = 0
        self._counting = threading.Lock()

    def act(self, method, path, query, body):
        """Take a moment over each change, beside others that do."""
        if method == "GET":
            return super().act(method, path, query, body)
        with self._counting:
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            time.sleep(0.02)
            return super().act(method, path, query, body)
        finally:
            with self._counting:
                self._under_way -= 1


@pytest.fixture
def engine(tmp_path):
    """A counting Engine that has the factories' image."""
    with CountingEngine(tmp_path) as started:
        started.images.add(factories.IMAGE)
        yield started


def run_many(hosts, name):
    """One event for each of some instances, all at once, over all the hosts."""
    datas = [factories.instance_data(uuid=f"u-{n}", name=f"n-{n}") for n in range(INSTANCES)]
    with ThreadPoolExecutor(INSTANCES) as pool:
        runs = [pool.submit(hosts[n % 2].run, name, data) for n, data in enumerate(datas)]
        for run in runs:
            run.result(30)


@pytest.mark.parametrize("limit", [1, 3])
def test_the_limit_holds_over_all_workers_of_a_host(engine, make_host, limit):
    """Two workers share the slots, whatever each has to do (A 3.11, C 26, B.7)."""
    hosts = [make_host(WORKER_ENGINE_CONCURRENCY=str(limit)) for _ in range(2)]
    run_many(hosts, ACTIVATE)
    assert len(engine.containers) == INSTANCES
    run_many(hosts, REMOVE)
    assert engine.containers == {}
    assert engine.most_at_once <= limit
    assert engine.count("GET", "/info") == 0


def test_devicemapper_gets_one_at_a_time(engine, make_host):
    """Nothing is set, the storage driver decides (A 3.11, C 26, B.7)."""
    engine.script("GET", "/info", *[Answer(200, {"Driver": "devicemapper"})] * 2)
    run_many([make_host(), make_host()], ACTIVATE)
    assert len(engine.containers) == INSTANCES
    assert engine.most_at_once == 1


def test_without_a_limit_nobody_waits(engine, make_host):
    """On any other storage driver, which is asked for once per worker (A 3.11, B.7)."""
    hosts = [make_host(), make_host()]
    run_many(hosts, ACTIVATE)
    assert engine.most_at_once > 1
    assert engine.count("GET", "/info") == 2


def test_who_gets_no_slot_in_time_tries_again_and_keeps_the_container(engine, make_host):
    """A start without a slot is no refusal: what was created is there for the next try (C 26)."""
    options = {"WORKER_ENGINE_CONCURRENCY": "1", "WORKER_ENGINE_TIMEOUT_S": "0.5"}
    first, second = make_host(WORKER_ENGINE_CONCURRENCY="1"), make_host(**options)
    engine.script("POST", CREATE, held := Held())
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(first.run, ACTIVATE, factories.instance_data(uuid="u-1", name="n-1"))
        held.wait_reached()
        engine.add_container("a" * 64, name="n-2", uuid="u-2")
        with pytest.raises(LockHeldError, match="all 1 slots"):
            second.run(ACTIVATE, factories.instance_data(uuid="u-2", name="n-2"))
        held.let_go()
        run.result(20)
    second.run(ACTIVATE, factories.instance_data(uuid="u-2", name="n-2"))
    assert engine.containers["a" * 64]["State"]["Running"]
