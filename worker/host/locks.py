"""Locks per resource of this host, which the kernel releases when their holder dies.

Only workers of one host compete for a container, a volume or an image. So each lock is a byte of
one shared file, at an offset hashed from the name of the resource, locked through an open file
description (Linux `F_OFD_SETLK`). Such locks work between threads, processes and containers that
share the lock folder. They need no disk space once the file exists, and nothing has to be unlinked:
python-agent unlinked its lock files and could give one lock to two holders.
"""

import fcntl
import hashlib
import os
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from worker import deadline
from worker.errors import LockHeldError

#: Not `locks`, which is a folder of python-agent.
LOCK_FILE = "cowpoke.lock"
_KERNEL_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_POLL_FIRST_S = 0.005
_POLL_MOST_S = 0.1
# struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid (0 for OFD locks).
_FLOCK = struct.Struct("hhqqi4x")


class Locks:
    """The locks of one host, in a folder that all its workers share."""

    def __init__(self, lock_dir: Path, *, wait_s: float) -> None:
        self._path = lock_dir / LOCK_FILE
        self._wait_s = wait_s

    def domain(self) -> str:
        """Return an id of the lock file on this kernel: equal ids mean shared locks."""
        status = os.fstat(descriptor := self._open())
        os.close(descriptor)
        kernel = _KERNEL_BOOT_ID.read_text(encoding="ascii").strip()
        return f"{kernel}:{status.st_dev}:{status.st_ino}"

    def hold(self, resource: str, *, wait_s: float | None = None) -> AbstractContextManager[bool]:
        """Hold the lock of a resource; yields whether it was locked before.

        Errors: LockHeldError when the lock is not free within `wait_s`.
        """
        reason = f"{resource} is being worked on by another event"
        return self.hold_one_of((resource,), reason, wait_s=wait_s)

    @contextmanager
    def hold_one_of(
        self, resources: Sequence[str], reason: str, *, wait_s: float | None = None
    ) -> Iterator[bool]:
        """Hold the first of these locks that is free; yields whether all were locked before.

        Errors: LockHeldError with the reason when none is free within `wait_s`, or within the time
        left for the event.
        """
        wait_s = min(self._wait_s if wait_s is None else wait_s, deadline.left_s())
        deadline_s = time.monotonic() + wait_s
        poll_s = _POLL_FIRST_S
        waited = False
        descriptor = self._open()
        try:
            while not any(_try_lock(descriptor, one) for one in resources):
                waited = True
                if time.monotonic() >= deadline_s:
                    raise LockHeldError(reason)
                time.sleep(poll_s)
                poll_s = min(poll_s * 2, _POLL_MOST_S)
            deadline.check_claim(waited=waited)
            yield waited
        finally:
            os.close(descriptor)

    @contextmanager
    def try_hold(self, resource: str) -> Iterator[bool]:
        """Hold the lock of a resource if it is free; yields whether it is held."""
        descriptor = self._open()
        try:
            yield _try_lock(descriptor, resource)
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        # One description per attempt: an OFD lock belongs to a description, not to a process.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, flags, 0o600)


def _try_lock(descriptor: int, resource: str) -> bool:
    digest = hashlib.blake2b(resource.encode(), digest_size=8).digest()
    offset = int.from_bytes(digest) >> 2  # below the largest file offset
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
    except BlockingIOError:
        return False
    return True
