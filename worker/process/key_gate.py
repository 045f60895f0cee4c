"""Keep a lane from taking events while its keys differ from the bridges' keys.

The worker stays alive, keeps its lease and waits. Events wait in the queue. A lane that already
takes events stops as if it got SIGTERM; the supervisor starts it again, and it waits at this gate.
"""

import os
import signal
import threading
import time

import redis

from cowpoke.host_keys import KeyCheck, check_keys
from cowpoke.ledger.execution import WorkerLedger
from cowpoke.log import logger
from cowpoke.seal import NO_KEY

_log = logger(__name__)

#: While the keys differ.
LOOK_EVERY_S = 1.0
#: While they match: a bridge with other keys may have come.
CHECK_EVERY_S = 25.0
_ADVICE = (
    "give the worker the QUEUE_KEY of the bridges, or the HOST_KEY made from it: cowpoke key host; "
    "see docs/security.md for the rotation of keys"
)


class KeyGate:
    """The comparison of this process's keys with the bridges' keys. Thread-safe."""

    def __init__(
        self, client: redis.Redis, ledger: WorkerLedger, host_uuid: str, lane: str
    ) -> None:
        self._redis = client
        self._ledger = ledger
        self._host_uuid = host_uuid
        self._lane = lane
        self._sealer = ledger.sealer
        self._lock = threading.Lock()
        self._stopping = False
        self._checked_s = float("-inf")
        self._ignored: tuple[str, ...] = ()

    def wait(self) -> None:
        """Return when this process may take events; also when Redis cannot be asked.

        Without Redis nothing can be taken; `check` looks again when it is back.
        """
        waited = False
        while True:
            try:
                found = self._look()
            except redis.RedisError:
                return
            if found.mismatch is None:
                if waited:
                    _log.info("queue_key.matches", lane=self._lane)
                return
            if not waited:
                self._complain(found.mismatch)
            waited = True
            time.sleep(LOOK_EVERY_S)

    def doubt(self) -> None:
        """Look again at the next `check`: something could not be opened."""
        self._checked_s = float("-inf")

    def check(self) -> bool:
        """Return whether this process may go on taking events; stop the lane when it may not.

        Errors: redis.RedisError.
        """
        if time.monotonic() - self._checked_s < CHECK_EVERY_S:
            return True
        found = self._look()
        if found.mismatch is None:
            return True
        with self._lock:
            if not self._stopping:
                self._stopping = True
                self._complain(found.mismatch)
                os.kill(os.getpid(), signal.SIGTERM)
        return False

    def _look(self) -> KeyCheck:
        found = check_keys(self._redis, self._host_uuid, self._sealer)
        self._checked_s = time.monotonic()
        if found.mismatch is None:
            self._ledger.sealer = self._sealer.sealing_with(found.opened_by_bridges)
            if found.unreadable and found.unreadable != self._ignored:
                _log.warning(
                    "queue_key.note_ignored",
                    bridges=found.unreadable,
                    advice="these bridges have other keys, or somebody else wrote their notes",
                )
            self._ignored = found.unreadable
        return found

    def _complain(self, reason: str) -> None:
        no_key = self._sealer.fingerprints == (NO_KEY,)
        own = "no key is set here; " if no_key else ""
        _log.error(
            "queue_key.mismatch",
            lane=self._lane,
            reason=reason,
            fingerprints=self._sealer.fingerprints,
            advice=f"{own}{_ADVICE}",
        )
