"""Hand the keys of a joined host over again when Redis lost them, or when a worker starts.

The supervisor only looks. A child process (`cowpoke join --hand-over`) opens the keys, so that they
are in the memory of no program that runs on.
"""

import os
import sys
import time

import redis

from cowpoke import keys
from cowpoke.broker import connect
from cowpoke.log import logger
from worker.host.identity import Identity
from worker.settings import WorkerSettings

_log = logger(__name__)

LOOK_EVERY_S = 15.0
#: Keys that cannot be opened are not tried again and again.
_RETRY_MOST_S = 900.0
#: The supervisor has children to look after.
_SOCKET_TIMEOUT_S = 1.0
#: In the state folder; written by `cowpoke join`.
JOINED_FILE = ".joined"


class HandOverWatch:
    """Looks whether the bridges have the keys of this host; called again and again."""

    def __init__(self, settings: WorkerSettings, identity: Identity) -> None:
        self._path = settings.state_dir / JOINED_FILE
        self._host_uuid = identity.host_uuid
        self._redis = connect(settings, socket_timeout_s=_SOCKET_TIMEOUT_S, retries=0)
        self._due_s = 0.0
        #: When a worker that starts hands over in any case; not while its lanes begin.
        self._first_s = time.monotonic() + LOOK_EVERY_S
        self._is_first = True
        self._retry_s = LOOK_EVERY_S

    def tick(self) -> None:
        """Look if it is time, and start the child if it is needed; it is not waited for."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        self._due_s = now_s + LOOK_EVERY_S
        if not self._path.exists():
            return
        try:
            is_needed = not self._redis.exists(keys.joined(self._host_uuid))
        except redis.RedisError:
            return
        # The note may be sealed with an older key than this worker has.
        is_needed |= self._is_first and now_s >= self._first_s
        if not is_needed:
            self._retry_s = LOOK_EVERY_S
            return
        self._is_first = False
        self._due_s = now_s + self._retry_s
        self._retry_s = min(self._retry_s * 2, _RETRY_MOST_S)
        _log.info("agent.handed_over", host=self._host_uuid)
        command = [sys.executable, "-m", "cowpoke", "join", "--hand-over"]
        try:
            os.posix_spawn(command[0], command, os.environ)  # noqa: TID251 -- the child's settings
        except OSError as problem:
            _log.error("agent.not_handed_over", reason=str(problem))
