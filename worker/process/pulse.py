"""What a lane's process does beside its tasks: speak to its supervisor, and look after itself."""

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import redis

from cowpoke import log
from cowpoke.liveness import Leases
from worker.process.consumer import Watch
from worker.process.runtime import Runtime

_log = log.logger(__name__)

PULSE_EVERY_S = 0.5
#: Redis is asked seldom at rest: ten thousand idle hosts must not be a load for it.
LOOK_EVERY_S = 30.0
#: While messages wait in the queue: whether they move.
LOOK_WAITING_S = 10.0
#: The clock of before a jump must be known; a jump is rare, and this is far below its remembrance.
MEASURE_EVERY_S = 60.0
#: After an outage, until Redis answers again.
LOOK_AGAIN_S = 1.5
STUCK_EXIT_CODE = 70
#: A lane without Redis starts all the same: it has nothing to take.
FIRST_LEASE_S = 10.0
_FIRST_LEASE_POLL_S = 0.05


class Pulse:
    """Two threads of a lane: one tells the supervisor that the lane lives, one looks after it.

    A lane that cannot speak any more looks dead, and all it takes is done once more beside it: so
    the process ends with either thread, and is started again.
    """

    def __init__(self, runtime: Runtime, node: str, watch: Watch, pipe: int) -> None:
        self._runtime = runtime
        self._node = node
        self._watch = watch
        self._pipe = pipe
        self._over = threading.Event()
        #: Set while the lane takes events from its queue.
        self.consumes = threading.Event()

    def begin(self) -> None:
        """Start; returns when the lease names this process, or after a while without Redis.

        What a process takes that no lease names looks like a dead one's.
        """
        os.set_blocking(self._pipe, False)
        for name, target in (("pulse", self._speak), ("lane-watch", self._look)):
            threading.Thread(target=self._guarded, args=(target,), name=name, daemon=True).start()
        runtime, leases = self._runtime, Leases(self._runtime.redis)
        ends_s = time.monotonic() + FIRST_LEASE_S
        while time.monotonic() < ends_s:
            with suppress(redis.RedisError):
                host_uuid = runtime.identity.host_uuid
                if leases.names(host_uuid, runtime.worker_id, runtime.boot_id):
                    return
            time.sleep(_FIRST_LEASE_POLL_S)

    def stop(self) -> None:
        """End both threads soon."""
        self._over.set()

    def _guarded(self, target: Callable[[], None]) -> None:
        try:
            target()
        except Exception:  # noqa: BLE001 -- the outermost loop of this thread
            _log.exception("lane.pulse_crashed", advice="the lane is started again")
            log.flush()
            os._exit(STUCK_EXIT_CODE)

    def _speak(self) -> None:
        while not self._over.is_set():
            said = {"node": self._node, "consumes": self.consumes.is_set()}
            # A supervisor that does not read is frozen; it finds the last lines when it goes on.
            with suppress(BlockingIOError):
                os.write(self._pipe, json.dumps(said).encode() + b"\n")
            # That it takes events is reported at once.
            (self._over if self.consumes.is_set() else self.consumes).wait(PULSE_EVERY_S)

    def _look(self) -> None:
        runtime = self._runtime
        while not self._over.is_set():
            wait_s = LOOK_EVERY_S
            try:
                # An idle process, too, must know the clock of before a jump.
                runtime.ledger.clock.measure_if_older(MEASURE_EVERY_S)
                if not self.consumes.is_set() or not runtime.key_gate.check():
                    self._watch.start_anew()
                elif self._watch.is_stuck():
                    # The supervisor starts the lane again; what is claimed here is sent again.
                    _log.error("lane.stuck", advice="the lane is started again")
                    log.flush()
                    os._exit(STUCK_EXIT_CODE)
                elif self._watch.is_waiting:
                    wait_s = LOOK_WAITING_S
            except redis.RedisError:
                # The supervisor logs it, once for all lanes.
                self._watch.start_anew()
                wait_s = LOOK_AGAIN_S
            self._over.wait(wait_s)
