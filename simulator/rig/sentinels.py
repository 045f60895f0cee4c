"""A private Redis with replicas and Sentinels on loopback, whose master can be killed or frozen."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import redis

from simulator.rig.loopback_server import LoopbackServer
from simulator.rig.processes import wait_until
from simulator.rig.redis_server import RedisServer, RedisStartError, find_redis_server

if TYPE_CHECKING:
    from types import TracebackType

    from simulator.rig.certificates import CertificateFiles

MASTER = "cowpoke-test"
#: With which Sentinels ask each other, and the programs ask Sentinels.
SENTINEL_PASSWORD = "of-the-sentinels"  # noqa: S105 -- of a private server on loopback


class SentinelServer(LoopbackServer):
    """One Sentinel; it rewrites its own configuration."""

    name = "redis-sentinel"
    start_error = RedisStartError

    def __init__(
        self,
        master: RedisServer,
        *,
        down_after_ms: int,
        certificates: CertificateFiles | None,
        program: str | None = None,
    ) -> None:
        super().__init__()
        self._master = master
        self._down_after_ms = down_after_ms
        self._certificates = certificates
        self._program = program

    def command(self) -> list[str]:
        """Return the command line, and write the configuration of a new Sentinel."""
        configuration = self.directory / "sentinel.conf"
        if not configuration.exists() or f"port {self.port}" not in configuration.read_text():
            configuration.write_text(self._configuration(), encoding="utf-8")
        program = self._program or find_redis_server()
        return [program, str(configuration), "--sentinel"]

    def answers(self) -> bool:
        """Return whether it answers PING."""
        with self.client() as client:
            try:
                client.ping()
            except redis.RedisError:
                return False
        return True

    def client(self) -> redis.Redis:
        """Open a client; close it yourself."""
        options = {} if self._certificates is None else _tls(self._certificates)
        options |= {"port": self.port, "password": SENTINEL_PASSWORD, "socket_timeout": 2}
        return redis.Redis(decode_responses=True, **options)

    def _configuration(self) -> str:
        lines = [
            f"port {self.port}",
            *(["tls-replication yes"] if self._certificates else []),
            "bind 127.0.0.1",
            f"dir {self.directory}",
            f"requirepass {SENTINEL_PASSWORD}",
            f"sentinel sentinel-pass {SENTINEL_PASSWORD}",
            f"sentinel monitor {MASTER} 127.0.0.1 {self._master.port} 2",
            f"sentinel down-after-milliseconds {MASTER} {self._down_after_ms}",
            f"sentinel failover-timeout {MASTER} 5000",
            f"sentinel auth-pass {MASTER} {self._master.password}",
        ]
        if self._certificates is not None:
            lines[0] = f"port 0\ntls-port {self.port}"
            lines += [
                f"tls-ca-cert-file {self._certificates.authority}",
                f"tls-cert-file {self._certificates.certificate}",
                f"tls-key-file {self._certificates.key}",
            ]
        return "\n".join(lines) + "\n"


def _tls(certificates: CertificateFiles) -> dict[str, Any]:
    return {
        "ssl": True,
        "ssl_ca_certs": str(certificates.authority),
        "ssl_certfile": str(certificates.certificate),
        "ssl_keyfile": str(certificates.key),
    }


class SentinelRedis:
    """A master, replicas and three Sentinels."""

    def __init__(
        self,
        *,
        replicas: int = 2,
        password: str = "of-the-master",  # noqa: S107 -- as above
        tls: bool = False,
        down_after_ms: int = 1000,
        options: dict[str, str] | None = None,
    ) -> None:
        self.password = password
        self._replicas = replicas
        self._down_after_ms = down_after_ms
        self._tls = tls
        self._options = options or {}
        self._stack = ExitStack()
        #: The first one is the master at the start.
        self.servers: list[RedisServer] = []
        self.sentinels: list[SentinelServer] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            master = stack.enter_context(self._server({}).start())
            self.servers = [master]
            for _ in range(self._replicas):
                replicaof = {"replicaof": f"127.0.0.1 {master.port}"}
                self.servers.append(stack.enter_context(self._server(replicaof).start()))
            for _ in range(3):
                sentinel = SentinelServer(
                    master,
                    down_after_ms=self._down_after_ms,
                    certificates=master.certificates,
                )
                self.sentinels.append(stack.enter_context(sentinel.start()))
            self.wait_well()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in self.servers:
            # A frozen one would not end.
            if server.runs:
                os.kill(server.pid, signal.SIGCONT)
        self._stack.close()

    @property
    def url(self) -> str:
        """Return the url for REDIS_URL."""
        return self.url_of(f":{self.password}")

    def url_of(self, login: str) -> str:
        """Return the url with another login, written as in a url."""
        hosts = [f"sentinel://{login}@127.0.0.1:{self.sentinels[0].port}"]
        hosts += [f"sentinel://127.0.0.1:{one.port}" for one in self.sentinels[1:]]
        url = f"{';'.join(hosts)}/0"
        files = self.servers[0].certificates
        if files is None:
            return url
        options = f"ssl_certfile={files.certificate}&ssl_keyfile={files.key}"
        return f"{url}?ssl_ca_certs={files.authority}&{options}"

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables with which a program finds the master."""
        return {
            "REDIS_URL": self.url,
            "REDIS_SENTINEL_MASTER": MASTER,
            "REDIS_SENTINEL_PASSWORD": SENTINEL_PASSWORD,
        }

    def master(self) -> RedisServer:
        """Return the server that most Sentinels name."""
        ports = [self._named_by(one) for one in self.sentinels]
        most = max(set(ports), key=ports.count)
        return next(one for one in self.servers if one.port == most)

    def replicas(self) -> list[RedisServer]:
        """Return all others."""
        master = self.master()
        return [one for one in self.servers if one is not master]

    def client(self) -> redis.Redis:
        """Open a client of the master that is the master now; close it yourself."""
        return self.master().client()

    def freeze(self, server: RedisServer) -> None:
        """Stop a server's process: the kernel still takes its connections."""
        os.kill(server.pid, signal.SIGSTOP)

    def thaw(self, server: RedisServer) -> None:
        """Let it go on."""
        os.kill(server.pid, signal.SIGCONT)

    def wait_promoted(self, former: RedisServer, timeout_s: float = 30) -> RedisServer:
        """Wait until most Sentinels name another master, and return it."""
        wait_until(lambda: self.master() is not former, timeout_s, "another master")
        return self.master()

    def wait_well(self, timeout_s: float = 40) -> None:
        """Wait until every Sentinel knows the others and all replicas, and these are in step."""
        wait_until(self._is_well, timeout_s, "replicas and Sentinels that know each other")

    def _is_well(self) -> bool:
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                state = client.sentinel_master(MASTER)
            others = int(state["num-other-sentinels"]), int(state["num-slaves"])
            if others != (2, self._replicas) or state["is_sdown"] or state["is_odown"]:
                return False
        with self.client() as client:
            found = client.info("replication")
        places = [found.get(f"slave{n}", {}) for n in range(self._replicas)]
        return all(place.get("state") == "online" for place in places)

    def _named_by(self, sentinel: SentinelServer) -> int:
        with sentinel.client() as client:
            return int(client.sentinel_get_master_addr_by_name(MASTER)[1])

    def _server(self, options: dict[str, str]) -> RedisServer:
        tls = {"tls-replication": "yes"} if self._tls else {}
        return RedisServer(
            password=self.password,
            tls=self._tls,
            client_certificates=self._tls,
            certificates=self.servers[0].certificates if self.servers else None,
            options={
                "masterauth": self.password,
                "repl-diskless-sync-delay": "0",
                **tls,
                **self._options,
                **options,
            },
        )
