"""What each process holds and does at rest."""

from __future__ import annotations

import time
from collections.abc import Mapping

import psutil

from simulator.bench.figures import Footprint


def measure_footprints(pids: Mapping[str, int], *, idle_s: float) -> list[Footprint]:
    """Memory after the work, and CPU over a while in which nothing is asked for."""
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
    """The process's own time; its children have their own rows."""
    times = process.cpu_times()
    return float(times.user + times.system)
