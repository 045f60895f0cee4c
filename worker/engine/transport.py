"""Connections to the Engine whose every wait ends with the event that makes the call.

A read timeout bounds the silence between two bytes, not a whole answer. So each read here waits no
longer than the call's read timeout, and no longer than the time that is left for the event
(`worker.deadline`). Progress may prolong that time while a read waits.
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
        """Read what comes first; TimeoutError when nothing comes in time."""
        silence_s = self._sock.gettimeout()
        patience_s = math.inf if silence_s is None else silence_s
        began_s = time.monotonic()
        try:
            while True:
                left_s = min(patience_s - (time.monotonic() - began_s), deadline.left_s())
                if left_s <= 0:
                    raise TimeoutError("timed out")
                self._sock.settimeout(None if left_s == math.inf else left_s)
                # Progress may have moved the deadline during the wait.
                with suppress(TimeoutError):
                    return self._sock.recv_into(buffer)
        finally:
            with suppress(OSError):  # another thread closed the connection
                self._sock.settimeout(silence_s)

    def close(self) -> None:
        """Give the socket back to its connection."""
        if not self.closed:
            self._close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(sock, *args, **options)
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_Reader(sock, raw.close))


class _Bounded:
    """A mix-in for connections: reads and writes end with the event."""

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
        """Connect; the SDK's own would leave the socket of a failed connect open."""
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
        """Return the pool of the socket; there are no proxies on the way to one."""
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
    """Make the pooled client of one process; nothing connects yet.

    `api_version` only keeps the SDK from asking: our urls name the version themselves.
    """
    # Every slot of every lane may call at once, and each may wait in a pull besides.
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
    # No proxy is on the way to the Engine, and .netrc holds nothing for it: not looking saves
    # reading both at every call.
    client.trust_env = False
    return client


def _tls(settings: WorkerSettings) -> TLSConfig | None:
    """Return TLS as the docker command does it: either variable asks for it, one asks to verify."""
    if not settings.docker_tls_verify and settings.docker_cert_path is None:
        return None
    folder = settings.docker_cert_path or Path.home() / ".docker"
    return TLSConfig(
        client_cert=(str(folder / "cert.pem"), str(folder / "key.pem")),
        ca_cert=str(folder / "ca.pem"),
        verify=settings.docker_tls_verify,
    )
