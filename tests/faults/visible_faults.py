"""The faults that an operator can see: how each is brought about, and how it is healed."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Self

import psutil
import redis
from cryptography.fernet import Fernet

from cowpoke import keys
from cowpoke.routes import Lane, queue_for
from simulator.rig.processes import Program, wait_until
from simulator.rig.proxy import Proxy
from simulator.rig.redis_server import RedisServer
from tests import factories
from tests.faults.faulty_system import FaultySystem, lane_pid
from tests.faults.scripted_engine import Hang, ScriptedEngine
from tests.faults.telling import Views, free_port
from worker.host.name_store import orphan_volumes

HOST = "host-under-test"
#: An agent counts as removed after four refusals in this time; it is tried again 2.5 times later.
REMOVED_AFTER_S = "2"


class Scene:
    """A whole system with pings, and what tells of it; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            server = RedisServer(appendonly=True, appendfsync="always").start()
            self.redis = stack.enter_context(server)
            self.client = stack.enter_context(server.client())
            (self.folder / "engine").mkdir()
            self.start_engine()
            stack.callback(self.stop_engine)
            self.port = free_port()
            self.system = stack.enter_context(
                FaultySystem(
                    self.engine,
                    redis=server,
                    state_dir=self.folder / "state",
                    simulator={
                        "SIMULATOR_PING_INTERVAL_S": "1",
                        "SIMULATOR_PORT": str(free_port()),
                    },
                    bridge={
                        "BRIDGE_HTTP_PORT": str(self.port),
                        "BRIDGE_REMOVED_AFTER_S": REMOVED_AFTER_S,
                        "CATTLE_EVENT_READ_TIMEOUT": "3",
                    },
                )
            )
            self.system.wait_lanes()
            self.views = Views(self.port, {"REDIS_URL": server.url, "QUEUE_KEY": self.queue_key})
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def queue_key(self) -> str:
        """The key of all programs."""
        return self.system.queue_key

    def start_engine(self) -> None:
        """Start an Engine at the usual socket."""
        (self.folder / "engine" / "engine.sock").unlink(missing_ok=True)
        self.engine = ScriptedEngine(self.folder / "engine").__enter__()
        self.engine.images.add(factories.IMAGE)

    def stop_engine(self) -> None:
        """Stop it; nobody listens then."""
        self.engine.__exit__(None, None, None)


