"""The figures of this machine in a ping: memory, processors, disks and kernel.

Their shapes are python-agent's. They are read from /proc and by psutil for each ping. A part that
cannot be read is `{}`, never an error (A 15.1). Facts that only the Engine knows are parameters.

Row numbers (A, B) refer to docs/parity.md.
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
#: Containers write below it. Where it is not visible, the host is assumed to have one disk.
DOCKER_ROOT = Path("/var/lib/docker")
#: Results of the old agent's disk benchmark.
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
    """Facts that the Engine reports about itself; empty where unknown."""

    version: str = ""
    git_commit: str = ""
    operating_system: str = ""
    storage_driver: str = ""
    storage_driver_status: Mapping[str, str] = field(default_factory=dict)


def host_labels(
    docker_version: str | None, agent_image: str | None = None
) -> dict[str, str] | None:
    """Return labels of the host: versions, whether it has KVM (A 14.6), its system (B.6)."""
    found = {
        DOCKER_VERSION_LABEL: semver(docker_version or "", 2),
        KERNEL_VERSION_LABEL: semver(platform.release(), 2),
        KVM_LABEL: "true" if KVM_DEVICE.exists() else "",
        OS_LABEL: platform.system().lower(),
        AGENT_IMAGE_LABEL: agent_image or "",
    }
    return {name: value for name, value in found.items() if value} or None


def semver(version: str, count: int) -> str:
    """Return the first numbers of a version: `6.1` of `6.1.0-13-amd64`, or `` (A 15.11)."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    return ".".join(numbers[0].split(".")[:count]) if numbers else ""


def capacity(docker_root: Path = DOCKER_ROOT) -> dict[str, int]:
    """Return memory (bytes), CPU (thousandths of a core) and free disk space (MB) (B.6)."""
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
    """Return the five groups of a ping's `info` (A 15.1)."""
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
    """Return memory in MB with three decimals; figures missing in the kernel are null (A 15.2)."""
    kilobytes: dict[str, int] = {}
    for line in (proc / "meminfo").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        kilobytes[name] = int(value.split()[0])
    return {
        ours: round(kilobytes[theirs] / 1024, 3) if theirs in kilobytes else None
        for ours, theirs in _MEMORY.items()
    }


def os_info(engine: EngineFacts) -> dict[str, Any]:
    """Return the operating system, the kernel and Docker, as far as known (A 15.3)."""
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
    """Return capacity and use per device, without devicemapper's pool (A 15.4 to 15.6)."""
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
    info: dict[str, Any] = {"fileSystems": capacities, "mountPoints": uses}
    if engine.storage_driver:
        info["dockerStorageDriver"] = engine.storage_driver
        info["dockerStorageDriverStatus"] = dict(engine.storage_driver_status)
    return info


def _mounts() -> dict[str, str]:
    """Return one mount point per device; that of `/` if there is no device (in a container)."""
    found: dict[str, str] = {}
    for part in psutil.disk_partitions(all=False):
        found.setdefault(part.device, part.mountpoint)
    if not found:
        roots = [one for one in psutil.disk_partitions(all=True) if one.mountpoint == "/"]
        found = {one.device: "/" for one in roots[-1:]}
    return found


def cpu_info(proc: Path = PROC) -> dict[str, Any]:
    """Return processors and their load; percentages since the last call (A 15.7)."""
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
        # ARM kernels report no model; the architecture is better than an empty name.
        "modelName": model or platform.machine(),
        "count": psutil.cpu_count() or 1,
        "mhz": mhz,
        "loadAvg": [round(load, 2) for load in psutil.getloadavg()],
        "cpuCoresPercentages": _cores.percentages(),
    }


class _Cores:
    """Computes the load of each core since the last call, the first time since boot."""

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
    """Return a core's total and idle seconds; waiting for a disk counts as idle, as in cAdvisor."""
    part = times._asdict()
    # The time of guests is included in the user time.
    total = sum(part.values()) - part.get("guest", 0.0) - part.get("guest_nice", 0.0)
    return total, part["idle"] + part.get("iowait", 0.0)


_cores = _Cores()


def iops_info(folder: Path = IOPS_FOLDER) -> dict[str, dict[str, float]]:
    """Return the results of the disk benchmark by device (A 15.8); OSError without a benchmark."""
    found: dict[str, dict[str, float]] = {}
    for kind in ("read", "write"):
        text = (folder / f"{kind}.json").read_text(encoding="utf-8")
        # fio writes text around its JSON.
        measured = json.loads(text[text.index("{") : text.rindex("}") + 1])
        device = f"/dev/{measured['disk_util'][0]['name']}"
        found.setdefault(device, {})[kind] = measured["jobs"][0][kind]["iops"]
    return found


def default_disk(folder: Path = IOPS_FOLDER) -> str | None:
    """Return the device of `DEFAULT_DISK` in block I/O limits; None when unknown (A 9.2)."""
    try:
        return next(iter(iops_info(folder)), None)
    except _UNREADABLE:
        return None


def _megabytes(number_bytes: float) -> float:
    return round(number_bytes / _BYTES_PER_MB, 3)
