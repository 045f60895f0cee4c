"""Find what earlier crashes left on a host, and remove it after a grace time.

    what                                              left by
    containers of ours that never started             a worker that died between create and start
    temporary tags                                     a pull whose second event never came
    orphaned volumes                                   a removal while a container used the volume
    state files of containers that are gone            whoever removed the container without us

Nothing is removed that is younger than its grace time, that is being worked on (its lock is held),
or that no record or label of ours names; and Docker is asked only while it is healthy. A dry run
shows the same list and changes nothing. Pull states and locks
need no janitor: the first are swept by the next pull, the second leave nothing behind.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from cowpoke.log import logger
from worker.container import UUID_LABEL, Container
from worker.engine import containers, images, removal, volumes
from worker.engine.client import Engine
from worker.errors import VolumeInUseError, WorkerError
from worker.host.locks import Locks
from worker.host.orphan_volumes import OrphanVolumes
from worker.host.state_files import StateFiles
from worker.host.temporary_tags import TemporaryTags
from worker.image_reference import ImageReference
from worker.process.runtime import Runtime
from worker.settings import WorkerSettings

_log = logger(__name__)

#: Longer than any operation may hang between create and start.
CONTAINER_GRACE_S = 3600.0
#: Longer than an operator's pull onto all hosts may take.
TAG_GRACE_S = 24 * 3600.0
#: A container that still has the volume is not gone sooner.
VOLUME_GRACE_S = 600.0
#: Longer than an activate may take between its file and a look at it.
FILE_GRACE_S = 600.0
LOCK = "janitor"
DOCKER_AREAS = ("unstarted containers", "temporary tags", "orphaned volumes", "state files")


@dataclass(frozen=True, kw_only=True, slots=True)
class Litter:
    """One thing that may go."""

    kind: str
    name: str
    age_s: float
    clear: Callable[[], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Grace:
    """How old each kind must be."""

    container_s: float = CONTAINER_GRACE_S
    tag_s: float = TAG_GRACE_S
    volume_s: float = VOLUME_GRACE_S
    file_s: float = FILE_GRACE_S


class Reach(Protocol):
    """What a janitor works with; a worker's runtime has it all."""

    @property
    def settings(self) -> WorkerSettings: ...  # noqa: D102
    @property
    def engine(self) -> Engine: ...  # noqa: D102
    @property
    def locks(self) -> Locks: ...  # noqa: D102


class OwnReach:
    """What a janitor works with outside of a worker; making it changes nothing."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self.engine = Engine(settings)
        self.locks = Locks(settings.lock_dir, wait_s=settings.lock_wait_s)


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """The litter of a host, and the areas that could not be looked at, each with the reason."""

    litter: list[Litter] = field(default_factory=list)
    not_looked: dict[str, str] = field(default_factory=dict)


def clean(reach: Reach, grace: Grace, *, dry_run: bool) -> Look:
    """Look for litter, and remove it unless this is a dry run.

    One janitor works on a host at a time: another one does not even look.
    """
    if dry_run:
        return look(reach, grace, time.time())
    with reach.locks.try_hold(LOCK) as free:
        if not free:
            return Look(not_looked={"anything": "another janitor is at work on this host"})
        found = look(reach, grace, time.time())
        for litter in found.litter:
            try:
                cleared = litter.clear()
            except (WorkerError, OSError) as error:
                _log.warning("litter.kept", kind=litter.kind, litter=litter.name, reason=str(error))
            else:
                if cleared:
                    _log.info("litter.removed", kind=litter.kind, litter=litter.name)
        return found


class Janitor(threading.Thread):
    """Cleans now and then while a lane runs; the lane for images does it for its host."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(name="janitor", daemon=True)
        self._runtime = runtime

    def run(self) -> None:
        """Clean every `WORKER_JANITOR_EVERY_S` until the process ends."""
        every_s = self._runtime.settings.janitor_every_s
        while every_s > 0:
            # Jittered, so that the workers of a host do not all come at once.
            time.sleep(every_s * random.uniform(0.8, 1.2))  # noqa: S311 -- spreads load
            try:
                clean(self._runtime, Grace(), dry_run=False)
            except Exception:  # noqa: BLE001 -- the outermost loop of this thread; next time anew
                _log.exception("janitor.failed")


