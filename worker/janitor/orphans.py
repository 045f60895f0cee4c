"""What crashes leave on a host: one finder per kind, each yields the candidates of any age."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from worker.container import UUID_LABEL, Container
from worker.engine import containers, images, removal, volumes
from worker.engine.client import Engine
from worker.errors import VolumeInUseError
from worker.host.locks import Locks
from worker.host.name_store import NameStore, orphan_volumes, temporary_tags
from worker.host.state_files import StateFiles
from worker.image_reference import ImageReference
from worker.settings import WorkerSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Orphan:
    """One thing that may be removed."""

    kind: str
    name: str
    #: When it was left behind (Unix time in s).
    since_s: float
    #: Removes it; returns False when it is in use or no orphan any more.
    remove: Callable[[], bool]


class HostAccess(Protocol):
    """What the janitor works with; the runtime of a worker process has all of it."""

    @property
    def settings(self) -> WorkerSettings: ...  # noqa: D102
    @property
    def engine(self) -> Engine: ...  # noqa: D102
    @property
    def locks(self) -> Locks: ...  # noqa: D102


def unstarted_containers(access: HostAccess, listed: Iterable[Container]) -> Iterator[Orphan]:
    """Find containers of cattle's instances that were created and never started."""
    for container in listed:
        uuid = container.labels.get(UUID_LABEL)
        if uuid and container.has_never_run:
            yield Orphan(
                kind="container",
                name=f"{container.short_id} of instance {uuid}",
                since_s=container.created_s or time.time(),
                remove=partial(_remove_unstarted, access, container.id, uuid),
            )


def stale_tags(access: HostAccess) -> Iterator[Orphan]:
    """Find temporary tags whose pull was never completed."""
    tags = temporary_tags(access.settings.state_dir)
    for name, since_s in tags.all():
        remove = partial(_remove_tag, access, tags, name)
        yield Orphan(kind="tag", name=name, since_s=since_s, remove=remove)


def unremoved_volumes(access: HostAccess) -> Iterator[Orphan]:
    """Find volumes that a container still used when cattle removed them."""
    store = orphan_volumes(access.settings.state_dir)
    for name, since_s in store.all():
        remove = partial(_remove_volume, access, store, name, since_s)
        yield Orphan(kind="volume", name=name, since_s=since_s, remove=remove)


def stale_state_files(
    access: HostAccess, written: Iterable[tuple[str, float]], listed: Iterable[Container]
) -> Iterator[Orphan]:
    """Find state files without a container.

    `written` must have been read before `listed`: the container of a file that was there then is in
    the list, or is gone.
    """
    present = {container.id for container in listed}
    files = StateFiles(access.settings.state_dir)
    for name, since_s in written:
        if name not in present:
            remove = partial(_delete_file, files, name)
            yield Orphan(kind="state-file", name=name, since_s=since_s, remove=remove)


def _remove_unstarted(access: HostAccess, container_id: str, uuid: str) -> bool:
    with access.locks.try_hold(f"instance:{uuid}") as free:
        found = containers.inspect_or_list(access.engine, container_id) if free else None
        if found is None or not found.has_never_run:
            return False
        removal.discard(access.engine, found)
        return True


def _remove_tag(access: HostAccess, tags: NameStore, name: str) -> bool:
    images.remove(access.engine, ImageReference.parse(name))
    tags.discard(name)
    return True


def _remove_volume(access: HostAccess, store: NameStore, name: str, since_s: float) -> bool:
    with access.locks.try_hold(f"volume:{name}") as free:
        # An event that wanted the volume again has deleted its record.
        if not free or name not in store:
            return False
        found = volumes.inspect(access.engine, name)
        made_s = volumes.created_s(found) if found is not None else None
        if made_s is not None and made_s > since_s:
            # A newer volume with the same name: nobody asked to remove it.
            store.discard(name)
            return False
        try:
            volumes.remove(access.engine, name)
        except VolumeInUseError:
            return False
        store.discard(name)
        return True


def _delete_file(files: StateFiles, name: str) -> bool:
    files.discard(name)
    return True
