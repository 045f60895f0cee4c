"""A small fake Docker Engine on a unix socket that misbehaves on demand.

It keeps containers and images in memory and answers like the real one; a script makes single calls
go wrong: `script("POST", "/containers/create", Drop(after=True))`.
"""

import itertools
import json
import re
import socketserver
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.faults.scripted_events import EngineEvents

UUID_LABEL = "io.rancher.container.uuid"


@dataclass(frozen=True)
class Answer:
    """A fixed answer."""

    status: int
    body: Any = None


@dataclass(frozen=True)
class Drop:
    """The connection breaks without an answer, before or after the work is done."""

    after: bool = False


@dataclass(frozen=True)
class Hang:
    """No answer at all, until the Engine is closed."""


@dataclass(frozen=True)
class Drip:
    """The answer begins, and a byte of it comes every now and then, without end."""

    every_s: float = 0.2


@dataclass(frozen=True)
class Pull:
    """A pull's stream: its lines, whether the image arrives, and whether it stalls before its end.

    `wait` holds the stream open until the test sets it, `every_s` is the time between two lines.
    """

    lines: Sequence[dict[str, Any]] = ()
    arrives: bool = True
    stalls: bool = False
    wait: threading.Event | None = None
    every_s: float = 0.0


class Held:
    """The call stands, before or after its work, until the test lets it go; then it is answered."""

    def __init__(self, *, after: bool = False) -> None:
        self.after = after
        self.reached = threading.Event()
        self.released = threading.Event()

    def let_go(self) -> None:
        """Let the call and all that follow pass."""
        self.released.set()

    def wait_reached(self, timeout_s: float = 20) -> None:
        """Until a call stands here."""
        assert self.reached.wait(timeout_s), "no call came to where it was to be held"