Cause = Callable[[Scene], AbstractContextManager[None]]


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """Processes that do nothing for a while."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


def tree(program: Program) -> list[int]:
    """A program with all its children."""
    return [program.pid, *(one.pid for one in psutil.Process(program.pid).children(recursive=True))]


@contextmanager
def configured(scene: Scene, **values: str | int) -> Iterator[None]:
    """Settings of Redis for a while."""
    names = {name.replace("_", "-"): value for name, value in values.items()}
    before = {name: scene.client.config_get(name)[name] for name in names}
    for name, value in names.items():
        scene.client.config_set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            scene.client.config_set(name, value)


def redis_frozen(scene: Scene) -> AbstractContextManager[None]:
    """Connections stand, and nobody answers."""
    return frozen(scene.redis.pid)


@contextmanager
def redis_dead(scene: Scene) -> Iterator[None]:
    """Connections are refused."""
    scene.redis.kill()
    try:
        yield
    finally:
        scene.redis.restart()


@contextmanager
def redis_read_only(scene: Scene) -> Iterator[None]:
    """It became the replica of another one."""
    scene.client.replicaof("127.0.0.1", 1)
    try:
        yield
    finally:
        scene.client.replicaof("NO", "ONE")


def redis_full(scene: Scene) -> AbstractContextManager[None]:
    """No write fits into its memory."""
    return configured(scene, maxmemory=scene.client.info("memory")["used_memory"] // 2)


def redis_nearly_full(scene: Scene) -> AbstractContextManager[None]:
    """Writes still fit."""
    scene.client.setrange("pad", 30 * 1024 * 1024, "x")
    used = scene.client.info("memory")["used_memory"]
    return configured(scene, maxmemory=round(used / 0.85))


@contextmanager
def redis_cannot_save(scene: Scene) -> Iterator[None]:
    """Its snapshots fail, as on a full disk; it refuses writes because of that."""
    in_the_way = scene.redis.directory / "dump.rdb"
    in_the_way.mkdir()
    with configured(scene, save="3600 1"):
        scene.client.bgsave()
        info = scene.client.info
        wait_until(lambda: info()["rdb_last_bgsave_status"] == "err", 20, "a failed snapshot")
        try:
            yield
        finally:
            in_the_way.rmdir()
            scene.client.bgsave()
            wait_until(lambda: info()["rdb_last_bgsave_status"] == "ok", 20, "a snapshot")


def redis_without_replicas(scene: Scene) -> AbstractContextManager[None]:
    """It wants a replica that has each write, and has none."""
    return configured(scene, min_replicas_to_write=1)


@contextmanager
def redis_wants_password(scene: Scene) -> Iterator[None]:
    """Somebody set one, and the programs do not have it."""
    scene.client.config_set("requirepass", "secret-5f1d")
    scene.client.client_kill_filter(_type="normal", skipme=True)
    scene.client.client_kill_filter(_type="pubsub", skipme=True)
    try:
        yield
    finally:
        with redis.Redis(port=scene.redis.port, password="secret-5f1d") as client:
            client.config_set("requirepass", "")


def redis_evicts(scene: Scene) -> AbstractContextManager[None]:
    """It deletes keys when its memory is full."""
    return configured(scene, maxmemory="1gb", maxmemory_policy="allkeys-lru")


def redis_forgets(scene: Scene) -> AbstractContextManager[None]:
    """It keeps no file."""
    return configured(scene, appendonly="no")


@contextmanager
def cattle_dead(scene: Scene) -> Iterator[None]:
    """Nobody listens at its port."""
    scene.system.simulator.kill()
    try:
        yield
    finally:
        printed = len(scene.system.simulator.output())
        scene.system.simulator.start()
        scene.system.simulator.wait_for_line("^simulator: http", after_chars=printed)
        scene.system.cattle.close()  # its connection is one to the dead server


def cattle_frozen(scene: Scene) -> AbstractContextManager[None]:
    """Its websockets are half open, and it takes connections without a word."""
    return frozen(scene.system.simulator.pid)


def cattle_answers(status: int) -> Cause:
    """It refuses each subscription."""

    @contextmanager
    def refused(scene: Scene) -> Iterator[None]:
        scene.system.cattle.faults(refuse_subscribe_status=status, drop_sockets=True)
        try:
            yield
        finally:
            scene.system.cattle.faults_off()

    return refused


@contextmanager
def engine_dead(scene: Scene) -> Iterator[None]:
    """Nobody listens at its socket."""
    scene.stop_engine()
    try:
        yield
    finally:
        scene.start_engine()


@contextmanager
def engine_hangs(scene: Scene) -> Iterator[None]:
    """It takes calls, and answers none."""
    for path in (r"(/v[\d.]+)?/version", r"(/v[\d.]+)?/_ping"):
        scene.engine.script("GET", path, *[Hang()] * 1000)
    try:
        yield
    finally:
        scene.engine.forget_scripts()


@contextmanager
def engine_too_old(scene: Scene) -> Iterator[None]:
    """It speaks an API that is too old."""
    before, scene.engine.api = scene.engine.api, "1.18"
    try:
        yield
    finally:
        scene.engine.api = before


@contextmanager
def worker_dead(scene: Scene) -> Iterator[None]:
    """Killed with its lanes."""
    scene.system.worker.kill()
    try:
        yield
    finally:
        scene.system.restart_worker()


def worker_frozen(scene: Scene) -> AbstractContextManager[None]:
    """With its lanes."""
    return frozen(*tree(scene.system.worker))


def lane_frozen(lane: Lane) -> Cause:
    """One process of the worker."""
    return lambda scene: frozen(lane_pid(scene.system.worker, lane))


@contextmanager
def worker_has_other_key(scene: Scene) -> Iterator[None]:
    """Nobody opens what the other seals."""
    scene.system.worker.terminate()
    try:
        with scene.system.start_worker(QUEUE_KEY=Fernet.generate_key().decode()) as stranger:
            # One that runs already keeps its websocket for a while.
            scene.system.bridge.terminate()
            scene.system.bridge.start()
            yield
            stranger.terminate()
    finally:
        scene.system.restart_worker()


@contextmanager
def volumes_left(scene: Scene) -> Iterator[None]:
    """A volume could not be removed."""
    store = orphan_volumes(scene.folder / "state")
    store.add("volume-1")
    try:
        yield
    finally:
        store.discard("volume-1")


@contextmanager
def bridge_dead(scene: Scene) -> Iterator[None]:
    """Killed."""
    scene.system.bridge.kill()
    try:
        yield
    finally:
        scene.system.bridge.start()


def bridge_frozen(scene: Scene) -> AbstractContextManager[None]:
    """It has its websockets still."""
    return frozen(scene.system.bridge.pid)


@contextmanager
def one_bridge_without_cattle(scene: Scene) -> Iterator[None]:
    """Of two bridges one has no way to cattle."""
    with Proxy(scene.system.cattle_url.split("/")[2]) as way:
        way.refuse()
        with scene.system.start_bridge(
            CATTLE_URL=f"http://{way.address}/v1", BRIDGE_HTTP_PORT="0"
        ) as second:
            yield
            second.terminate()


@contextmanager
def agent_without_host(scene: Scene) -> Iterator[None]:
    """A second bridge has an agent whose worker is not there; the one host is another's."""
    with scene.system.start_bridge(
        CATTLE_ACCESS_KEY="another-agent", BRIDGE_HTTP_PORT="0"
    ) as second:
        yield
        second.terminate()


@contextmanager
def rubbish_in_queue(scene: Scene) -> Iterator[None]:
    """A message that nobody can read is put aside."""
    scene.client.lpush(queue_for(HOST, Lane.COMPUTE), "rubbish")
    try:
        yield
    finally:
        scene.client.delete(keys.dead_letters(HOST))


@contextmanager
def rubbish_in_key(scene: Scene) -> Iterator[None]:
    """A key has something else than its programs put there."""
    scene.client.set(keys.dead_letters(HOST), "no list")
    try:
        yield
    finally:
        scene.client.delete(keys.dead_letters(HOST))
