"""Protect the containers of cowpoke and of the old agent from events of cattle (B.6, C 18).

Row numbers (B, C) refer to docs/parity.md.
"""

import functools
import re
from pathlib import Path

from cowpoke.log import logger
from worker.container import UUID_LABEL, Container
from worker.create.labels import PART as PART_LABEL
from worker.engine import containers
from worker.engine.client import Engine
from worker.errors import ProtectedContainerError

#: The containers of the old agent, which is the way back from this one.
OLD_AGENT_NAMES = frozenset({"rancher-agent", "rancher-agent-upgrade"})

_log = logger(__name__)
_PROJECT_LABEL = "com.docker.compose.project"
#: A container id in the path of a control group; the innermost is the last.
_IN_CGROUP = re.compile(r"(?:/docker[/-]|/cri-)([0-9a-f]{64})")
#: The folder of a container's own files below any root folder of the Engine.
_IN_ROOT = re.compile(r"(?:^|/)containers/([0-9a-f]{64})/")
#: Files that the Engine mounts into every container from there.
_OWN_FILES = frozenset({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"})
_SELF = Path("/proc/self")


def refuse_own(found: Container, verb: str, engine: Engine) -> None:
    """Raise ProtectedContainerError for a container of this cowpoke installation.

    Errors: EngineError when the worker's own container cannot be inspected.
    """
    own_id = own_container_id()
    if found.id != own_id:
        if PART_LABEL not in found.labels:
            return
        own = containers.inspect_or_list(engine, own_id) if own_id is not None else None
        if not is_part(found, own):
            return
    part = found.labels.get(PART_LABEL) or "worker"
    raise ProtectedContainerError(
        f"container {found.uuid} is cowpoke's own {part} and is not {verb} by events; use the "
        "docker command on the host"
    )


def spares_old_agent(found: Container, verb: str) -> bool:
    """Return whether this is a container of the old agent, which events neither stop nor remove.

    As with the old agent, cattle gets a success; a warning tells the operator. The name alone
    decides; a container that an event made under this name is none.
    """
    if found.name not in OLD_AGENT_NAMES or UUID_LABEL in found.labels:
        return False
    _log.warning(
        "container.spared",
        container=found.name,
        container_id=found.short_id,
        advice=f"it is the way back to the old agent and is not {verb} by events; use the docker "
        "command on the host",
    )
    return True


def is_part(found: Container, own: Container | None) -> bool:
    """Return whether a container with our label belongs to the installation of this worker.

    `own` is the container of this worker, or None. A user can set the label, too. So containers of
    cattle's instances are never parts, and for a worker in a container only those of its own
    Compose project are.
    """
    if UUID_LABEL in found.labels:
        return False
    return own is None or own.labels.get(_PROJECT_LABEL) == found.labels.get(_PROJECT_LABEL)


@functools.cache
def own_container_id(proc_self: Path = _SELF) -> str | None:
    """Return the id of the container that this process runs in; None outside of one.

    With cgroup v1 the path of the cgroup contains the id, with v2 the mounts of resolv.conf and
    similar files. Other mounts may belong to other containers, such as their shared memory.
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
