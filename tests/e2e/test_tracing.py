"""A trace of an event, from the websocket to the Docker calls, in a real OTLP/HTTP receiver."""

import gzip
import subprocess
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from simulator import sample
from simulator.rig.containers import remove_containers
from simulator.rig.processes import PROJECT_DIR, wait_until
from tests.system import System

SECRET = "hunter2-in-the-environment"


class Collector:
    """Receives spans as an OpenTelemetry collector does."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, object]] = []
        self.raw: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(self.path, body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def take(self, path: str, body: bytes) -> None:
        """Keep the spans of a request, each with the name of its service."""
        assert path == "/v1/traces"
        self.raw.append(body)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {one.key: one.value.string_value for one in group.resource.attributes}
            for scope in group.scope_spans:
                self.spans += [(about["service.name"], span) for span in scope.spans]

    def named(self, name: str) -> list:
        """The spans of a name."""
        return [span for _, span in self.spans if span.name == name]

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def collector():
    """A receiver on loopback."""
    with Collector() as running:
        yield running


@pytest.fixture(scope="module")
def traced(collector, redis_server, engine, test_image, tmp_path_factory):
    """A running system that sends its spans there."""
    tracing = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    redis_server.client().flushall()
    with System(
        redis=redis_server,
        state_dir=tmp_path_factory.mktemp("state"),
        engine_environment=engine.environment,
        bridge=tracing,
        worker=tracing,
    ) as running:
        yield running


def _attributes(span) -> dict:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def _activate(system, image, **fields):
    instance = sample.Instance(uuid=str(uuid.uuid4()), name="traced", image=image)
    event = sample.instance_activate(instance, **fields)
    call = system.call(
        event.name, event.data, resource_type=event.resource_type, resource_id=event.resource_id
    )
    return instance, call


def test_one_trace_reaches_from_the_websocket_to_the_engine(
    traced, collector, docker_client, test_image
):
    """Across Redis, with parents; nothing of the payload is in it."""
    instance, call = _activate(traced, test_image, environment={"PASSWORD": SECRET})
    assert call.state == "success"
    wait_until(lambda: collector.named("reply.publish"), 30, "the span of the reply")
    wait_until(lambda: collector.named("event.run"), 30, "the span of the attempt")
    label = {"label": f"io.rancher.container.uuid={instance.uuid}"}
    found = docker_client.containers(all=True, filters=label)
    remove_containers(docker_client, *(one["Id"] for one in found))

    (received,) = collector.named("event.receive")
    (run,) = collector.named("event.run")
    (published,) = collector.named("reply.publish")
    assert not received.parent_span_id
    assert run.parent_span_id == published.parent_span_id == received.span_id
    (create,) = collector.named("engine.container.create")
    assert create.parent_span_id == run.span_id
    assert {span.trace_id for _, span in collector.spans} == {received.trace_id}
    services = {span.name: service for service, span in collector.spans}
    assert services["event.receive"] == services["reply.publish"] == "cowpoke-bridge"
    assert services["event.run"] == services["engine.container.create"] == "cowpoke-worker"
    about = _attributes(run)
    assert about["cowpoke.event_id"] == _attributes(received)["cowpoke.event_id"] == call.id
    assert (about["cowpoke.lane"], about["cowpoke.outcome"]) == ("compute", "success")
    assert SECRET.encode() not in b"".join(collector.raw)


def test_an_error_has_its_code_and_no_text(traced, collector):
    """Texts of errors may quote what nobody else may read."""
    _, call = _activate(traced, "registry.invalid/no-such-image:1")
    assert call.state == "error"

    def failed():
        return [one for one in collector.named("event.run") if _attributes(one).get("cowpoke.code")]

    (span,) = wait_until(failed, 30, "the span of the failed attempt")[-1:]
    assert span.status.code == 2
    assert span.status.message == _attributes(span)["cowpoke.code"]
    assert not span.events


def test_pings_have_no_spans(traced, collector):
    """There are many, and all are alike."""
    assert traced.call("ping", {}).state == "success"
    names = {_attributes(span).get("cowpoke.event_name") for _, span in collector.spans}
    assert "ping" not in names


@pytest.mark.parametrize("module", ["bridge.service", "worker.process.lane"])
def test_nothing_is_imported_without_an_endpoint(module):
    """redis-py imports the API by itself where it is installed; exporter and SDK are ours."""
    program = (
        f"import sys, {module}; from cowpoke import tracing\n"
        "tracing.set_up(None, 'bridge')\n"
        "with tracing.current('a'), tracing.child('b'): tracing.begin('c').end()\n"
        "found = {'opentelemetry.sdk.trace', 'opentelemetry.exporter'} & set(sys.modules)\n"
        "sys.exit(', '.join(found) or 0)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT_DIR, capture_output=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_collector_that_is_away_does_not_hold_up_a_stop():
    """A program must end within its drain time."""
    program = (
        "import time; from cowpoke import log, tracing; log.set_up()\n"
        "tracing.set_up('http://127.0.0.1:9', 'bridge')\n"
        "tracing.begin('a').end(); began_s = time.monotonic(); tracing.shut_down()\n"
        "assert time.monotonic() - began_s < 5, time.monotonic() - began_s\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT_DIR, timeout=60, check=True)


def test_without_the_extra_a_program_says_how_to_get_it():
    """And goes on."""
    program = (
        "import sys; sys.modules['opentelemetry.exporter'] = None\n"
        "from cowpoke import log, tracing; log.set_up()\n"
        "tracing.set_up('http://127.0.0.1:9', 'bridge')\n"
        "assert tracing.begin('a') is tracing.OFF\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT_DIR, capture_output=True, text=True, check=True
    )
    assert "pip install 'cowpoke[tracing]'" in ended.stdout
