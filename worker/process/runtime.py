"""What one worker process holds for its tasks: who it is, its Engine, its locks, its ledger.

Made once, when the process starts its lane; tasks ask for it with `current()`.
"""

import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import redis

from cowpoke.broker import connect
from cowpoke.clock import Clock
from cowpoke.environment import kept
from cowpoke.ledger.execution import WorkerLedger
from cowpoke.routes import Lane
from cowpoke.seal import Keyring
from worker.engine.client import Engine
from worker.host.identity import Identity, identify
from worker.host.locks import Locks
from worker.operations.protection import own_container_id
from worker.process.key_gate import KeyGate
from worker.settings import WorkerSettings

#: Idle time of a connection before it is tested.
WORKER_HEALTH_CHECK_S = 60
_MOST_WARNED_EVENTS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """One worker process of one lane."""

    settings: WorkerSettings
    identity: Identity
    lane: Lane
    #: Of the worker: its supervisor and all lanes.
    worker_id: str
    #: Of this process; see `cowpoke.liveness`.
    boot_id: str
    engine: Engine
    locks: Locks
    redis: redis.Redis
    keyring: Keyring
    ledger: WorkerLedger
    key_gate: KeyGate
    #: Slots of the control lane that may wait for the Engine, so that pings find a free one.
    engine_slots: threading.BoundedSemaphore
    #: Until when cattle waits for an event (ms, by the Redis server's clock), where progress that
    #: this process reported moved it.
    deadlines_ms: dict[str, int] = field(default_factory=dict)

    #: Warnings of events that wait for something, for their replies. Only this process has them.
    warnings: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def keep_warnings(self, event_id: str, warnings: Iterable[str]) -> None:
        """Remember the warnings of a try for the next try in this process."""
        if len(self.warnings) >= _MOST_WARNED_EVENTS:
            # Events that other processes finished.
            self.warnings.clear()
        self.warnings[event_id] = tuple(warnings)

    def close_idle_connections(self) -> None:
        """Free the file handles of connections that are only kept for later calls."""
        self.engine.close()
        self.redis.connection_pool.disconnect(inuse_connections=False)


class _Current:
    runtime: Runtime | None = None


def current() -> Runtime:
    """The runtime of this process; made from the environment when nobody started a lane."""
    if _Current.runtime is None:
        start(kept(WorkerSettings), Lane.IMAGES)
    assert _Current.runtime is not None
    return _Current.runtime


def start(settings: WorkerSettings, lane: Lane, *, worker_id: str = "", starts: int = 1) -> Runtime:
    """Make this process a worker of one lane; `starts` counts the processes of the lane so far."""
    worker_id = worker_id or new_worker_id()
    boot_id = boot_id_of(worker_id, lane, starts)
    # Its commands are seldom at rest, and each would be two. They are repeated anyway.
    client = connect(settings, health_check_s=WORKER_HEALTH_CHECK_S)
    identity = identify(settings)
    keyring = settings.keyring()
    sealer = keyring.host(identity.host_uuid)
    ledger = WorkerLedger(
        client, sealer, Clock(client), host_uuid=identity.host_uuid, boot_id=boot_id
    )
    ledger.confirms = lane is not Lane.CONTROL
    _Current.runtime = Runtime(
        settings=settings,
        identity=identity,
        lane=lane,
        worker_id=worker_id,
        boot_id=boot_id,
        engine=Engine(settings),
        locks=Locks(settings.lock_dir, wait_s=settings.lock_wait_s),
        redis=client,
        keyring=keyring,
        ledger=ledger,
        key_gate=KeyGate(client, ledger, identity.host_uuid, lane),
        engine_slots=threading.BoundedSemaphore(max(1, settings.control_concurrency // 2)),
    )
    return _Current.runtime


def new_worker_id() -> str:
    """A name for a worker that none had before; no dot is in it."""
    return uuid.uuid4().hex[:16]


def boot_id_of(worker_id: str, lane: Lane, starts: int) -> str:
    """The name of a lane's process; `starts` counts the processes of the lane so far."""
    return f"{worker_id}.{lane}.{starts}"


def worker_lock(worker_id: str) -> str:
    """The lock that a worker holds while it or one of its lanes lives."""
    return f"worker:{worker_id}"


def process_space() -> str:
    """Return what the processes of one container share, or of the machine outside of containers.

    Processes of one PID namespace, unless its containers share the machine's (`pid: host`).
    """
    try:
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        namespace = ""
    container_id = own_container_id()
    return f"{namespace}.{container_id[:12]}" if container_id else namespace
