"""The SDK's unix transport, without its leak.

The SDK forgets the socket of a connect that failed: with dockerd away, every call would leave one
open until the garbage collector comes by.
"""

import socket

from docker.transport import UnixHTTPAdapter
from docker.transport.unixconn import UnixHTTPConnection, UnixHTTPConnectionPool


class _Connection(UnixHTTPConnection):
    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(self.timeout)
        try:
            sock.connect(self.unix_socket)
        except OSError:
            sock.close()
            raise
        self.sock = sock


class _Pool(UnixHTTPConnectionPool):
    def _new_conn(self) -> _Connection:  # type: ignore[override] # the SDK's types disagree
        # urllib3 sets the timeouts of each request on the connection it takes.
        return _Connection(self.base_url, self.socket_path)


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
    ) -> _Pool:
        """The pool of the socket; there are no proxies on the way to one."""
        with self.pools.lock:
            pool: _Pool | None = self.pools.get(url)
            if pool is None:
                pool = _Pool(str(url), self.socket_path, maxsize=self.max_pool_size)
                self.pools[url] = pool
        return pool
