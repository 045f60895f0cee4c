"""The lease of a worker, renewed by its supervisor, and what its lanes say of themselves.

Each lane writes a line into a pipe twice a second. A lane that is silent for long (a frozen
process) is left out of the lease, so that its events are sent again; it is in it again when it
speaks again.
The supervisor uses no threads, because it forks.
"""

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, replace

import redis

from cowpoke.broker import connect
from cowpoke.lease import LaneProcess, Lease
from cowpoke.liveness import LEASE_TTL_MS, RENEW_EVERY_S, Leases
from cowpoke.log import logger
from cowpoke.routes import LANES, Lane
from cowpoke.version import VERSION
from worker.host.identity import Identity
from worker.host.locks import Locks
from worker.host.name_store import orphan_volumes
from worker.process.runtime import process_space
from worker.settings import WorkerSettings

_log = logger(__name__)

#: As long as a lease: a frozen lane is noticed as soon as a frozen worker.
SILENT_AFTER_S = LEASE_TTL_MS / 1000
#: The supervisor waits for nothing longer: it has children to look after.
SOCKET_TIMEOUT_S = 1.0
_READ_BYTES = 64 * 1024
#: A longer time between two ticks is a pause of this process, in which it heard nobody.
PAUSE_S = 1.0


@dataclass(slots=True)
class _Speaker:
    """A lane's process as the supervisor hears it."""

    process: LaneProcess
    pipe: int
    heard_s: float
    pending: bytes = b""
    is_silent: bool = False


class LeaseKeeper:
    """Renews the lease of one worker; called again and again by its supervisor."""

    def __init__(self, settings: WorkerSettings, identity: Identity, worker_id: str) -> None:
        self._orphans = orphan_volumes(settings.state_dir)
        self._sealer = settings.keyring().host(identity.host_uuid)
        self._leases = Leases(connect(settings, socket_timeout_s=SOCKET_TIMEOUT_S, retries=0))
        self._speakers: dict[Lane, _Speaker] = {}
        #: As it is in Redis; None when that is not known.
        self._written: Lease | None = None
        self._due_s = 0.0
        self._ticked_s = time.monotonic()
        #: Whether the last renewal failed.
        self.is_away = False
        self._lease = Lease(
            worker_id=worker_id,
            host_uuid=identity.host_uuid,
            lanes=(),
            events=tuple(LANES),
            fingerprints=self._sealer.fingerprints,
            hostname=identity.hostname,
            lock_domain=Locks(settings.lock_dir, wait_s=settings.lock_wait_s).domain(),
            version=VERSION,
            started_ms=time.time_ns() // 1_000_000,
            process=f"{process_space()}:{os.getpid()}",
        )

    def began(self, lane: Lane, boot_id: str, pipe: int) -> None:
        """A process of a lane was started; it speaks through the pipe."""
        os.set_blocking(pipe, False)
        process = LaneProcess(lane=lane, boot_id=boot_id, consumes=False)
        self._speakers[lane] = _Speaker(process, pipe, heard_s=time.monotonic())

    def ended(self, lane: Lane) -> None:
        """The process of a lane is gone: its events are sent again at once."""
        speaker = self._speakers.pop(lane, None)
        if speaker is not None:
            os.close(speaker.pipe)

    def tick(self) -> None:
        """Hear the lanes, and renew the lease when it is due or changed."""
        now_s = time.monotonic()
        paused_s, self._ticked_s = now_s - self._ticked_s, now_s
        for speaker in self._speakers.values():
            if paused_s > PAUSE_S:
                # A machine that was frozen may let the supervisor go on before the lanes.
                speaker.heard_s += paused_s
            self._hear(speaker, now_s)
        lanes = tuple(one.process for one in self._speakers.values() if not one.is_silent)
        is_due = now_s >= self._due_s
        if not is_due and (self.is_away or self._lease.lanes == lanes):
            return
        self._due_s = now_s + RENEW_EVERY_S
        self._lease = replace(self._lease, lanes=lanes, orphan_volumes=self._orphan_volumes())
        try:
            self._renew()
        except redis.RedisError as problem:
            if not self.is_away:
                _log.warning("redis.unavailable", reason=str(problem))
            self.is_away, self._written = True, None
        else:
            if self.is_away:
                _log.info("redis.available")
            self.is_away = False

    def give_up(self) -> None:
        """Say that the worker is gone; what its lanes still have goes back to the queue."""
        if self.is_away:
            return
        try:
            self._leases.give_up(self._lease.host_uuid, self._lease.worker_id)
        except redis.RedisError as problem:
            _log.warning("lease.release_failed", reason=str(problem))

    def _renew(self) -> None:
        lease = self._lease
        if lease == self._written and self._leases.prolong(lease.host_uuid, lease.worker_id):
            return
        self._leases.renew(lease, self._sealer)
        self._written = lease

    def _hear(self, speaker: _Speaker, now_s: float) -> None:
        heard = b""
        with suppress(BlockingIOError):
            heard = os.read(speaker.pipe, _READ_BYTES)
        if heard:
            speaker.heard_s = now_s
            *lines, speaker.pending = (speaker.pending + heard).split(b"\n")
            if lines:
                said = json.loads(lines[-1])
                speaker.process = replace(
                    speaker.process, node=said["node"], consumes=said["consumes"]
                )
        is_silent = now_s - speaker.heard_s > SILENT_AFTER_S
        if is_silent != speaker.is_silent:
            level = _log.warning if is_silent else _log.info
            level("lane.silent" if is_silent else "lane.responding", lane=speaker.process.lane)
            speaker.is_silent = is_silent

    def _orphan_volumes(self) -> int:
        try:
            return self._orphans.count()
        except OSError:
            return 0  # a state folder that cannot be read is no reason to look dead
