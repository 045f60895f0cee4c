"""How many calls may change the Engine's containers at once on this host, over all its workers.

Engines on devicemapper hang under parallel creates and removals (C 26); others can be spared. A
slot is a kernel lock, so that one whose holder was killed is free at once.
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
        # Waiting for a turn is part of the call's own patience.
        self._wait_s = settings.engine_timeout_s
        self._storage_driver = storage_driver
        self._asking = threading.Lock()
        self._limit = settings.engine_concurrency or None

    def take(self, wanted: str) -> AbstractContextManager[object]:
        """Hold a slot for one call; nothing is held, and nothing costs, where there is no limit.

        Errors: LockHeldError when no slot becomes free; EngineUnavailableError when the Engine
        cannot be asked for its storage driver.
        """
        limit = self._limit if self._limit is not None else self._ask()
        if not limit:
            return nullcontext()
        reason = f"cannot {wanted}: all {limit} slots for work on containers stay taken"
        names = [f"engine-slot:{number}" for number in range(limit)]
        return self._locks.hold_one_of(names, reason, wait_s=self._wait_s)

    def _ask(self) -> int:
        """The limit that the storage driver needs; asked once, since dockerd's data hang on it."""
        with self._asking:
            if self._limit is None:
                serial = self._storage_driver() == _SERIAL_DRIVER
                self._limit = int(serial)
                if serial:
                    _log.info("engine.serialized", storage_driver=_SERIAL_DRIVER)
            return self._limit