def look(reach: Reach, grace: Grace, now_s: float) -> Look:
    """Return everything that may go now."""
    found = Look()
    # Before the containers: the one of a file that is there now is there as well, or gone.
    written: list[tuple[str, float]] = []
    with _noting(found, "state files"):
        written = list(StateFiles(reach.settings.state_dir).all())
    try:
        listed = containers.list_all(reach.engine, timeout_s=reach.engine.read_timeout_s)
    except WorkerError as error:
        # An Engine that does not answer now may also not tell the truth about what is in use.
        _log.warning("janitor.without_engine", reason=error.message)
        found.not_looked.update(dict.fromkeys(DOCKER_AREAS, error.message))
    else:
        found.litter.extend(_never_started(reach, listed, grace.container_s, now_s))
        with _noting(found, "temporary tags"):
            found.litter.extend(_temporary_tags(reach, grace.tag_s, now_s))
        with _noting(found, "orphaned volumes"):
            found.litter.extend(_orphaned_volumes(reach, grace.volume_s, now_s))
        found.litter.extend(_state_files(reach, written, listed, grace.file_s, now_s))
    return found


@contextmanager
def _noting(found: Look, area: str) -> Iterator[None]:
    """Note an area whose records cannot be read, and go on with the others."""
    try:
        yield
    except OSError as error:
        _log.warning("janitor.area_unreadable", area=area, reason=str(error))
        found.not_looked[area] = str(error)


def _never_started(
    reach: Reach, listed: list[Container], grace_s: float, now_s: float
) -> Iterator[Litter]:
    for one in listed:
        uuid = one.labels.get(UUID_LABEL)
        age_s = now_s - (one.created_s or now_s)
        if uuid and one.has_never_run and age_s >= grace_s:
            yield Litter(
                kind="container",
                name=f"{one.short_id} of instance {uuid}",
                age_s=age_s,
                clear=partial(_remove_unstarted, reach, one.id, str(uuid)),
            )


def _remove_unstarted(reach: Reach, container_id: str, uuid: str) -> bool:
    with reach.locks.try_hold(f"instance:{uuid}") as free:
        found = containers.inspect_or_list(reach.engine, container_id) if free else None
        if found is None or not found.has_never_run:
            return False
        removal.discard(reach.engine, found)
        return True


def _temporary_tags(reach: Reach, grace_s: float, now_s: float) -> Iterator[Litter]:
    tags = TemporaryTags(reach.settings.state_dir)
    for name, made_s in tags.all():
        age_s = now_s - made_s
        if age_s >= grace_s:
            yield Litter(
                kind="tag",
                name=name,
                age_s=age_s,
                clear=partial(_remove_tag, reach, tags, name),
            )


def _remove_tag(reach: Reach, tags: TemporaryTags, name: str) -> bool:
    images.remove(reach.engine, ImageReference.parse(name))
    tags.forget(name)
    return True


def _orphaned_volumes(reach: Reach, grace_s: float, now_s: float) -> Iterator[Litter]:
    orphans = OrphanVolumes(reach.settings.state_dir)
    for name, since_s in orphans.all():
        age_s = now_s - since_s
        if age_s >= grace_s:
            yield Litter(
                kind="volume",
                name=name,
                age_s=age_s,
                clear=partial(_remove_orphan, reach, orphans, name, since_s),
            )


def _remove_orphan(reach: Reach, orphans: OrphanVolumes, name: str, since_s: float) -> bool:
    with reach.locks.try_hold(f"volume:{name}") as free:
        # Asked for again since we looked: then it has no record any more.
        if not free or name not in {one for one, _ in orphans.all()}:
            return False
        found = volumes.inspect(reach.engine, name)
        made_s = volumes.created_s(found) if found is not None else None
        if made_s is not None and made_s > since_s:
            # Another volume by now, which nobody has asked us to remove.
            orphans.forget(name)
            return False
        try:
            volumes.remove(reach.engine, name)
        except VolumeInUseError:
            return False
        orphans.forget(name)
        return True


def _state_files(
    reach: Reach,
    written: list[tuple[str, float]],
    listed: list[Container],
    grace_s: float,
    now_s: float,
) -> Iterator[Litter]:
    there = {one.id for one in listed}
    files = StateFiles(reach.settings.state_dir)
    for name, written_s in written:
        age_s = now_s - written_s
        if name not in there and age_s >= grace_s:
            yield Litter(
                kind="state-file", name=name, age_s=age_s, clear=partial(_forget_file, files, name)
            )


def _forget_file(files: StateFiles, name: str) -> bool:
    files.forget(name)
    return True
