"""Keep a lane from taking events while its queue keys differ from the bridges' keys.

The lane stays alive, keeps its lease and waits. Events wait in the queue. A lane that already takes
events stops as if it got SIGTERM; the supervisor starts it again, and it waits at this gate.
"""

import os
import signal
import threading
import time

import redis

from cowpoke.key_marks import mismatch
from cowpoke.log import logger
from cowpoke.seal import NO_KEY

_log = logger(__name__)

LOOK_EVERY_S = 1.0
_ADVICE = (
    "give bridges and workers the same QUEUE_KEY; to change it, put the new key before the old "
    "one, at the bridges first"
)


class KeyGate:
    """The comparison of this process's keys with the bridges' keys. Thread-safe."""

    def __init__(self, client: redis.Redis, marks: tuple[str, ...], lane: str) -> None:
        self._redis = client
        self._marks = marks
        self._lane = lane
        self._lock = threading.Lock()
        self._stopping = False

    def wait(self) -> None:
        """Return when this process may take events; also when Redis cannot be asked.

        Without Redis nothing can be taken; `check` looks again when it is back.
        """
        waited = False
        while True:
            try:
                reason = mismatch(self._redis, self._marks)
            except redis.RedisError:
                return
            if reason is None:
                if waited:
                    _log.info("queue_key.matches", lane=self._lane)
                return
            if not waited:
                self._complain(reason)
            waited = True
            time.sleep(LOOK_EVERY_S)

    def check(self) -> bool:
        """Return whether this process may go on taking events; stop the lane when it may not.

        Errors: redis.RedisError.
        """
        reason = mismatch(self._redis, self._marks)
        if reason is None:
            return True
        with self._lock:
            if not self._stopping:
                self._stopping = True
                self._complain(reason)
                os.kill(os.getpid(), signal.SIGTERM)
        return False

    def _complain(self, reason: str) -> None:
        own = "no QUEUE_KEY is set here; " if self._marks == (NO_KEY,) else ""
        _log.error("queue_key.mismatch", lane=self._lane, reason=reason, advice=f"{own}{_ADVICE}")
