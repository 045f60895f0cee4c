"""Spans for OpenTelemetry, from the websocket to the calls to the Docker Engine. Off by default.

    event.receive (bridge) ─▶ event.run (worker) ─▶ engine.* (worker)
                          └─▶ reply.publish (bridge)

Tracing is on where OTEL_EXPORTER_OTLP_ENDPOINT is set and the extra `tracing` is installed. Only
then are its libraries imported. The context travels sealed: in the payload to the worker, in the
envelope to the bridge that publishes. So nobody who writes to Redis can join spans to a trace.

Spans have ids, names, lanes and error codes. They never have payloads, environments, texts of
errors or credentials. Pings have no spans.
"""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cowpoke.log import logger
from cowpoke.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import Tracer

_log = logger(__name__)

_PREFIX = "cowpoke."
_EXPORT_TIMEOUT_S = 2.0
#: A stopping program waits no longer for the collector: it must end in time.
_END_S = 0.8


class Span:
    """One span that has begun; without tracing it does nothing."""

    __slots__ = ("_span",)

    def __init__(self, span: "OtelSpan | None" = None) -> None:
        self._span = span

    @property
    def context(self) -> str:
        """What makes other spans children of this one; empty without tracing.

        As W3C Trace Context has it: `00-<trace id>-<span id>-<flags>`.
        """
        if self._span is None:
            return ""
        found = self._span.get_span_context()
        return f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"

    def note(self, **attributes: str | int) -> None:
        """Add attributes."""
        if self._span is not None:
            self._span.set_attributes({f"{_PREFIX}{key}": one for key, one in attributes.items()})

    def fail(self, code: str) -> None:
        """Mark the span as failed, with a code: the text of an error may quote anything."""
        if self._span is not None:
            from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

            self._span.set_status(Status(StatusCode.ERROR, code))
            self.note(code=code)

    def end(self) -> None:
        """End the span; it is exported soon."""
        if self._span is not None:
            self._span.end()


#: The span of what is not traced.
OFF = Span()


class _Tracing:
    """Of this process; the provider is None where tracing is off."""

    provider: "TracerProvider | None" = None
    tracer: "Tracer | None" = None


def is_on() -> bool:
    """Whether this process makes spans."""
    return _Tracing.tracer is not None


def set_up(endpoint: str | None, program: str, *, instance: str = "") -> None:
    """Export the spans of this process from now on; call it after a fork.

    Args:
        endpoint: The url of a collector that speaks OTLP over HTTP, without `/v1/traces`. None
            leaves tracing off.
        program: bridge or worker.
        instance: The name of the process.
    """
    if endpoint is None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        _log.warning(
            "tracing.not_started",
            advice="OTEL_EXPORTER_OTLP_ENDPOINT is set: pip install 'cowpoke[tracing]'",
        )
        return
    about = {
        "service.name": f"cowpoke-{program}",
        "service.version": VERSION,
        "service.instance.id": instance,
        "host.name": socket.gethostname(),
    }
    # Of the environment: OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS.
    provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(
        endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_TIMEOUT_S
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _Tracing.provider = provider
    _Tracing.tracer = provider.get_tracer("cowpoke", VERSION)
    _log.info("tracing.started")


def shut_down() -> None:
    """Export what is left, if the collector answers in time, and make no more spans."""
    provider, _Tracing.provider, _Tracing.tracer = _Tracing.provider, None, None
    if provider is not None:
        # The exporter would repeat what a collector does not take.
        ending = threading.Thread(target=provider.shutdown, daemon=True)
        ending.start()
        ending.join(_END_S)


def begin(name: str, *, parent: str = "", **attributes: str | int) -> Span:
    """Begin a span; the caller ends it. `parent`: the `context` of another span."""
    if _Tracing.tracer is None:
        return OFF
    return Span(
        _Tracing.tracer.start_span(name, context=_context(parent), attributes=_named(attributes))
    )


@contextmanager
def current(name: str, *, parent: str = "", **attributes: str | int) -> Iterator[Span]:
    """Begin a span and end it with the block; it is the parent of each `child` in there."""
    if _Tracing.tracer is None:
        yield OFF
        return
    with _Tracing.tracer.start_as_current_span(
        name,
        context=_context(parent),
        attributes=_named(attributes),
        # The caller says what failed: an exception would be recorded with its text.
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        yield Span(span)


@contextmanager
def child(name: str, **attributes: str | int) -> Iterator[Span]:
    """Begin a span of what the current span does; nothing without one."""
    if _Tracing.tracer is None:
        yield OFF
        return
    from opentelemetry.trace import get_current_span  # noqa: PLC0415

    if not get_current_span().get_span_context().is_valid:
        yield OFF
        return
    with current(name, parent="", **attributes) as span:
        try:
            yield span
        except Exception as error:
            span.fail(str(getattr(error, "code", "") or type(error).__name__))
            raise


def _context(parent: str) -> "Context | None":
    """Return the context of a parent; None is the current one."""
    if not parent:
        return None
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
        TraceContextTextMapPropagator,
    )

    return TraceContextTextMapPropagator().extract({"traceparent": parent})


def _named(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{_PREFIX}{key}": value for key, value in attributes.items()}
