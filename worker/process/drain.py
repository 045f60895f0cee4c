"""What a stopping process cannot finish in its time goes back to the queue, and the process ends.

A worker that is told to stop three times during one long pull has not died of it: what is given
back here does not count as a death, as it would if the supervisor had to kill the process.
"""

import os
import threading
import time

import redis

from cowpoke import log
from cowpoke.ledger.ledger import State
from cowpoke.liveness import Leases
from worker.process.runtime import Runtime

_log = log.logger(__name__)


class Drain(threading.Thread):
    """Waits for the drain time and gives back what is left then; ends with the process before."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(name="drain", daemon=True)
        self._runtime = runtime

    def run(self) -> None:
        """Give back and end, unless the process is gone by then."""
        runtime = self._runtime
        time.sleep(runtime.settings.drain_timeout_s)
        host_uuid, boot_id = runtime.identity.host_uuid, runtime.boot_id
        try:
            given = [
                entry.event_id
                for entry in runtime.ledger.open_entries(host_uuid)
                if (entry.state, entry.boot) == (State.TAKEN, boot_id)
                and runtime.ledger.give_back(entry.event_id, boot_id)
            ]
            Leases(runtime.redis).give_up(host_uuid, boot_id)
        except redis.RedisError as problem:
            # The supervisor ends this process, and its events go back by its boot lock.
            _log.warning("lane.gave_nothing_back", reason=str(problem))
            return
        _log.info("lane.gave_back", lane=runtime.lane, events=given)
        log.flush()
        os._exit(0)
