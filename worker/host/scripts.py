"""Run a program of the operator with a limit on its runtime and on its stored output."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from worker.errors import OperationError

#: Maximum stored output of a program; the rest is read and dropped.
MOST_OUTPUT_BYTES = 64 * 1024
_DRAIN_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """The exit code and the output of a program."""

    exit_code: int
    output: str


def run(
    command: Sequence[str], *, folder: Path, environment: Mapping[str, str], timeout_s: float
) -> Finished:
    """Run a program to its end; standard output and standard error become one text.

    Errors: OperationError when the program cannot be started or does not end in time. It is killed
    then, with all processes it started.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 -- which program is the operator's setting
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise OperationError(f"cannot run {command[0]}: {error.strerror}") from error
    assert process.stdout is not None
    kept = bytearray()
    reader = threading.Thread(target=_read, args=(process.stdout, kept), daemon=True)
    reader.start()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired as error:
        raise OperationError(
            f"{command[0]} did not end within {timeout_s:g} s and was killed"
        ) from error
    finally:
        _end(process, reader)
    return Finished(exit_code=process.returncode, output=bytes(kept).decode(errors="replace"))


def _read(stream: IO[bytes], kept: bytearray) -> None:
    with stream:
        while chunk := os.read(stream.fileno(), 65536):
            kept += chunk[: max(0, MOST_OUTPUT_BYTES - len(kept))]


def _end(process: "subprocess.Popen[bytes]", reader: threading.Thread) -> None:
    """Kill the whole process group: a child in the background would keep the output open."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    reader.join(_DRAIN_S)
