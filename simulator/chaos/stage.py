"""The parts of a chaos run, connected only through proxies that can inject faults."""

import json
import os
import secrets
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil
from cryptography.fernet import Fernet

from simulator.client import Cattle
from simulator.rig.containers import remove_containers
from simulator.rig.docker_engine import DockerEngine
from simulator.rig.engine import EngineMissingError, find_engine, start_private_engine
from simulator.rig.image import build_image, remove_image
from simulator.rig.processes import Program, wait_until
from simulator.rig.proxy import Proxy
from simulator.rig.redis_server import RedisServer

BRIDGES = 2
LANES = ("compute", "control", "images")
READY_TIMEOUT_S = 60


@dataclass(kw_only=True)
class HostParts:
    """One host: its workers and their proxies."""

    uuid: str
    access_key: str
    redis_way: Proxy
    engine_way: Proxy
    workers: list[Program] = field(default_factory=list)


@dataclass(kw_only=True)
class BridgeParts:
    """One bridge and its proxies."""

    program: Program
    redis_way: Proxy
    cattle_way: Proxy


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Resident memory and open files of the project's processes, summed."""

    memory_bytes: int
    handles: int


class Stage:
    """All running parts; a context manager that removes them at the end."""

    def __init__(self, hosts: int) -> None:
        self._stack = ExitStack()
        self._count = hosts
        self._queue_key = Fernet.generate_key().decode()
        self.image = f"cowpoke-chaos-{secrets.token_hex(4)}:latest"
        self.hosts: list[HostParts] = []
        self.bridges: list[BridgeParts] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="cpc-")))
        self.engine = self._stack.enter_context(_own_engine())
        client = self.engine.client()
        try:
            build_image(client, self.image)
        finally:
            client.close()
        self._stack.callback(self._clean_engine)
        self.redis = self._stack.enter_context(
            RedisServer(appendonly=True, appendfsync="always").start()
        )
        self._start_cattle()
        for number in range(self._count):
            # The first host has two workers: one may die while the other goes on.
            self.hosts.append(self._start_host(number, workers=2 if number == 0 else 1))
        agents = self.folder / "agents.toml"
        agents.touch(mode=0o600)
        agents.write_text("\n".join(map(self._agent_toml, self.hosts)), encoding="ascii")
        for _ in range(BRIDGES):
            self.bridges.append(self._start_bridge(agents))
        for host in self.hosts:
            for worker in host.workers:
                wait_ready(worker)
        self.wait_subscribed()

    def _clean_engine(self) -> None:
        """Remove leftovers from an Engine that the run does not own."""
        if self.engine.private:
            return
        client = self.engine.client()
        try:
            left = client.containers(all=True, filters={"ancestor": self.image})
            remove_containers(client, *(one["Id"] for one in left))
            remove_image(client, self.image)
        finally:
            client.close()

    def _start_cattle(self) -> None:
        self._secret = secrets.token_urlsafe(16)
        agents = [
            {"access_key": f"agent-{number}", "secret_key": self._secret}
            for number in range(self._count)
        ]
        program = Program(
            "simulator",
            environment={
                "SIMULATOR_AGENTS": json.dumps(agents),
                "SIMULATOR_PING_INTERVAL_S": "2",
                "SIMULATOR_HEARTBEAT_S": "1",
            },
        )
        self.simulator = self._stack.enter_context(program)
        line = self.simulator.wait_for_line(r"^simulator: http", timeout_s=READY_TIMEOUT_S)
        self.cattle_url = line.split(" ", 1)[1].strip()
        self.cattle = Cattle(self.cattle_url)
        self._stack.callback(self.cattle.close)

    def _start_host(self, number: int, *, workers: int) -> HostParts:
        redis_way = self._stack.enter_context(Proxy(f"127.0.0.1:{self.redis.port}"))
        engine_way = self._stack.enter_context(
            Proxy(
                self.engine.host.removeprefix("unix://"), listen=str(self.folder / f"{number}.sock")
            )
        )
        host = HostParts(
            uuid=f"chaos-host-{number}",
            access_key=f"agent-{number}",
            redis_way=redis_way,
            engine_way=engine_way,
        )
        environment = {
            "REDIS_URL": redis_way.url(self.redis.url),
            "QUEUE_KEY": self._queue_key,
            "DOCKER_HOST": f"unix://{engine_way.address}",
            "CATTLE_HOME": str(self.folder / host.uuid),
            "CATTLE_DOCKER_UUID": host.uuid,
            "CATTLE_AGENT_IP": "127.0.0.1",
            "WORKER_CONCURRENCY": "8",
            "WORKER_IMAGES_CONCURRENCY": "4",
            # A black hole ends a call soon, so that a run of minutes sees many.
            "WORKER_ENGINE_TIMEOUT_S": "10",
        }
        for _ in range(workers):
            program = Program("worker", environment=environment)
            host.workers.append(self._stack.enter_context(program))
        return host

    def _start_bridge(self, agents: Path) -> BridgeParts:
        redis_way = self._stack.enter_context(Proxy(f"127.0.0.1:{self.redis.port}"))
        cattle_way = self._stack.enter_context(Proxy(self.cattle_url.split("/")[2]))
        program = Program(
            "bridge",
            environment={
                "REDIS_URL": redis_way.url(self.redis.url),
                "QUEUE_KEY": self._queue_key,
                "CATTLE_URL": cattle_way.url(self.cattle_url),
                "BRIDGE_AGENTS_FILE": str(agents),
                "CATTLE_EVENT_READ_TIMEOUT": "5",
            },
        )
        self._stack.enter_context(program)
        return BridgeParts(program=program, redis_way=redis_way, cattle_way=cattle_way)

    def _agent_toml(self, host: HostParts) -> str:
        return (
            f'[[agents]]\naccess_key = "{host.access_key}"\nsecret_key = "{self._secret}"\n'
            f'host_uuid = "{host.uuid}"\n'
        )

    def wait_subscribed(self) -> None:
        """Wait until every bridge is subscribed for every host."""
        wait_until(
            lambda: (
                sum(self.cattle.stats()["open_sockets"].values())
                >= len(self.hosts) * len(self.bridges)
            ),
            READY_TIMEOUT_S,
            "all subscriptions to be open",
        )

    def heal(self) -> None:
        """Repair every proxy."""
        for host in self.hosts:
            host.redis_way.heal()
            host.engine_way.heal()
        for bridge in self.bridges:
            bridge.redis_way.heal()
            bridge.cattle_way.heal()

    def containers(self) -> list[dict[str, str]]:
        """Return the labels of every container of this run; raises while dockerd is away."""
        client = self.engine.client(timeout_s=10)
        try:
            listed = client.containers(all=True, filters={"ancestor": self.image})
            return [dict(one["Labels"]) for one in listed]
        finally:
            client.close()

    def footprint(self) -> Footprint:
        """Return memory and open files of bridges and workers, children included."""
        programs = [bridge.program for bridge in self.bridges]
        programs += [worker for host in self.hosts for worker in host.workers]
        memory_bytes = handles = 0
        for program in programs:
            parent = psutil.Process(program.pid)
            for process in (parent, *parent.children(recursive=True)):
                # Private and its share of what the lanes have in common.
                memory_bytes += process.memory_full_info().pss
                handles += process.num_fds()
        return Footprint(memory_bytes=memory_bytes, handles=handles)


def wait_ready(worker: Program, *, lanes: tuple[str, ...] = LANES, after_chars: int = 0) -> None:
    """Wait until the lanes of a worker consume."""
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    for lane in lanes:
        pattern = rf'"lane": "{lane}".*"lane\.ready"'
        left_s = max(deadline_s - time.monotonic(), 1)
        worker.wait_for_line(pattern, left_s, after_chars=after_chars)


def _own_engine() -> DockerEngine:
    """Return a private Engine, because dockerd is killed; else the machine's Engine."""
    try:
        if os.geteuid() == 0:
            return start_private_engine()
    except EngineMissingError:
        pass
    engine = find_engine()
    if engine is None:
        raise EngineMissingError(
            "no Docker Engine answers, and a private one needs root: start Docker or run as root"
        )
    return engine
