"""Logs: one JSON line per fact on standard output, the libraries' lines included.

Facts are dotted and past tense (`event.done`), their keys are these: `event_id`, `event` is
structlog's own (the fact), `name` (cattle's event name), `resource`, `outcome`, `code`,
`duration_ms`, `host`, `lane`, `boot`, `attempts`. Payloads, environments and credentials are never
logged. On a terminal the same facts come as coloured lines.
"""

import logging
import sys
from collections.abc import Sequence
from typing import TextIO

import structlog
from structlog.typing import Processor

_SHARED: Sequence[Processor] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
)


def is_set_up() -> bool:
    """Whether this process, or the one it was forked from, has done so already."""
    return structlog.is_configured()


def set_up(*, debug: bool = False, stream: TextIO | None = None) -> None:
    """Send every log line of this process to `stream` in one form; to standard output if None."""
    stream = stream or sys.stdout
    renderer: Processor = (
        structlog.dev.ConsoleRenderer() if stream.isatty() else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    for noisy in ("celery", "kombu", "amqp", "urllib3", "docker", "aiohttp.access", "asyncio"):
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


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of one module."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound
