"""What a stopping process cannot finish in its time is queued again, and the process ends.

A worker that is stopped three times during one long pull has not crashed: what is requeued here
does not count as a death, as it would if the supervisor had to kill the process.
"""

import os
import threading
import time

import redis

from cowpoke import log
from cowpoke.ledger.recovery import RecoveryLedger
from cowpoke.ledger.states import State
from worker.process.runtime import Runtime

_log = log.logger(__name__)


class Drain(threading.Thread):
    """Waits for the drain time and requeues what is left then; ends with the process before."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(name="drain", daemon=True)
        self._runtime = runtime

    def run(self) -> None:
        """Requeue and end, unless the process is gone by then."""
        runtime = self._runtime
        time.sleep(runtime.settings.drain_timeout_s)
        host_uuid, boot_id = runtime.identity.host_uuid, runtime.boot_id
        entries = RecoveryLedger(runtime.redis, runtime.keyring).open_entries
        try:
            requeued = [
                entry.event_id
                for entry in entries(host_uuid)
                if (entry.state, entry.boot) == (State.CLAIMED, boot_id)
                and runtime.ledger.requeue(entry.event_id)
            ]
        except redis.RedisError as problem:
            # The supervisor ends this process, and its events are sent again.
            _log.warning("lane.requeue_failed", reason=str(problem))
            return
        _log.info("lane.requeued", lane=runtime.lane, events=requeued)
        log.flush()
        os._exit(0)
