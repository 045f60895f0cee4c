"""cowpoke does not stop or remove itself, whatever cattle asks (parity B.6, C 18)."""

import functools
import re
from pathlib import Path

from worker.engine.containers import Inspect
from worker.errors import ProtectedContainerError

#: Set on every container of an installation: bridge, worker, Redis, Flower.
PART_LABEL = "io.cowpoke.part"

#: In the path of a control group, the innermost last.
_IN_CGROUP = re.compile(r"(?:/docker[/-]|/cri-)([0-9a-f]{64})")
#: The folder in the Engine's root where a container's own files lie, whatever that root is called.
_IN_ROOT = re.compile(r"(?:^|/)containers/([0-9a-f]{64})/")
#: What the Engine mounts into every container from there.
_OWN_FILES = frozenset({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"})
_SELF = Path("/proc/self")


def refuse_own(container: Inspect, verb: str) -> None:
    """Refuse to touch a part of this installation.

    Errors: ProtectedContainerError.
    """
    labels = (container.get("Config") or {}).get("Labels") or {}
    if PART_LABEL in labels or container["Id"] == own_container_id():
        name = str(container.get("Name") or container["Id"][:12]).removeprefix("/")
        part = labels.get(PART_LABEL) or "worker"
        raise ProtectedContainerError(
            f"container {name} is cowpoke's own {part} and is not {verb} by events; use Docker on "
            "the host if that is what you want"
        )


@functools.cache
def own_container_id(proc_self: Path = _SELF) -> str | None:
    """The id of the container this process runs in; None outside of one.

    With cgroup v1 the cgroup's path names it; with v2 the mounts of resolv.conf and its like do.
    Other mounts tell of other containers: a host sees the shared memory of all of them.
    """
    if found := _IN_CGROUP.findall(_read(proc_self / "cgroup")):
        return str(found[-1])
    for line in _read(proc_self / "mountinfo").splitlines():
        _, _, _, root, mount_point, *_ = [*line.split(), *[""] * 5]
        if mount_point in _OWN_FILES and (match := _IN_ROOT.search(root)):
            return match[1]
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
