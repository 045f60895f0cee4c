"""Stands before a real registry and asks for tokens, as the public registries do.

Everybody gets a token for what is public, also without an account, but nobody with a wrong
password; what lies below `private/` needs the token of the account.
"""

import base64
import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class RegistryFront:
    """The front; `server` is its name in an image's name."""

    def __init__(self, port: int, username: str, password: str) -> None:
        self.registry_port = port
        self.account = f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"
        #: What was asked of the registry.
        self.paths: list[str] = []

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"front": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    front: RegistryFront
    #: A TLS handshake is answered with a status line too: by it a client knows that this is HTTP.
    default_request_version = "HTTP/1.0"

    def log_message(self, *_: Any) -> None:
        """Silent."""

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "")
        if self.path.startswith("/token"):
            self._token(given)
        elif not given.startswith("Bearer "):
            self._refuse(401, "UNAUTHORIZED", "authentication required")
        elif "/private/" in self.path and given != "Bearer known":
            self._refuse(401, "DENIED", "requested access to the resource is denied")
        else:
            self.front.paths.append(self.path)
            self._forward()

    do_HEAD = do_GET  # noqa: N815 -- http.server's name

    def do_POST(self) -> None:
        # containerd asks for a token by POST first and then, as of many registries, by GET.
        self._send(405, b"{}")

    def _token(self, given: str) -> None:
        if given and given != self.front.account:
            self._refuse(401, "UNAUTHORIZED", "incorrect username or password")
            return
        token = "known" if given else "anonymous"
        self._send(200, json.dumps({"token": token}).encode())

    def _refuse(self, status: int, code: str, message: str) -> None:
        realm = f'Bearer realm="http://{self.front.server}/token",service="front"'
        body = {"errors": [{"code": code, "message": message}]}
        self._send(status, json.dumps(body).encode(), {"WWW-Authenticate": realm})

    def _forward(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.front.registry_port, timeout=10)
        accept = {"Accept": ", ".join(self.headers.get_all("Accept", ["*/*"]))}
        connection.request(self.command, self.path, headers=accept)
        answer = connection.getresponse()
        kept = ("Content-Type", "Content-Length", "Docker-Content-Digest")
        headers = {key: answer.headers[key] for key in kept if answer.headers[key]}
        self._send(answer.status, answer.read(), headers)
        connection.close()

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        given = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for key, value in {**given, **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
