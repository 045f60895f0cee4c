"""Connections to the Engine whose reads and writes end at the deadline of the event.

A read timeout limits the silence between two bytes, not the whole answer. So each read waits at
most for the read timeout of the call and for the time left for the event (`worker.deadline`).
Progress reports may extend that time while a read waits.
"""

import http.client
import io
import math
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
from docker.tls import TLSConfig
from docker.transport import UnixHTTPAdapter
from docker.transport.unixconn import UnixHTTPConnection, UnixHTTPConnectionPool
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from worker import deadline
from worker.settings import WorkerSettings


class _Reader(io.RawIOBase):
    """The bytes of one answer."""

    def __init__(self, sock: socket.socket, close: Callable[[], None]) -> None:
        self._sock = sock
        self._close = close

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        """Read the next bytes. Errors: TimeoutError when none arrive in time."""
        silence_s = self._sock.gettimeout()
        patience_s = math.inf if silence_s is None else silence_s
        began_s = time.monotonic()
        try:
            while True:
                left_s = min(patience_s - (time.monotonic() - began_s), deadline.left_s())
                if left_s <= 0:
                    raise TimeoutError("timed out")
                self._sock.settimeout(None if left_s == math.inf else left_s)
                # A progress report may have moved the deadline during the wait.
                with suppress(TimeoutError):
                    return self._sock.recv_into(buffer)
        finally:
            with suppress(OSError):  # another thread closed the connection
                self._sock.settimeout(silence_s)

    def close(self) -> None:
        """Return the socket to its connection."""
        if not self.closed:
            self._close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(sock, *args, **options)
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_Reader(sock, raw.close))


class _Bounded:
    """A mix-in for connections: writes end at the deadline of the event."""

    sock: socket.socket | None

    def send(self, data: Any) -> None:  # noqa: ANN401 - http.client's signature
        """Send a part of the request; TimeoutError when no time is left."""
        left_s = deadline.left_s()
        if left_s <= 0:
            raise TimeoutError("timed out")
        if self.sock is not None and left_s != math.inf:
            self.sock.settimeout(min(self.sock.gettimeout() or math.inf, left_s))
        super().send(data)  # type: ignore[misc]  # the connection's


class _UnixConnection(_Bounded, UnixHTTPConnection):
    response_class = _Answer

    def connect(self) -> None:
        """Connect; unlike the SDK's method, close the socket if that fails."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(self.timeout)
        try:
            sock.connect(self.unix_socket)
        except OSError:
            sock.close()
            raise
        self.sock = sock


class _UnixPool(UnixHTTPConnectionPool):
    def _new_conn(self) -> _UnixConnection:  # type: ignore[override] # the SDK's types disagree
        # urllib3 sets the timeouts of each request on the connection it takes.
        return _UnixConnection(self.base_url, self.socket_path)


class _HttpConnection(_Bounded, HTTPConnection):
    response_class = _Answer


class _HttpsConnection(_Bounded, HTTPSConnection):
    response_class = _Answer


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


class UnixAdapter(UnixHTTPAdapter):
    """Connections to one unix socket, `pool_size` of them kept."""

    def __init__(self, docker_host: str, timeout_s: int, pool_size: int) -> None:
        super().__init__(
            docker_host.replace("unix://", "http+unix://", 1), timeout_s, max_pool_size=pool_size
        )

    def get_connection(
        self,
        url: bytes | str,
        proxies: object = None,  # noqa: ARG002 - requests' signature
    ) -> _UnixPool:
        """Return the pool of the socket; proxies do not apply."""
        with self.pools.lock:
            pool: _UnixPool | None = self.pools.get(url)
            if pool is None:
                pool = _UnixPool(str(url), self.socket_path, maxsize=self.max_pool_size)
                self.pools[url] = pool
        return pool


class TcpAdapter(HTTPAdapter):
    """Connections to one address, with or without TLS."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        """Make pools of connections that end with the event."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}


def docker_client(settings: WorkerSettings, api_version: str) -> docker.APIClient:
    """Make the pooled client of one process; it does not connect yet.

    `api_version` only keeps the SDK from requesting it: our URLs contain the version.
    """
    # Every slot of every lane may make a call at once, and control slots several.
    slots = settings.concurrency + settings.images_concurrency + settings.control_concurrency * 4
    client = docker.APIClient(
        base_url=settings.docker_host,
        version=api_version,
        timeout=int(settings.engine_timeout_s) or 1,
        tls=_tls(settings) or False,
        max_pool_size=slots,
    )
    if client.base_url == "http+docker://localhost":
        path = settings.docker_host.partition("://")[2]
        adapter = UnixAdapter(f"unix://{path}", client.timeout, slots)
        client.mount("http+docker://", adapter)
    elif client.base_url.startswith("http"):
        client.mount(client.base_url, TcpAdapter(pool_connections=1, pool_maxsize=slots))
    # Proxies and .netrc do not apply to the Engine; this saves reading them at every call.
    client.trust_env = False
    return client


def _tls(settings: WorkerSettings) -> TLSConfig | None:
    """Return the TLS configuration as the docker command does: either variable enables TLS."""
    if not settings.docker_tls_verify and settings.docker_cert_path is None:
        return None
    folder = settings.docker_cert_path or Path.home() / ".docker"
    return TLSConfig(
        client_cert=(str(folder / "cert.pem"), str(folder / "key.pem")),
        ca_cert=str(folder / "ca.pem"),
        verify=settings.docker_tls_verify,
    )
