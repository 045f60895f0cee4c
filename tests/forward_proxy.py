"""A small forwarding HTTP proxy: absolute urls are forwarded, CONNECT opens a tunnel."""

import base64
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

HEAD_MOST_BYTES = 64 * 1024


class ForwardProxy(socketserver.ThreadingTCPServer):
    """The proxy; `requests` has the first line of each request, in order."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, login: str) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.requests: list[str] = []
        encoded = base64.b64encode(login.encode()).decode()
        self.authorization = f"basic {encoded}" if login else None

    @property
    def address(self) -> str:
        """`host:port` of the proxy."""
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore broken connections, which programs that end leave behind."""


class _Forward(socketserver.BaseRequestHandler):
    server: ForwardProxy

    def handle(self) -> None:
        while (head := self._read_head()) is not None:
            text, rest = head
            line, *fields = text.split("\r\n")
            self.server.requests.append(line)
            if not self._may_pass(fields):
                answer = b"HTTP/1.1 407 Login\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                self.request.sendall(answer)
                return
            method, target, version = line.split(" ")
            if method == "CONNECT":
                host, _, port = target.rpartition(":")
                with socket.create_connection((host, int(port)), timeout=10) as far:
                    far.settimeout(None)
                    self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    far.sendall(rest)
                    self._join(far)
                return
            parts = urlsplit(target)
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            # A forwarding proxy keeps what concerns the hop to itself: `Upgrade` above all.
            hop = ("proxy-", "connection:", "upgrade:")
            kept = [field for field in fields if not field.lower().startswith(hop)]
            request = "\r\n".join([f"{method} {path} {version}", *kept, "Connection: close"])
            with socket.create_connection((parts.hostname, parts.port or 80), timeout=10) as far:
                far.settimeout(None)
                far.sendall(f"{request}\r\n\r\n".encode() + rest)
                self._join(far)
            return

    def _read_head(self) -> tuple[str, bytes] | None:
        data = b""
        while b"\r\n\r\n" not in data and len(data) < HEAD_MOST_BYTES:
            piece = self.request.recv(4096)
            if not piece:
                return None
            data += piece
        head, _, rest = data.partition(b"\r\n\r\n")
        return head.decode("latin-1"), rest

    def _may_pass(self, fields: list[str]) -> bool:
        wanted = self.server.authorization
        named = (field.partition(":") for field in fields)
        given = {name.lower(): text.strip() for name, _, text in named}
        found = given.get("proxy-authorization", "")
        return wanted is None or found[:5].lower() + found[5:] == wanted

    def _join(self, far: socket.socket) -> None:
        up = threading.Thread(target=_pump, args=(self.request, far), daemon=True)
        up.start()
        _pump(far, self.request)
        up.join(5)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        source.shutdown(socket.SHUT_RD)


@contextmanager
def forward_proxy(login: str = "") -> Iterator[ForwardProxy]:
    """Run a proxy; with a login (`user:password`) it lets nobody else pass."""
    with ForwardProxy(login) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)
