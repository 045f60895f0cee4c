"""Systems of real processes on an Engine that a test may hold up at any call, and bridges alone."""

from contextlib import ExitStack

import pytest

from tests import factories
from tests.bridges import BridgeRig
from tests.faults.faulty_system import FaultySystem
from tests.faults.scripted_engine import ScriptedEngine
from tests.hosts import hosts_on


@pytest.fixture(scope="module")
def scripted(tmp_path_factory):
    """One scripted Engine for a module; it has the image that samples ask for."""
    with ScriptedEngine(tmp_path_factory.mktemp("engine")) as started:
        started.images.add(factories.IMAGE)
        yield started


@pytest.fixture(scope="module")
def make_system(scripted, redis_server, tmp_path_factory):
    """Start the module's system on an empty Redis, `make_system(worker={...})`; its lanes run."""
    with ExitStack() as stack:

        def make(**options) -> FaultySystem:
            redis_server.client().flushall()
            state_dir = tmp_path_factory.mktemp("state")
            system = FaultySystem(scripted, redis=redis_server, state_dir=state_dir, **options)
            stack.enter_context(system).wait_lanes()
            return system

        yield make


@pytest.fixture(autouse=True)
def usual_answers(request):
    """What one test scripted does not reach into the next."""
    yield
    if "scripted" in request.fixturenames:
        request.getfixturevalue("scripted").forget_scripts()


@pytest.fixture
def engine(tmp_path):
    """A scripted Engine of the test's own that has the factories' image."""
    with ScriptedEngine(tmp_path) as started:
        started.images.add(factories.IMAGE)
        yield started


@pytest.fixture
def make_host(engine, tmp_path):
    """Hosts on that Engine; all share one state folder, as workers of one host do."""
    with hosts_on(engine.host, tmp_path) as make:
        yield make


@pytest.fixture
def host(make_host):
    """One host on that Engine."""
    return make_host()


@pytest.fixture
def make_rig(make_redis):
    """Cattle and Redis of the test's own; options are the simulator's settings."""
    started = []

    def make(server=None, **simulator):
        started.append(BridgeRig(server or make_redis(), **simulator).__enter__())
        return started[-1]

    yield make
    for rig in reversed(started):
        rig.__exit__(None, None, None)


@pytest.fixture
def rig(make_rig):
    """Cattle and Redis, no bridge and no worker yet."""
    return make_rig()
