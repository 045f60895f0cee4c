"""cowpoke does not stop or remove itself, whatever cattle asks (parity B.6, C 18)."""

import functools
import re
from pathlib import Path

from worker.engine.containers import Inspect
from worker.errors import ProtectedContainerError

#: Set on every container of an installation: bridge, worker, Redis, Flower.
PART_LABEL = "io.cowpoke.part"

_CONTAINER_ID = re.compile(r"(?:/docker/containers/|/docker[/-]|/cri-)([0-9a-f]{64})")
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

    With cgroup v1 the cgroup's path names it; with v2 the mounts of resolv.conf and hosts do.
    """
    for name in ("cgroup", "mountinfo"):
        try:
            text = (proc_self / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if found := _CONTAINER_ID.search(text):
            return found[1]
    return None