class ScriptedEngine:
    """The fake Engine; a context manager."""

    def __init__(self, folder: Path, *, api: str = "1.41", min_api: str = "1.12") -> None:
        self.socket = folder / "engine.sock"
        self.host = f"unix://{self.socket}"
        self.api, self.min_api = api, min_api
        self.containers: dict[str, dict[str, Any]] = {}
        self.images: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        self.pull_headers: list[str | None] = []
        self.closing = threading.Event()
        #: Nothing happens by itself: a test lets it.
        self.events = EngineEvents()
        self._scripts: list[tuple[str, re.Pattern[str], deque[Any]]] = []
        self._lock = threading.Lock()
        self._world = threading.Lock()
        self._ids = itertools.count(1)
        self._server: Any = None

    def __enter__(self) -> Self:
        engine = self

        class Handler(_Handler):
            pass

        Handler.engine = engine
        self._server = _Server(str(self.socket), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def script(self, method: str, path: str, *answers: Any) -> None:
        """Answer the next calls whose path matches (a regular expression, whole) so, in order."""
        with self._lock:
            self._scripts.append((method, re.compile(path), deque(answers)))

    def next_answer(self, method: str, path: str) -> Any:
        """Take the next scripted answer for a call; None for the usual one."""
        with self._lock:
            self.requests.append((method, path))
            for wanted, pattern, answers in self._scripts:
                if wanted == method and answers and pattern.fullmatch(path):
                    return answers.popleft()
        return None

    def count(self, method: str, path: str) -> int:
        """How many calls matched so far."""
        return sum(one == method and bool(re.fullmatch(path, at)) for one, at in self.requests)

    def add_container(self, container_id: str, *, name: str, running: bool = False, **labels: str):
        """Put a container there as if somebody had made it; its labels by keyword `uuid`."""
        found = {UUID_LABEL: labels["uuid"]} if "uuid" in labels else {}
        body = {"Image": "example/sleep:1.0", "Labels": found}
        self.containers[container_id] = _inspect(container_id, name, body, running=running)

    def forget_scripts(self) -> None:
        """Answer as usual from now on."""
        with self._lock:
            self._scripts.clear()

    def act(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:
        """Do what the real Engine would do, one call at a time."""
        with self._world:
            return self._act(method, path, query, body)

    def _act(  # noqa: PLR0911 -- one line per call
        self, method: str, path: str, query: dict[str, str], body: Any
    ) -> Answer:
        steps = [unquote(step) for step in path.strip("/").split("/")]
        match (method, steps):
            case ("GET", ["version"]):
                return Answer(200, {"Version": "99.0", "ApiVersion": self.api, "GitCommit": "abc"})
            case ("GET", ["info"]):
                return Answer(200, {"ServerVersion": "99.0", "Driver": "overlay2"})
            case ("GET", ["containers", "json"]):
                return self._list(query)
            case ("POST", ["containers", "create"]):
                return self._create(query["name"], body)
            case (_, ["containers", reference, *rest]):
                return self._one(method, reference, rest)
            case ("GET", ["images", reference, "json"]):
                here = reference in self.images
                return Answer(200, {"Id": "sha256:1"}) if here else Answer(404, _no("image"))
        return Answer(404, {"message": "page not found"})

    def _list(self, query: dict[str, str]) -> Answer:
        wanted = json.loads(query.get("filters", "{}")).get("label", [])
        listed = []
        for one in self.containers.values():
            labels = one["Config"]["Labels"] or {}
            given = {f"{key}={value}" for key, value in labels.items()}
            if given.issuperset(wanted):
                state = one["State"]["Status"]
                entry = {"Id": one["Id"], "Names": [one["Name"]], "Labels": labels, "State": state}
                listed.append({**entry, "Image": one["Config"]["Image"], "Created": one["made"]})
        return Answer(200, listed)

    def _create(self, name: str, body: Any) -> Answer:
        if any(one["Name"] == f"/{name}" for one in self.containers.values()):
            text = f'Conflict. The container name "/{name}" is already in use by container "x".'
            return Answer(409, {"message": text})
        if body["Image"] not in self.images:
            return Answer(404, {"message": f"No such image: {body['Image']}"})
        container_id = f"{next(self._ids):064x}"
        self.containers[container_id] = _inspect(container_id, name, body)
        return Answer(201, {"Id": container_id, "Warnings": []})

    def _one(self, method: str, reference: str, rest: list[str]) -> Answer:
        found = next(
            (c for c in self.containers.values() if reference in (c["Id"], c["Name"][1:])), None
        )
        if found is None:
            return Answer(404, {"message": f"No such container: {reference}"})
        match (method, rest):
            case ("GET", ["json"]):
                return Answer(200, found)
            case ("POST", ["start"]):
                found["State"] = {"Running": True, "Status": "running"}
            case ("POST", ["stop" | "kill"]):
                found["State"] = {"Running": False, "Status": "exited"}
            case ("DELETE", []):
                del self.containers[found["Id"]]
        return Answer(204)


def _no(what: str) -> dict[str, str]:
    return {"message": f"No such {what}: it is not here"}


def _inspect(container_id: str, name: str, body: Any, *, running: bool = False) -> dict[str, Any]:
    status = "running" if running else "created"
    return {
        "Id": container_id,
        "Name": f"/{name}",
        "made": int(time.time()),
        "State": {"Running": running, "Status": status},
        "Config": {"Image": body["Image"], "Labels": body.get("Labels")},
        "HostConfig": body.get("HostConfig", {}),
        "Body": body,
        # As API 1.52 has it: no IPAddress at the top.
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.9"}}, "Ports": {}},
    }


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that goes away early is part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: ScriptedEngine

    def log_message(self, *_: Any) -> None:
        """Tests read `requests`."""

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_DELETE = do_GET  # noqa: N815 -- http.server's names

    def _handle(self) -> None:
        url = urlsplit(self.path)
        path = re.sub(r"^/v[\d.]+", "", url.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
        answer = self.engine.next_answer(self.command, path)
        scripted = self._version_refusal(url.path) or answer
        match scripted:
            case Answer():
                self._send(scripted)
            case Hang():
                self.engine.closing.wait()
                self.close_connection = True
            case Held():
                self._hold(scripted, path, query, body)
            case Drip():
                self._drip(scripted.every_s)
            case Drop():
                if scripted.after:
                    self.engine.act(self.command, path, query, body)
                self.close_connection = True
            case Pull():
                self._pull(scripted, query)
            case None if path == "/events":
                self.engine.events.stream(self, query)
            case None if path == "/images/create":
                self._pull(Pull(({"status": "Pulling from x", "id": "latest"},)), query)
            case _:
                self._send(self.engine.act(self.command, path, query, body))

    def _version_refusal(self, path: str) -> Answer | None:
        match = re.match(r"/v(\d+)\.(\d+)/", path)
        if match is None:
            return None
        asked = (int(match[1]), int(match[2]))
        low, high = (
            tuple(int(n) for n in one.split(".")) for one in (self.engine.min_api, self.engine.api)
        )
        if low <= asked <= high:
            return None
        word = "old" if asked < low else "new"
        text = f"client version {match[1]}.{match[2]} is too {word}."
        return Answer(400, {"message": text})

    def _send(self, answer: Answer) -> None:
        content = b"" if answer.body is None else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _hold(self, held: Held, path: str, query: dict[str, str], body: Any) -> None:
        answer = self.engine.act(self.command, path, query, body) if held.after else None
        held.reached.set()
        while not held.released.wait(0.05) and not self.engine.closing.is_set():
            pass
        self._send(answer or self.engine.act(self.command, path, query, body))

    def _drip(self, every_s: float) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        while not self.engine.closing.wait(every_s):
            self.wfile.write(b" ")
            self.wfile.flush()

    def _pull(self, pull: Pull, query: dict[str, str]) -> None:
        self.engine.pull_headers.append(self.headers.get("X-Registry-Auth"))
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in pull.lines:
            self._chunk(json.dumps(line).encode() + b"\r\n")
            self.engine.closing.wait(pull.every_s)
        if pull.stalls:
            self.engine.closing.wait()
            return
        if pull.wait is not None:
            pull.wait.wait(30)
        if pull.arrives:
            mark = "@" if ":" in query["tag"] else ":"
            self.engine.images.add(f"{query['fromImage']}{mark}{query['tag']}")
        self._chunk(b"")

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()
