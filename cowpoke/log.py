"""Logs: one JSON line per fact on standard output, the libraries' lines included.

Facts are dotted and past tense (`event.done`), their keys are these: `event_id`, `event` is
structlog's own (the fact), `name` (cattle's event name), `resource`, `outcome`, `code`,
`duration_ms`, `host`, `lane`, `boot`, `attempts`. Payloads, environments and credentials are never
logged. A line that repeats another one is folded into it (`cowpoke.log_lines`). On a terminal the
same facts come as colored lines, none of them folded.
"""

import logging
import re
import sys
import threading
from collections.abc import Mapping, MutableMapping, Sequence
from types import TracebackType
from typing import Any, TextIO

import structlog
from pydantic import BaseModel
from structlog.typing import Processor

from cowpoke import scrubbing
from cowpoke.log_lines import FoldingHandler, Printed

_FACT = re.compile(r"[a-z_]+\.[a-z_-]+")
_OUR_FIELDS = frozenset({"level", "logger", "code", "lane", "outcome", "ending", "event_name"})


def _scrubbed(_: object, __: str, fact: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take the secrets out of every text of a fact but our own words."""
    return {
        key: value if _is_ours(key, value) else _without_secrets(value)
        for key, value in fact.items()
    }


def _is_ours(key: str, value: object) -> bool:
    """Whether a field is a word of the program: a password that is a common word hides none."""
    if key == "event":
        return isinstance(value, str) and _FACT.fullmatch(value) is not None
    return key in _OUR_FIELDS


def _without_secrets(value: Any) -> Any:  # noqa: ANN401 -- whatever a caller logs
    match value:
        case str():
            return scrubbing.scrub(value)
        case Mapping():
            return {_without_secrets(key): _without_secrets(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_without_secrets(inner) for inner in value]
        case None | bool() | int() | float():
            return value
    return scrubbing.scrub(repr(value))


_SHARED: Sequence[Processor] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.format_exc_info,
)
_TIME = structlog.processors.TimeStamper(fmt="iso", utc=True)
_NOISY = ("celery", "kombu", "amqp", "urllib3", "docker", "aiohttp.access", "asyncio")


def is_set_up() -> bool:
    """Whether this process, or the one it was forked from, has done so already."""
    return structlog.is_configured()


def set_up(*, debug: bool = False, stream: TextIO | None = None) -> None:
    """Send every log line of this process to `stream` in one form; to standard output if None."""
    stream = stream or sys.stdout
    handler: logging.Handler
    final: list[Processor]
    if stream.isatty():
        handler = logging.StreamHandler(stream)
        final = [_TIME, _scrubbed, structlog.dev.ConsoleRenderer()]
    else:
        # The time is no part of what is compared: the handler writes it.
        handler = FoldingHandler(stream)
        final = [_scrubbed, structlog.processors.JSONRenderer()]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_debug(debug)
    logging.captureWarnings(capture=True)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def set_debug(debug: bool) -> None:  # noqa: FBT001 -- it is the setting's value
    """Log more, or not."""
    logging.getLogger().setLevel(logging.DEBUG if debug else logging.INFO)


def set_up_program() -> None:
    """Do the same for a program that runs until it is stopped: it prints nothing but log lines.

    What a library prints, and what Python prints of an error that nobody caught, becomes a log
    line. On a terminal both stay as they are.
    """
    set_up()
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    sys.unraisablehook = _log_unraisable
    if sys.stdout.isatty():
        return
    for name in ("stdout", "stderr"):
        printed = Printed(logging.getLogger(name))
        setattr(sys, name, printed)
        # Celery prints how it stops to the original streams.
        setattr(sys, f"__{name}__", printed)


def read_settings(settings: BaseModel, *, debug: bool) -> None:
    """Take from the settings what the log needs: the level, and which values are secret."""
    scrubbing.keep_secret(settings)
    set_debug(debug)


def flush() -> None:
    """Write what is still held back; needed before `os._exit`."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of one module."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        logger(__name__).warning("program.interrupted")
        return
    logger(__name__).critical("program.crashed", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(crash: threading.ExceptHookArgs) -> None:
    if crash.exc_value is None or issubclass(crash.exc_type, SystemExit):
        return
    name = crash.thread.name if crash.thread is not None else ""
    logger(__name__).error(
        "thread.crashed",
        thread=name,
        exc_info=(crash.exc_type, crash.exc_value, crash.exc_traceback),
    )


def _log_unraisable(ignored: "sys.UnraisableHookArgs") -> None:
    error = ignored.exc_value
    logger(__name__).warning(
        "error.ignored",
        where=repr(ignored.object),
        reason=ignored.err_msg or "",
        exc_info=None if error is None else (ignored.exc_type, error, ignored.exc_traceback),
    )
