"""What a ping tells of this machine: memory, processors, disks, kernel, in python-agent's shapes.

Read from /proc and by psutil at every question; a part that cannot be read is `{}`, never an error
(A 15.1). What only the Engine knows is handed in.
"""

import json
import platform
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

PROC = Path("/proc")
KVM_DEVICE = Path("/dev/kvm")
#: Containers write below it; where it is not seen, all is taken to be one disk.
DOCKER_ROOT = Path("/var/lib/docker")
#: Where the old agent's disk benchmark left its results.
IOPS_FOLDER = Path("/var/lib/rancher/state")

DOCKER_VERSION_LABEL = "io.rancher.host.docker_version"
KERNEL_VERSION_LABEL = "io.rancher.host.linux_kernel_version"
KVM_LABEL = "io.rancher.host.kvm"
OS_LABEL = "io.rancher.host.os"
AGENT_IMAGE_LABEL = "io.rancher.host.agent_image"

_MEMORY = {
    "memTotal": "MemTotal",
    "memFree": "MemFree",
    "memAvailable": "MemAvailable",
    "buffers": "Buffers",
    "cached": "Cached",
    "swapCached": "SwapCached",
    "active": "Active",
    "inactive": "Inactive",
    "swapTotal": "SwapTotal",
    "swapFree": "SwapFree",
}
_BYTES_PER_MB = 1024 * 1024
_UNREADABLE = (OSError, ValueError, KeyError, IndexError, TypeError, psutil.Error)


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineFacts:
    """What the Engine says of itself; empty where it did not say."""

    version: str = ""
    git_commit: str = ""
    operating_system: str = ""
    storage_driver: str = ""
    storage_driver_status: Mapping[str, str] = field(default_factory=dict)


def host_labels(
    docker_version: str | None, agent_image: str | None = None
) -> dict[str, str] | None:
    """Labels of a host: versions' first two numbers, can it run VMs (A 14.6), its system (B.6)."""
    found = {
        DOCKER_VERSION_LABEL: semver(docker_version or "", 2),
        KERNEL_VERSION_LABEL: semver(platform.release(), 2),
        KVM_LABEL: "true" if KVM_DEVICE.exists() else "",
        OS_LABEL: platform.system().lower(),
        AGENT_IMAGE_LABEL: agent_image or "",
    }
    return {name: value for name, value in found.items() if value} or None


def semver(version: str, count: int) -> str:
    """The first numbers of a version: `6.1` of `6.1.0-13-amd64`; empty without any (A 15.11)."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    return ".".join(numbers[0].split(".")[:count]) if numbers else ""


def capacity(docker_root: Path = DOCKER_ROOT) -> dict[str, int]:
    """Memory in bytes, thousandths of processors, free disk space in MB, as far as known (B.6)."""
    figures: dict[str, Callable[[], int]] = {
        "memory": lambda: psutil.virtual_memory().total,
        "milliCpu": lambda: (psutil.cpu_count() or 1) * 1000,
        "localStorageMb": lambda: _free_bytes(docker_root) // _BYTES_PER_MB,
    }
    known: dict[str, int] = {}
    for name, figure in figures.items():
        try:
            known[name] = figure()
        except _UNREADABLE:
            continue
    return known


def _free_bytes(folder: Path) -> int:
    return int(psutil.disk_usage(str(folder if folder.exists() else Path("/"))).free)


def collect(engine: EngineFacts) -> dict[str, Any]:
    """The five groups of a ping's `info` (A 15.1)."""
    groups: dict[str, Callable[[], dict[str, Any]]] = {
        "memoryInfo": memory_info,
        "osInfo": lambda: os_info(engine),
        "diskInfo": lambda: disk_info(engine),
        "cpuInfo": cpu_info,
        "iopsInfo": iops_info,
    }
    return {name: _or_empty(group) for name, group in groups.items()}


