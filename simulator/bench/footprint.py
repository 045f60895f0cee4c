"""Memory and idle CPU of each process."""

from __future__ import annotations

import time
from collections.abc import Mapping

import psutil

from simulator.bench.figures import Footprint


def measure_footprints(pids: Mapping[str, int], *, idle_s: float) -> list[Footprint]:
    """Measure memory after the work, and CPU while no events arrive."""
    processes = {name: psutil.Process(pid) for name, pid in pids.items()}
    before = {name: _cpu_s(process) for name, process in processes.items()}
    began_s = time.monotonic()
    time.sleep(idle_s)
    passed_s = time.monotonic() - began_s
    found = []
    for name, process in processes.items():
        cpu_percent = (_cpu_s(process) - before[name]) / passed_s * 100
        memory = process.memory_full_info()
        found.append(
            Footprint(
                process=name,
                rss_bytes=memory.rss,
                pss_bytes=memory.pss,
                cpu_percent=cpu_percent,
            )
        )
    return found


def _cpu_s(process: psutil.Process) -> float:
    """Return the CPU time of a process without its children."""
    times = process.cpu_times()
    return float(times.user + times.system)
