"""Which codes an event can end with, collected from the code: docs and tests use them.

worker      errors of an operation, a class each (`worker/errors.py`)
bridge      errors that bridges, the ledger and the result backend answer with
history     ends without a reply that cattle took (`bridge/finished.py`, `bridge/outbound`)
retry       reasons of retries that end no event
command     errors of `cowpoke join` and of the start of a worker
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from bridge.finished import EXPIRED_IN
from bridge.outbound.refusals import End
from worker import errors
from worker.errors import RetryableError, WorkerError

PROJECT = Path(__file__).parents[1]
#: Bases, which are never raised, and what leads to `event-unreadable` at the bridge.
_BASES = {"worker-error"}
#: Caught by the attempt: the event goes on.
#: A worker leaves these events to others; a bridge answers them.
_REJECTED = {"event-unknown"}
_RETRIES = {"image-needed", "not-yet", "retryable"}
_COMMANDS = {"join-failed", "host-removed"}
_FOLDERS = ("bridge", "cowpoke/ledger", "worker/execution")
_WITHOUT_AGENT = "reply-without-agent"


@dataclass(frozen=True, order=True)
class ErrorCode:
    """One code and where it comes from."""

    group: str
    code: str
    #: Whether the worker repeats the event before it answers with it.
    is_retried: bool = False


def error_codes() -> list[ErrorCode]:
    """Return all codes, sorted by group and name."""
    ends = {f"expired-{where}" for where in (*EXPIRED_IN, "unknown")}
    ends |= {f"reply-{end}" for end in get_args(End)} | {_WITHOUT_AGENT}
    history = {ErrorCode("history", code) for code in ends}
    answers = {ErrorCode("bridge", code) for code in _answered()}
    workers = {one for one in _worker_codes() if one.code not in _REJECTED}
    known = {one.code for one in workers}
    return sorted(workers | history | {one for one in answers if one.code not in known})


def _worker_codes() -> Iterator[ErrorCode]:
    for kind in vars(errors).values():
        if not (isinstance(kind, type) and issubclass(kind, WorkerError)) or kind.code in _BASES:
            continue
        group = "retry" if kind.code in _RETRIES else "worker"
        group = "command" if kind.code in _COMMANDS else group
        yield ErrorCode(group, kind.code, group == "worker" and issubclass(kind, RetryableError))


def _answered() -> set[str]:
    """Return the literals of `error(CODE, ...)` and of `Decision(code=CODE)`."""
    found: set[str] = set()
    for folder in _FOLDERS:
        for path in (PROJECT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            named = dict(_constants(tree))
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    found |= set(_codes(node, named))
    return found


def _codes(call: ast.Call, named: dict[str, str]) -> Iterator[str]:
    given: list[ast.expr] = []
    match getattr(call.func, "id", ""):
        case "error":
            given = call.args[:1]
        case "Decision":
            given = [key.value for key in call.keywords if key.arg == "code"]
    for one in given:
        match one:
            case ast.Constant(value=str(code)):
                yield code
            case ast.Name(id=name) if name in named:
                yield named[name]


def _constants(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                yield name, text
