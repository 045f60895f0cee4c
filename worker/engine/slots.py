"""Limit the calls that change containers at once on this host, across all its workers.

Engines on devicemapper hang under parallel creates and removals (C 26); others can be relieved. A
slot is a kernel lock, which is released when its holder is killed.

Row numbers (C) refer to docs/parity.md.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from cowpoke.log import logger
from worker.host.locks import Locks
from worker.settings import WorkerSettings

_SERIAL_DRIVER = "devicemapper"
_log = logger(__name__)


class Slots:
    """The slots of one host for creates, starts, stops and removals."""

    def __init__(self, settings: WorkerSettings, storage_driver: Callable[[], str]) -> None:
        self._locks = Locks(settings.lock_dir, wait_s=settings.lock_wait_s)
        # A call waits for a slot as long as for the Engine.
        self._wait_s = settings.engine_timeout_s
        self._storage_driver = storage_driver
        self._asking = threading.Lock()
        self._limit = settings.engine_concurrency or None

    def take(self, wanted: str) -> AbstractContextManager[object]:
        """Hold a slot for one call; a no-op without a limit.

        Errors: LockHeldError when no slot becomes free; EngineUnavailableError when the Engine
        cannot be asked for its storage driver.
        """
        limit = self._limit if self._limit is not None else self._ask()
        if not limit:
            return nullcontext()
        reason = f"cannot {wanted}: all {limit} slots for container changes are in use"
        names = [f"engine-slot:{number}" for number in range(limit)]
        return self._locks.hold_one_of(names, reason, wait_s=self._wait_s)

    def _ask(self) -> int:
        """Return the limit that the storage driver needs; requested once, as it never changes."""
        with self._asking:
            if self._limit is None:
                serial = self._storage_driver() == _SERIAL_DRIVER
                self._limit = int(serial)
                if serial:
                    _log.info("engine.serialized", storage_driver=_SERIAL_DRIVER)
            return self._limit
