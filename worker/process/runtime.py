"""What one worker process holds for its tasks: who it is, its Engine, its locks, its ledger.

Made once, when the process starts its lane; tasks ask for it with `current()`.
"""

import os
import threading
import time
import uuid
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import redis

from cowpoke import log
from cowpoke.broker import connect
from cowpoke.ledger.ledger import Ledger
from cowpoke.ledger.recovery import Sweeper
from cowpoke.liveness import RENEW_EVERY_S, Lease, Leases
from cowpoke.routes import Lane
from cowpoke.seal import Sealer
from worker.engine.client import Engine
from worker.host.identity import Identity, identify
from worker.host.locks import Locks
from worker.host.orphan_volumes import OrphanVolumes
from worker.process.consumer import Watch
from worker.process.key_gate import KeyGate
from worker.settings import WorkerSettings

_log = log.logger(__name__)

STUCK_EXIT_CODE = 70
#: A lane without Redis starts all the same: it has nothing to take.
FIRST_LEASE_S = 10.0

try:
    VERSION = version("cowpoke")
except PackageNotFoundError:
    VERSION = "0.1.0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """One worker process of one lane."""

    settings: WorkerSettings
    identity: Identity
    lane: Lane
    boot_id: str
    engine: Engine
    locks: Locks
    redis: redis.Redis
    ledger: Ledger
    key_gate: KeyGate
    #: Slots of the control lane that may wait for the Engine, so that pings find a free one.
    engine_slots: threading.BoundedSemaphore

    def close_idle_connections(self) -> None:
        """Free the file handles of connections that are only kept for later calls."""
        self.engine.close()
        self.redis.connection_pool.disconnect(inuse_connections=False)


class _Current:
    runtime: Runtime | None = None


def current() -> Runtime:
    """The runtime of this process; made from the environment when nobody started a lane."""
    if _Current.runtime is None:
        start(WorkerSettings(), Lane.IMAGES)
    assert _Current.runtime is not None
    return _Current.runtime


def start(settings: WorkerSettings, lane: Lane) -> Runtime:
    """Make this process a worker of one lane."""
    client = connect(settings)
    sealer = Sealer.of(settings)
    _Current.runtime = Runtime(
        settings=settings,
        identity=identify(settings),
        lane=lane,
        boot_id=uuid.uuid4().hex[:16],
        engine=Engine(settings),
        locks=Locks(settings.lock_dir, wait_s=settings.lock_wait_s),
        redis=client,
        ledger=Ledger(client, sealer),
        key_gate=KeyGate(client, sealer.marks, lane),
        engine_slots=threading.BoundedSemaphore(max(1, settings.control_concurrency // 2)),
    )
    return _Current.runtime


def pid_namespace() -> str:
    """Return what processes with the same process ids share; empty where it cannot be read."""
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return ""


def boot_lock(boot_id: str) -> str:
    """The lock a process holds as long as it lives: free = dead, known at once on its host."""
    return f"boot:{boot_id}"


class LeaseKeeper(threading.Thread):
    """Renews this process's lease until it is stopped, and says so when Redis is away."""

    def __init__(self, runtime: Runtime, node: str, watch: Watch) -> None:
        super().__init__(name="lease", daemon=True)
        self._runtime = runtime
        self._watch = watch
        self._leases = Leases(runtime.redis)
        self._over = threading.Event()
        self._renewed = threading.Event()
        #: Set while the lane takes events from its queue.
        self.consumes = threading.Event()
        self.lease = Lease(
            boot_id=runtime.boot_id,
            host_uuid=runtime.identity.host_uuid,
            lane=runtime.lane,
            node=node,
            hostname=runtime.identity.hostname,
            lock_domain=runtime.locks.domain(),
            version=VERSION,
            started_ms=time.time_ns() // 1_000_000,
            process=f"{pid_namespace()}:{os.getppid()}",
        )

    def run(self) -> None:
        """Renew, hold the boot lock, and begin by giving back what dead neighbours had.

        A process without a lease looks dead, and all it takes is done once more beside it: so it
        ends with this thread, and is started again.
        """
        try:
            self._renew_until_over()
        except Exception:  # noqa: BLE001 -- the outermost loop of this thread
            _log.exception("lease.crashed", advice="the lane is started again")
            log.flush()
            os._exit(STUCK_EXIT_CODE)

    def _renew_until_over(self) -> None:
        runtime = self._runtime
        with runtime.locks.hold(boot_lock(runtime.boot_id)):
            away = swept = False
            while not self._over.is_set():
                try:
                    self._leases.renew(self._lease_now())
                    self._renewed.set()
                    # An idle process, too, must know the clock of before a jump.
                    runtime.ledger.clock.measure()
                    if not swept:
                        recover(runtime)
                        swept = True
                    if not self.consumes.is_set() or not runtime.key_gate.check():
                        self._watch.start_anew()
                    elif self._watch.is_stuck():
                        # The supervisor starts the lane again; what is taken here is given back.
                        _log.error("lane.stuck", advice="the lane is started again")
                        log.flush()
                        os._exit(STUCK_EXIT_CODE)
                    if away:
                        _log.info("redis.back")
                    away = False
                except redis.RedisError as problem:
                    if not away:
                        _log.warning("redis.away", reason=str(problem))
                    away = True
                    self._watch.start_anew()
                self._over.wait(RENEW_EVERY_S)

    def _lease_now(self) -> Lease:
        if self._runtime.lane is not Lane.IMAGES:
            return self.lease
        try:
            orphans = OrphanVolumes(self._runtime.settings.state_dir).count()
        except OSError:
            return self.lease  # a state folder that cannot be read is no reason to look dead
        return replace(self.lease, orphan_volumes=orphans)

    def begin(self) -> None:
        """Start; returns with the lease in Redis, or after a while when Redis is away.

        What a process without a lease takes looks like a dead one's.
        """
        self.start()
        self._renewed.wait(FIRST_LEASE_S)

    def stop(self) -> None:
        """Give the lease up; what this process still has goes back to the queue."""
        self._over.set()
        self.join(timeout=10)
        try:
            self._leases.give_up(self.lease.host_uuid, self.lease.boot_id)
        except redis.RedisError as problem:
            _log.warning("lease.not_given_up", reason=str(problem))


def recover(runtime: Runtime) -> None:
    """Give back the events of processes of this host that are dead, without waiting for leases.

    A lease says within seconds that a process is dead; on its own host its boot lock says so now.
    """
    leases = Leases(runtime.redis)
    dead: list[str] = []
    domain = runtime.locks.domain()
    for boot_id, lease in leases.of_host(runtime.identity.host_uuid).items():
        if boot_id == runtime.boot_id or lease.lock_domain != domain:
            continue
        with runtime.locks.try_hold(boot_lock(boot_id)) as free:
            if free:
                dead.append(boot_id)
    leases.give_up(runtime.identity.host_uuid, *dead)
    counts = Sweeper(runtime.redis, runtime.ledger).sweep(runtime.identity.host_uuid, dead)
    if dead or counts:
        _log.info("host.recovered", dead=dead, **{str(step): n for step, n in counts.items()})
