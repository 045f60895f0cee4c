"""Find and remove the leftovers of a private Docker Engine by its folder.

`engine.json` is written to the folder before anything else is created. So the next run can find and
remove the leftovers of a killed run. The run that owns the Engine holds a lock on that file; the
kernel releases it when the run ends for any reason. A pid with its start time is not reliable: the
start time changes when the machine's clock is set.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import psutil

from simulator.rig.packages import find_program
from simulator.rig.processes import is_alive

RECORD_NAME = "engine.json"
CGROUPS_DIR = Path("/sys/fs/cgroup")
GONE_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class EngineTraces:
    """Places where a private Engine may leave something."""

    root: str
    """Its folder: data, sockets, mounts."""
    name: str
    """Its bridge, and its control group."""
    subnet: str
    """Addresses of its bridge and of every network made on it."""

    def write(self) -> TextIO:
        """Put the record into the Engine's folder; the Engine is ours while the file stays open."""
        record = Path(self.root, RECORD_NAME)
        unlocked = record.with_suffix(".new")
        held = unlocked.open("w", encoding="utf-8")
        fcntl.flock(held, fcntl.LOCK_EX)
        json.dump(asdict(self), held)
        held.flush()
        unlocked.rename(record)  # nobody ever finds the record without its lock
        return held


def remove_traces(traces: EngineTraces) -> None:
    """Remove an Engine's processes, containers, mounts, control groups, networks and folder."""
    _kill_processes(traces)
    _unmount_below(traces.root)
    _remove_control_groups(traces.name)
    _remove_links(traces.subnet)
    shutil.rmtree(traces.root, ignore_errors=True)


def remove_abandoned(parent: Path, prefix: str) -> None:
    """Remove leftovers of killed runs; skip Engines of live runs."""
    for record in parent.glob(f"{prefix}*/{RECORD_NAME}"):
        with contextlib.suppress(OSError, ValueError, TypeError), record.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while the owner lives
            traces = EngineTraces(**json.load(file))
            if Path(traces.root) == record.parent:
                remove_traces(traces)


def taken_networks() -> list[ipaddress.IPv4Network]:
    """List the IPv4 networks this machine has routes or addresses in."""
    networks = []
    for line in Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        address, mask = (
            ipaddress.IPv4Address(int.from_bytes(bytes.fromhex(text)[::-1]))
            for text in (fields[1], fields[7])
        )
        if int(mask):
            networks.append(ipaddress.IPv4Network(f"{address}/{mask}", strict=False))
    return networks


def run_ip(*arguments: str, enter: Sequence[str] = ()) -> str:
    """Run iproute2's `ip` and return what it prints; `enter` runs it somewhere else.

    Errors:
        OSError: it failed, with its message.
    """
    program = find_program("ip") or "ip"
    done = subprocess.run(
        [*enter, program, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _kill_processes(traces: EngineTraces) -> None:
    deadline = time.monotonic() + GONE_TIMEOUT_S
    while found := _processes(traces):
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=0.5)
        if time.monotonic() >= deadline:
            break


def _processes(traces: EngineTraces) -> list[psutil.Process]:
    """The daemons name the folder on their command lines; containers sit in the control group."""
    found = {}
    for process in psutil.process_iter(["cmdline", "name"]):
        arguments = process.info["cmdline"] or []
        named_for_it = process.info["name"].startswith(("dockerd", "containerd", "runc", "docker-"))
        if named_for_it and any(traces.root in argument for argument in arguments):
            found[process.pid] = process
            for child in _children(process):
                found[child.pid] = child
    for group in _control_groups(traces.name):
        with contextlib.suppress(OSError):
            for pid in map(int, (group / "cgroup.procs").read_text(encoding="ascii").split()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    found[pid] = psutil.Process(pid)
    return [process for process in found.values() if is_alive(process)]


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _unmount_below(root: str) -> None:
    points = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if point.startswith(root + "/"):
            points.append(point)
    for point in sorted(points, key=len, reverse=True):
        subprocess.run(
            [find_program("umount") or "umount", "--lazy", point], capture_output=True, check=False
        )


def _control_groups(name: str) -> list[Path]:
    tops = [CGROUPS_DIR / name, *CGROUPS_DIR.glob(f"*/{name}")]
    return [
        group
        for top in tops
        if top.is_dir()
        for group in [top, *(path for path in top.rglob("*") if path.is_dir())]
    ]


def _remove_control_groups(name: str) -> None:
    for group in sorted(_control_groups(name), key=lambda path: len(path.parts), reverse=True):
        with contextlib.suppress(OSError):
            group.rmdir()


def _remove_links(subnet: str) -> None:
    ours = ipaddress.IPv4Network(subnet)
    for line in run_ip("-4", "-o", "address", "show").splitlines():
        fields = line.split()
        link, address = fields[1], ipaddress.IPv4Interface(fields[3])
        if address.ip in ours:
            # A daemon killed while it started a container leaves the container's link unconnected.
            for attached in run_ip("-o", "link", "show", "master", link).splitlines():
                _remove_link(attached.split()[1].partition("@")[0].rstrip(":"))
            _remove_link(link)


def _remove_link(name: str) -> None:
    with contextlib.suppress(OSError):
        run_ip("link", "delete", name)