def _or_empty(group: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return group()
    except _UNREADABLE:
        return {}


def memory_info(proc: Path = PROC) -> dict[str, float | None]:
    """Memory in MB with three decimals; what the kernel does not tell is null (A 15.2)."""
    kilobytes: dict[str, int] = {}
    for line in (proc / "meminfo").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        kilobytes[name] = int(value.split()[0])
    return {
        ours: round(kilobytes[theirs] / 1024, 3) if theirs in kilobytes else None
        for ours, theirs in _MEMORY.items()
    }


def os_info(engine: EngineFacts) -> dict[str, Any]:
    """System, kernel and Docker, as far as they are known (A 15.3)."""
    docker = f"Docker version {engine.version}, build {engine.git_commit}"
    return {
        "operatingSystem": engine.operating_system or _distribution(),
        "kernelVersion": platform.release(),
        "dockerVersion": docker if engine.version else None,
    }


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def disk_info(engine: EngineFacts) -> dict[str, Any]:
    """Capacity and use per device, without devicemapper's pool devices (A 15.4 to 15.6)."""
    pool = engine.storage_driver_status.get("Pool Name")
    capacities: dict[str, dict[str, float]] = {}
    uses: dict[str, dict[str, float]] = {}
    for device, mount_point in _mounts().items():
        if pool is not None and device.startswith((f"/dev/mapper/{pool}", "/dev/mapper/docker-")):
            continue
        try:
            use = psutil.disk_usage(mount_point)
        except OSError:
            continue
        capacities[device] = {"capacity": _megabytes(use.total)}
        uses[device] = {
            "free": _megabytes(use.free),
            "total": _megabytes(use.total),
            "used": _megabytes(use.used),
            "percentUsed": round(100 * use.used / use.total, 2) if use.total else 0.0,
        }
    told: dict[str, Any] = {"fileSystems": capacities, "mountPoints": uses}
    if engine.storage_driver:
        told["dockerStorageDriver"] = engine.storage_driver
        told["dockerStorageDriverStatus"] = dict(engine.storage_driver_status)
    return told


def _mounts() -> dict[str, str]:
    """One mount point per device; the root's when there is no device at all (in a container)."""
    found: dict[str, str] = {}
    for part in psutil.disk_partitions(all=False):
        found.setdefault(part.device, part.mountpoint)
    if not found:
        roots = [one for one in psutil.disk_partitions(all=True) if one.mountpoint == "/"]
        found = {one.device: "/" for one in roots[-1:]}
    return found


def cpu_info(proc: Path = PROC) -> dict[str, Any]:
    """Processors and their load; percentages since this process was last asked (A 15.7)."""
    model, mhz = "", 0.0
    for line in (proc / "cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        if name == "model name" and not model:
            model = value
        elif name.lower() == "cpu mhz" and not mhz:
            mhz = float(value)
    if rated := re.search(r"@\s*([\d.]+)\s*GHz", model):
        mhz = round(float(rated[1]) * 1000, 3)
    return {
        # ARM names no model; an empty name would be worse than the architecture's.
        "modelName": model or platform.machine(),
        "count": psutil.cpu_count() or 1,
        "mhz": mhz,
        "loadAvg": [round(load, 2) for load in psutil.getloadavg()],
        "cpuCoresPercentages": _cores.percentages(),
    }


class _Cores:
    """Remembers the last look at each core's times; before the first it is the boot."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: list[tuple[float, float]] = []

    def percentages(self) -> list[float]:
        now = [_total_and_idle(times) for times in psutil.cpu_times(percpu=True)]
        with self._lock:
            before, self._last = self._last or [(0.0, 0.0)] * len(now), now
        shares = []
        for (total, idle), (total_before, idle_before) in zip(now, before, strict=False):
            passed = total - total_before
            busy = passed - (idle - idle_before)
            shares.append(round(min(max(100 * busy / passed, 0.0), 100.0), 3) if passed else 0.0)
        return shares


def _total_and_idle(times: Any) -> tuple[float, float]:  # noqa: ANN401 - psutil's named tuple
    """A core's seconds in all and at rest: waiting for a disk is rest, as cAdvisor had it."""
    part = times._asdict()
    # A guest's time is in its user's already.
    total = sum(part.values()) - part.get("guest", 0.0) - part.get("guest_nice", 0.0)
    return total, part["idle"] + part.get("iowait", 0.0)


_cores = _Cores()


def iops_info(folder: Path = IOPS_FOLDER) -> dict[str, dict[str, float]]:
    """What the disk benchmark measured, by device; `{}` where none was made (A 15.8)."""
    found: dict[str, dict[str, float]] = {}
    for kind in ("read", "write"):
        text = (folder / f"{kind}.json").read_text(encoding="utf-8")
        # fio writes notes around its JSON.
        measured = json.loads(text[text.index("{") : text.rindex("}") + 1])
        device = f"/dev/{measured['disk_util'][0]['name']}"
        found.setdefault(device, {})[kind] = measured["jobs"][0][kind]["iops"]
    return found


def default_disk(folder: Path = IOPS_FOLDER) -> str | None:
    """The device that `DEFAULT_DISK` stands for in block I/O limits; None when unknown (A 9.2)."""
    try:
        return next(iter(iops_info(folder)), None)
    except _UNREADABLE:
        return None


def _megabytes(number_bytes: float) -> float:
    return round(number_bytes / _BYTES_PER_MB, 3)
