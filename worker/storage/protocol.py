"""One call to a storage driver: HTTP over a unix socket, Docker's volume protocol and `Attach`.

    POST /VolumeDriver.Mount {"Name": "vol1", "Opts": {"host": "10.0.0.1"}}
    200 {"Mountpoint": "/var/lib/rancher/volumes/rancher-nfs/vol1", "Err": "", ...}

A driver reports errors in `Err`, usually with status 500. An answer 4xx with JSON and without `Err`
means that the driver does not have this action, which is a success with an empty result. An answer
that is not JSON is a failure. Options may contain tokens, so they are never logged or quoted.
"""

import io
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from http.client import HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected
from pathlib import Path
from typing import Any

from cowpoke.scrubbing import clipped
from worker.errors import StorageDriverAbsentError, StorageDriverError, StorageDriverSlowError

#: The scope of a driver that mounts its volumes itself, without Docker.
FLEX = "flex"

_MOST_ANSWER_BYTES = 1024 * 1024
_MOST_WORDS = 2000


class Action(StrEnum):
    """What a driver is asked for; the value is the end of the path."""

    CAPABILITIES = "Capabilities"
    CREATE = "Create"
    ATTACH = "Attach"
    MOUNT = "Mount"
    REMOVE = "Remove"


@dataclass(frozen=True, slots=True)
class DriverCall:
    """One request to a driver about one volume."""

    driver: str
    action: Action
    volume: str
    _: KW_ONLY
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def wanted(self) -> str:
        """What the call is for, for errors: `cannot <wanted>: ...`."""
        if self.action is Action.CAPABILITIES:
            return f"get the capabilities for volume {self.volume}"
        return f"{self.action.lower()} volume {self.volume}"

    def request(self) -> bytes:
        """Return the request as it is sent; empty options are left out."""
        content = {"Name": self.volume} | ({"Opts": dict(self.options)} if self.options else {})
        body = json.dumps(content).encode()
        head = (
            f"POST /VolumeDriver.{self.action} HTTP/1.1\r\n"
            "Host: volume-plugin\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        return head.encode("ascii") + body


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What is used of a driver's answer; both are empty for an action that it does not have."""

    mount_point: str = ""
    scope: str = ""


def ask(call: DriverCall, storage_dir: Path, *, ends_s: float) -> Answer:
    """Make one call, which ends when `time.monotonic()` reads `ends_s` at the latest.

    Errors: StorageDriverAbsentError when nobody listens or the connection breaks;
    StorageDriverSlowError without an answer in time; StorageDriverError with the driver's words.
    """
    path = storage_dir / f"{call.driver}.sock"
    began_s = time.monotonic()
    try:
        status, body = _exchange(path, call.request(), ends_s)
    except TimeoutError as error:
        raise StorageDriverSlowError(
            f"cannot {call.wanted}: storage driver {call.driver} did not answer within "
            f"{time.monotonic() - began_s:.1f} s; look into the log of its container"
        ) from error
    except (OSError, RemoteDisconnected, IncompleteRead) as error:
        raise StorageDriverAbsentError(
            f"cannot {call.wanted}: {_absence(path, error)}; check that the container of storage "
            f"driver {call.driver} runs on this host"
        ) from error
    except HTTPException as error:
        raise StorageDriverError(
            f"cannot {call.wanted}: storage driver {call.driver} did not answer with HTTP"
        ) from error
    return _read(call, status, body)


def _absence(path: Path, error: Exception) -> str:
    match error:
        case FileNotFoundError() if not path.parent.is_dir():
            # The usual reason where the worker itself runs in a container.
            return f"socket file not found at {path}, whose folder is not there or not mounted"
        case FileNotFoundError():
            return f"socket file not found at {path}"
        case ConnectionRefusedError():
            return f"nobody listens at {path}"
        case OSError(strerror=str(words)):
            return f"the connection to {path} failed ({words})"
    return f"the connection to {path} ended without an answer"


def _read(call: DriverCall, status: int, body: bytes) -> Answer:
    said = f"cannot {call.wanted}: storage driver {call.driver} answered {status}"
    try:
        content: Any = json.loads(body)
    except ValueError:
        content = None
    if not isinstance(content, Mapping):
        text = clipped(body.decode(errors="replace").strip(), _MOST_WORDS)
        raise StorageDriverError(f"{said}: {text or 'nothing'}")
    if words := content.get("Err"):
        raise StorageDriverError(f"{said}: {clipped(str(words).strip(), _MOST_WORDS)}")
    match status // 100:
        case 2:
            capabilities = content.get("Capabilities")
            scope = capabilities.get("Scope") if isinstance(capabilities, Mapping) else None
            return Answer(mount_point=_text(content.get("Mountpoint")), scope=_text(scope))
        case 4:
            return Answer()
    raise StorageDriverError(f"{said} without a reason")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


class _Reader(io.RawIOBase):
    """The bytes of an answer, until a fixed time."""

    def __init__(self, sock: socket.socket, ends_s: float) -> None:
        self._sock = sock
        self._ends_s = ends_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        """Read the next bytes. Errors: TimeoutError."""
        self._sock.settimeout(_left_s(self._ends_s))
        return self._sock.recv_into(buffer)

    def makefile(self, *_: object) -> io.BufferedReader:
        """Return the file that `HTTPResponse` asks its socket for."""
        return io.BufferedReader(self)


def _exchange(path: Path, request: bytes, ends_s: float) -> tuple[int, bytes]:
    """Send a request; return the status and the body.

    Errors: OSError, of which TimeoutError means that the time is over; HTTPException.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_left_s(ends_s))
        sock.connect(str(path))
        sock.settimeout(_left_s(ends_s))
        sock.sendall(request)
        # It only asks its socket for a file.
        response = HTTPResponse(_Reader(sock, ends_s), method="POST")  # type: ignore[arg-type]
        response.begin()
        body = response.read(_MOST_ANSWER_BYTES)
        if response.length:
            raise IncompleteRead(body) if len(body) < _MOST_ANSWER_BYTES else HTTPException
        return response.status, body


def _left_s(ends_s: float) -> float:
    left_s = ends_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("timed out")
    return left_s
