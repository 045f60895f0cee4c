"""File handles as a resource that may run out for a moment (`ulimit -n`).

A process without a free handle cannot open a lock, a file or a socket until other work of it ends.
"""

import errno
import resource

from worker.errors import HandleShortageError

_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE})
#: What a lane has open without any event: the broker's connections, logs, modules that load late.
_LANE_HANDLES = 32
#: What one event has open at most: two locks, a call to the Engine, two connections to Redis.
_EVENT_HANDLES = 5


def is_shortage(error: BaseException | None) -> bool:
    """Return whether an error, or one that caused it, says that no file handle was free."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, HandleShortageError):
            return True
        if isinstance(error, OSError) and error.errno in _SHORTAGES:
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def most_slots(wanted: int) -> int:
    """Return how many events may run at once within this process's limit of open files."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, (limit - _LANE_HANDLES) // _EVENT_HANDLES))
