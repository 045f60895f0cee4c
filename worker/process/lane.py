"""One process of a worker: a Celery worker on one lane of one host."""

import hashlib
import itertools
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from celery.platforms import SecurityWarning
from celery.signals import worker_ready, worker_shutting_down

from cowpoke import log
from cowpoke.routes import Lane, queue_for
from worker.app import app
from worker.container_events.following import ContainerEvents
from worker.execution.remote_control import restrict_remote_control
from worker.janitor import Janitor
from worker.process.background import start_host_care
from worker.process.consumer import Watch
from worker.process.drain import Drain
from worker.process.figures import FiguresWriter
from worker.process.handles import most_slots
from worker.process.pulse import Pulse
from worker.process.readiness import EngineWatch
from worker.process.recovery import recover
from worker.process.runtime import Runtime, start
from worker.process.supervisor import LaneStart
from worker.process.transport import use_transport
from worker.settings import WorkerSettings

_log = log.logger(__name__)

#: How often Celery's events say that a lane lives; Flower waits twice as long for the next one.
HEARTBEAT_S = 30


def run_lane(settings: WorkerSettings, launch: LaneStart, *, watches_engine: bool = False) -> int:
    """Run one lane until it is stopped; the exit code.

    One lane of a worker also logs whether the Engine answers, looks after the machine, and may
    follow the events of the Engine.
    """
    # Celery warns root of pickled messages; only JSON is accepted here, and Docker needs the right.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    runtime = start(settings, launch.lane, worker_id=launch.worker_id, starts=launch.starts)
    figures = FiguresWriter(runtime)
    if watches_engine:
        if settings.docker_enabled:
            EngineWatch(settings, figures.set_engine).start()
        start_host_care(settings)
    figures.start()
    with _node_name(runtime) as node:
        return _run(runtime, launch, node, follows_engine=watches_engine)


@contextmanager
def _node_name(runtime: Runtime) -> Iterator[str]:
    """What Celery and Flower call this process: the same again after a restart.

    A new name each time would stay in Flower's list, and in Celery's bindings in Redis, for ever
    (C 35). So it is numbered among the live processes of its host, and marked by the host, since
    machines may have the same name.
    """
    host_uuid, lane = runtime.identity.host_uuid, runtime.lane
    mark = hashlib.blake2b(host_uuid.encode(), digest_size=3).hexdigest()
    for number in itertools.count(1):
        with runtime.locks.try_hold(f"node:{host_uuid}:{lane}:{number}") as free:
            if free:
                yield f"{lane}-{number}-{mark}@{runtime.identity.hostname}"
                return


def _run(runtime: Runtime, launch: LaneStart, node: str, *, follows_engine: bool) -> int:
    lane = launch.lane
    queue = queue_for(runtime.identity.host_uuid, lane)
    wanted = _slots(runtime.settings, lane)
    slots = most_slots(wanted)
    if slots < wanted:
        _log.warning(
            "lane.slots_reduced",
            lane=lane,
            wanted=wanted,
            slots=slots,
            advice="raise the limit of open files (ulimit -n)",
        )
    pulse = Pulse(runtime, node, Watch(runtime.redis, queue, slots), launch.pipe)

    @worker_ready.connect(weak=False)  # type: ignore[untyped-decorator]  # celery has no types
    def _ready(**_: object) -> None:
        if lane is Lane.IMAGES:
            Janitor(runtime).start()
        settings = runtime.settings
        if follows_engine and settings.container_events and settings.docker_enabled:
            ContainerEvents(runtime).start()
        _log.info(
            "lane.ready", lane=lane, queue=queue, node=node, boot=runtime.boot_id, pid=os.getpid()
        )

    @worker_shutting_down.connect(weak=False)  # type: ignore[untyped-decorator]
    def _stopping(sig: object = "", **_: object) -> None:
        _log.info("lane.stopping", lane=lane, signal=str(sig))
        Drain(runtime).start()

    restrict_remote_control()
    use_transport(app, runtime.identity.host_uuid)
    # Celery would look it up with the first outcome, by reading a file of each installed package:
    # there may be no free file handle then.
    _ = app.backend
    worker = app.Worker(
        hostname=node,
        queues=[queue],
        pool_cls="threads",
        concurrency=slots,
        consumer_cls="worker.process.consumer:QuickConsumer",
        without_gossip=True,
        without_mingle=True,
        heartbeat_interval=HEARTBEAT_S,
        task_events=True,
        quiet=True,
        loglevel="WARNING",
    )
    pulse.begin()
    recover(runtime, starts=launch.starts)
    try:
        _wait_for_keys(runtime)
        pulse.consumes.set()
        worker.start()
    finally:
        pulse.stop()
    _log.info("lane.stopped", lane=lane)
    log.flush()
    return int(worker.exitcode or 0)


def _wait_for_keys(runtime: Runtime) -> None:
    """Wait until this lane may take events; SIGTERM ends the wait and the process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    runtime.key_gate.wait()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _slots(settings: WorkerSettings, lane: Lane) -> int:
    return {
        Lane.COMPUTE: settings.concurrency,
        Lane.IMAGES: settings.images_concurrency,
        Lane.CONTROL: settings.control_concurrency,
    }[lane]
