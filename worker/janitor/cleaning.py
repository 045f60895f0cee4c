"""When the janitor looks for orphans, which are old enough, and their removal."""

import random
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cowpoke.log import logger
from worker.engine import containers
from worker.engine.client import Engine
from worker.errors import WorkerError
from worker.host.locks import Locks
from worker.host.state_files import StateFiles
from worker.janitor.orphans import (
    HostAccess,
    Orphan,
    stale_state_files,
    stale_tags,
    unremoved_volumes,
    unstarted_containers,
)
from worker.settings import WorkerSettings

_log = logger(__name__)

#: Longer than an operation can hang between create and start.
CONTAINER_GRACE_S = 3600.0
#: Longer than an operator's pull onto all hosts can take.
TAG_GRACE_S = 24 * 3600.0
#: A container that still uses the volume is not gone sooner.
VOLUME_GRACE_S = 600.0
#: Longer than an activate takes between writing the file and its end.
FILE_GRACE_S = 600.0
LOCK = "janitor"
DOCKER_AREAS = ("unstarted containers", "temporary tags", "orphaned volumes", "state files")


@dataclass(frozen=True, kw_only=True, slots=True)
class Grace:
    """The minimum age of an orphan of each kind."""

    container_s: float = CONTAINER_GRACE_S
    tag_s: float = TAG_GRACE_S
    volume_s: float = VOLUME_GRACE_S
    file_s: float = FILE_GRACE_S


class StandaloneAccess:
    """What the janitor works with outside of a worker; making it changes nothing."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self.engine = Engine(settings)
        self.locks = Locks(settings.lock_dir, wait_s=settings.lock_wait_s)


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """The orphans of a host, and the areas that could not be checked, each with the reason."""

    orphans: list[Orphan] = field(default_factory=list)
    #: Those of the orphans that are gone now.
    removed: list[Orphan] = field(default_factory=list)
    not_checked: dict[str, str] = field(default_factory=dict)


def clean(access: HostAccess, grace: Grace, *, dry_run: bool) -> Findings:
    """Find the orphans of this host and remove them, unless this is a dry run.

    Only one janitor works on a host at a time; a second one checks nothing.
    """
    if dry_run:
        return find_orphans(access, grace, time.time())
    with access.locks.try_hold(LOCK) as free:
        if not free:
            return Findings(not_checked={"anything": "another janitor is at work on this host"})
        found = find_orphans(access, grace, time.time())
        found.removed.extend(filter(_remove, found.orphans))
        return found


def _remove(orphan: Orphan) -> bool:
    try:
        removed = orphan.remove()
    except (WorkerError, OSError) as error:
        reason = str(error)
        _log.warning("orphan.not_removed", kind=orphan.kind, orphan=orphan.name, reason=reason)
        return False
    if removed:
        _log.info("orphan.removed", kind=orphan.kind, orphan=orphan.name)
    return removed


class Janitor(threading.Thread):
    """Cleans the host from time to time; runs in the images lane of each worker."""

    def __init__(self, access: HostAccess) -> None:
        super().__init__(name="janitor", daemon=True)
        self._access = access

    def run(self) -> None:
        """Clean every `WORKER_JANITOR_EVERY_S` until the process ends."""
        every_s = self._access.settings.janitor_every_s
        while every_s > 0:
            # Jitter, so that the workers of a host do not all start at once.
            time.sleep(every_s * random.uniform(0.8, 1.2))  # noqa: S311 -- spreads load
            try:
                clean(self._access, Grace(), dry_run=False)
            except Exception:  # noqa: BLE001 -- the outermost loop of this thread; it tries again
                _log.exception("janitor.failed")


def find_orphans(access: HostAccess, grace: Grace, now_s: float) -> Findings:
    """Return the orphans that are older than their grace time."""
    found = Findings()

    def collect(orphans: Iterable[Orphan], grace_s: float) -> None:
        found.orphans.extend(one for one in orphans if now_s - one.since_s >= grace_s)

    written: list[tuple[str, float]] = []
    with _skipping_unreadable(found, "state files"):
        written = list(StateFiles(access.settings.state_dir).all())
    try:
        listed = containers.list_all(access.engine, timeout_s=access.engine.read_timeout_s)
    except WorkerError as error:
        # An Engine that does not answer may also be wrong about what is in use.
        _log.warning("janitor.engine_skipped", reason=error.message)
        found.not_checked.update(dict.fromkeys(DOCKER_AREAS, error.message))
    else:
        collect(unstarted_containers(access, listed), grace.container_s)
        with _skipping_unreadable(found, "temporary tags"):
            collect(stale_tags(access), grace.tag_s)
        with _skipping_unreadable(found, "orphaned volumes"):
            collect(unremoved_volumes(access), grace.volume_s)
        collect(stale_state_files(access, written, listed), grace.file_s)
    return found


@contextmanager
def _skipping_unreadable(found: Findings, area: str) -> Iterator[None]:
    """Note an area whose records cannot be read, and continue with the others."""
    try:
        yield
    except OSError as error:
        _log.warning("janitor.area_skipped", area=area, reason=str(error))
        found.not_checked[area] = str(error)
