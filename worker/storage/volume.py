"""What an operation does with one volume of a Rancher driver, without Docker.

Calls to one volume never run in parallel on a host: each step holds the lock of the volume. A call
may take longer than an event has time, such as the creation of a disk in a cloud. So it runs in a
thread of its own, which keeps the lock until the driver has answered or `WORKER_STORAGE_TIMEOUT_S`
is over. The event ends in time. Its retries and later events wait for the lock, instead of asking
for the same a second time, and then find the volume: drivers create and mount what exists at once.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import wait
from contextlib import ExitStack
from dataclasses import KW_ONLY, dataclass, field
from functools import cache
from typing import TypeVar

from cowpoke.log import logger
from worker import deadline
from worker.errors import LockHeldError, StorageDriverError, StorageDriverSlowError, WorkerError
from worker.host.locks import Locks
from worker.settings import WorkerSettings
from worker.storage.protocol import FLEX, Action, Answer, DriverCall, ask
from worker.threads import start_call

T = TypeVar("T")

#: The share of a lane's slots that may wait for one driver: one that hangs must not stop the lane.
_SLOT_SHARE = 4
#: What drivers say when a volume to remove does not exist.
_MISSING = "no such volume"

_log = logger(__name__)


@dataclass(frozen=True, slots=True)
class DriverVolume:
    """A volume, its driver, and the way to the driver."""

    name: str
    driver: str
    _: KW_ONLY
    options: Mapping[str, str] = field(repr=False)
    settings: WorkerSettings = field(repr=False)
    locks: Locks = field(repr=False)

    def is_flex(self) -> bool:
        """Return whether the driver mounts this volume itself, without Docker.

        Errors of all methods: StorageDriverError; StorageDriverAbsentError and
        StorageDriverSlowError, which are temporary.
        """
        return self._alone(self._asks_flex)

    def mount(self) -> str | None:
        """Create, attach and mount the volume; return the mount point, or None if it is not flex.

        The mount point is an absolute path of the host.
        """
        found = self._alone(self._mount)
        if found is not None:
            _log.info("volume.mounted", volume=self.name, driver=self.driver, mount_point=found)
        return found

    def create(self) -> bool:
        """Create the volume if it is flex; return whether it is.

        Only its name is sent: the driver has the options in Rancher.
        """
        is_flex = self._alone(self._create)
        if is_flex:
            _log.info("volume.created", volume=self.name, driver=self.driver)
        return is_flex

    def attach(self) -> None:
        """Attach a volume that Docker has, such as a disk to this machine."""
        self._alone(lambda: self._ask(Action.ATTACH))

    def remove(self) -> None:
        """Remove the volume; a missing one is no error."""
        self._alone(self._remove)

    def _asks_flex(self) -> bool:
        return self._ask(Action.CAPABILITIES).scope == FLEX

    def _mount(self) -> str | None:
        if not self._asks_flex():
            return None
        self._ask(Action.CREATE)
        self._ask(Action.ATTACH)
        found = self._ask(Action.MOUNT).mount_point
        # An empty source would make a bind of something else.
        if not found.startswith("/") or ":" in found:
            raise StorageDriverError(
                f"cannot mount volume {self.name}: storage driver {self.driver} must answer with "
                f"the absolute path of the mount point, found {found!r}"
            )
        return found

    def _create(self) -> bool:
        if not self._asks_flex():
            return False
        self._ask(Action.CREATE, {})
        return True

    def _remove(self) -> None:
        try:
            self._ask(Action.REMOVE, {})
        except StorageDriverError as error:
            if _MISSING not in error.message.lower():
                raise

    def _ask(self, action: Action, options: Mapping[str, str] | None = None) -> Answer:
        options = self.options if options is None else options
        call = DriverCall(self.driver, action, self.name, options=options)
        ends_s = time.monotonic() + self.settings.storage_timeout_s
        return ask(call, self.settings.storage_dir, ends_s=ends_s)

    def _alone(self, work: Callable[[], T]) -> T:
        """Do calls to the driver while no other event works on the volume; wait within the time.

        Errors: StorageDriverSlowError when the time of the event ends before the work does.
        """
        patience_s = min(self.settings.lock_wait_s, deadline.left_s())
        waiting = _waiting(self.driver, max(1, self.settings.concurrency // _SLOT_SHARE))
        if not waiting.acquire(timeout=max(0.0, patience_s)):
            raise StorageDriverSlowError(
                f"volume {self.name} has to wait: storage driver {self.driver} works on several "
                "volumes and has not answered"
            )
        try:
            return self._in_thread(work)
        finally:
            waiting.release()

    def _in_thread(self, work: Callable[[], T]) -> T:
        held = ExitStack()
        try:
            held.enter_context(self.locks.hold(f"volume:{self.name}"))
        except LockHeldError as error:
            raise StorageDriverSlowError(
                f"storage driver {self.driver} still works on volume {self.name} for an earlier "
                "event"
            ) from error
        left = threading.Event()
        began_s = time.monotonic()

        def run() -> T:
            deadline.unbind()
            outcome = "internal-error"
            try:
                with held:
                    result = work()
                outcome = "success"
            except WorkerError as error:
                outcome = error.code
                raise
            finally:
                if left.is_set():
                    took_s = round(time.monotonic() - began_s, 1)
                    _log.warning(
                        "volume.driver_was_slow",
                        volume=self.name,
                        driver=self.driver,
                        outcome=outcome,
                        took_s=took_s,
                    )
            return result

        try:
            done = start_call(run, "storage-driver")
        except BaseException:
            held.close()
            raise
        left_s = min(deadline.left_s(), threading.TIMEOUT_MAX)
        if not wait((done,), timeout=max(0.0, left_s)).done:
            left.set()
            raise StorageDriverSlowError(
                f"storage driver {self.driver} has not finished with volume {self.name} after "
                f"{time.monotonic() - began_s:.0f} s; the work goes on, and a later event finds "
                "its result"
            )
        return done.result()


@cache
def _waiting(driver: str, most: int) -> threading.BoundedSemaphore:  # noqa: ARG001 - one per driver
    """The events of this process that may wait for a driver at once."""
    return threading.BoundedSemaphore(most)
