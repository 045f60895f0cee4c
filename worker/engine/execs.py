"""Run a program inside a container, with data on its standard input."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from worker import deadline
from worker.engine.client import Call, Engine, segment
from worker.errors import ContainerMissingError, EngineError, EngineUnavailableError, OperationError

#: Maximum stored output of each stream; the rest is read and dropped.
MOST_OUTPUT_BYTES = 256 * 1024
#: The exit code of an exec may be known only a moment after its streams ended.
_EXIT_CODE_S = 2.0
_FRAME = struct.Struct(">BxxxL")
_STDOUT, _STDERR = 1, 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Executed:
    """The exit code and the output of a program in a container."""

    exit_code: int
    stdout: str
    stderr: str


def execute(
    engine: Engine, container_id: str, command: Sequence[str], *, stdin: bytes, timeout_s: float
) -> Executed:
    """Run a program in a running container, as its user, with its environment.

    Errors: OperationError when the program does not end in time (the Engine cannot kill it);
    ContainerMissingError; EngineError when the container does not run.
    """
    timeout_s = min(timeout_s, deadline.left_s())
    deadline_s = time.monotonic() + timeout_s
    what = f"run {command[0]} in container {container_id[:12]}"
    created = engine.run(
        Call(
            "POST",
            f"/containers/{segment(container_id)}/exec",
            kind="exec.create",
            wanted=what,
            body={
                "AttachStdin": True,
                "AttachStdout": True,
                "AttachStderr": True,
                "Tty": False,
                "Cmd": list(command),
            },
            refusal=_create_refusal,
        )
    )
    exec_id = str(created["Id"])
    try:
        streams = _converse(engine, exec_id, stdin, what, deadline_s)
    except TimeoutError as error:
        raise OperationError(
            f"cannot {what}: it did not end within {timeout_s:g} s and may still run"
        ) from error
    return Executed(
        exit_code=_exit_code(engine, exec_id, what),
        stdout=streams[_STDOUT].decode(errors="replace"),
        stderr=streams[_STDERR].decode(errors="replace"),
    )


def _converse(
    engine: Engine, exec_id: str, stdin: bytes, what: str, deadline_s: float
) -> dict[int, bytearray]:
    """Write the input and read both outputs at the same time, because either side may be slow."""
    start = Call(
        "POST",
        f"/exec/{segment(exec_id)}/start",
        kind="exec.start",
        wanted=what,
        body={"Detach": False, "Tty": False},
        headers={"Connection": "Upgrade", "Upgrade": "tcp"},
        timeout_s=max(0.1, deadline_s - time.monotonic()),
    )
    streams = {_STDOUT: bytearray(), _STDERR: bytearray()}
    with engine.stream(start) as response:
        # Private attributes, because neither requests nor urllib3 supports upgraded connections.
        raw: Any = response.raw
        connection: socket.socket = raw._fp.fp.raw._sock  # noqa: SLF001
        if isinstance(connection, ssl.SSLSocket):
            raise EngineError(
                f"cannot {what}: over TLS the end of its input cannot be signaled to the Engine; "
                "connect the worker to the Engine's unix socket"
            )
        writer = threading.Thread(target=_write, args=(connection, stdin), daemon=True)
        writer.start()
        try:
            for stream, chunk in _frames(connection, deadline_s):
                kept = streams.setdefault(stream, bytearray())
                kept += chunk[: max(0, MOST_OUTPUT_BYTES - len(kept))]
        except TimeoutError:
            raise
        except OSError as error:
            raise EngineUnavailableError(f"cannot {what}: {error.strerror}") from error
        finally:
            _hang_up(connection)
            writer.join(1)
    return streams


def _write(connection: socket.socket, content: bytes) -> None:
    try:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        # The program ended without reading all its input; its exit code tells whether it failed.
        return


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def _frames(connection: socket.socket, deadline_s: float) -> Iterator[tuple[int, bytes]]:
    """Yield the Engine's frames, each the number of its stream and data."""
    while True:
        head = _exactly(connection, _FRAME.size, deadline_s)
        if len(head) < _FRAME.size:
            return
        stream, left = _FRAME.unpack(head)
        while left:
            chunk = _some(connection, min(left, 65536), deadline_s)
            if not chunk:
                return
            left -= len(chunk)
            yield stream, chunk


def _exactly(connection: socket.socket, count: int, deadline_s: float) -> bytes:
    content = b""
    while len(content) < count:
        chunk = _some(connection, count - len(content), deadline_s)
        if not chunk:
            break
        content += chunk
    return content


def _some(connection: socket.socket, most: int, deadline_s: float) -> bytes:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    connection.settimeout(left_s)
    return connection.recv(most)


def _exit_code(engine: Engine, exec_id: str, what: str) -> int:
    deadline_s = time.monotonic() + _EXIT_CODE_S
    while True:
        found = engine.run(
            Call("GET", f"/exec/{segment(exec_id)}/json", kind="exec.inspect", wanted=what)
        )
        if not found.get("Running") and found.get("ExitCode") is not None:
            return int(found["ExitCode"])
        if time.monotonic() >= deadline_s:
            raise OperationError(f"cannot {what}: its output ended, but the program did not")
        time.sleep(0.02)


def _create_refusal(status: int, _words: str) -> type[EngineError] | None:
    # 409: the container does not run, or is paused.
    return {404: ContainerMissingError, 409: EngineError}.get(status)
