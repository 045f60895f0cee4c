"""The machine's figures, in the shapes that cattle reads.

Row numbers (A) refer to docs/parity.md.
"""

import json

import psutil
import pytest

from worker.host import machine as host_info
from worker.host.machine import EngineFacts

CPUINFO = """\
processor\t: 0
model name\t: Intel(R) Core(TM) i7-4650U CPU @ 1.70GHz
cpu MHz\t\t: 2317.442

processor\t: 1
model name\t: Other
"""


@pytest.mark.parametrize(
    ("version", "count", "cut"),
    [("6.1.0-13-amd64", 2, "6.1"), ("20.10.24+dfsg1", 2, "20.10"), ("28", 2, "28"), ("x", 2, "")],
)
def test_a_version_is_cut(version, count, cut):
    """The first numbers of it (A 15.11)."""
    assert host_info.semver(version, count) == cut


def test_memory_is_in_megabytes(tmp_path):
    """Three decimals, null for what the kernel does not tell (A 15.2)."""
    (tmp_path / "meminfo").write_text("MemTotal:  3110312 kB\nMemFree: 1140168 kB\nHugePages: 0\n")
    memory = host_info.memory_info(tmp_path)
    assert (memory["memTotal"], memory["memFree"]) == (3037.414, 1113.445)
    assert memory["swapCached"] is None
    assert len(memory) == 10


def test_the_rated_speed_wins(tmp_path):
    """GHz of the first model's name, times a thousand (A 15.7)."""
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    cpu = host_info.cpu_info(tmp_path)
    assert cpu["modelName"] == "Intel(R) Core(TM) i7-4650U CPU @ 1.70GHz"
    assert cpu["mhz"] == 1700.0
    assert len(cpu["loadAvg"]) == 3
    assert len(cpu["cpuCoresPercentages"]) == cpu["count"]
    assert all(0 <= share <= 100 for share in cpu["cpuCoresPercentages"])


def test_a_processor_without_a_model_does_no_harm(tmp_path):
    """ARM names none: the speed as measured, the architecture's name (A 15.7)."""
    (tmp_path / "cpuinfo").write_text("processor : 0\ncpu MHz : 1200.5\n")
    cpu = host_info.cpu_info(tmp_path)
    assert cpu["mhz"] == 1200.5
    assert cpu["modelName"]


def test_a_group_that_cannot_be_read_is_empty():
    """The other four are there (A 15.1)."""
    info = host_info.collect(EngineFacts())
    assert info["iopsInfo"] == {}
    assert info["memoryInfo"]["memTotal"] > 0
    assert info["osInfo"]["dockerVersion"] is None


def test_the_engines_facts_go_in():
    """Versions and the storage driver, in python-agent's words (A 15.3, 15.6)."""
    facts = EngineFacts(
        version="28.2.2",
        git_commit="45873be",
        operating_system="Debian",
        storage_driver="overlay2",
        storage_driver_status={"Backing Filesystem": "extfs"},
    )
    info = host_info.collect(facts)
    assert info["osInfo"]["dockerVersion"] == "Docker version 28.2.2, build 45873be"
    assert info["osInfo"]["operatingSystem"] == "Debian"
    assert info["diskInfo"]["dockerStorageDriver"] == "overlay2"
    assert info["diskInfo"]["dockerStorageDriverStatus"] == {"Backing Filesystem": "extfs"}
    assert set(info["diskInfo"]["fileSystems"]) == set(info["diskInfo"]["mountPoints"])


def test_the_disk_benchmark_is_read(tmp_path):
    """Reads and writes by device, with fio's notes around the JSON (A 9.2, 15.8)."""
    for kind, iops in (("read", 9000), ("write", 4000)):
        measured = {"disk_util": [{"name": "sda"}], "jobs": [{kind: {"iops": iops}}]}
        (tmp_path / f"{kind}.json").write_text(f"fio: note\n{json.dumps(measured)}\n")
    assert host_info.iops_info(tmp_path) == {"/dev/sda": {"read": 9000, "write": 4000}}
    assert host_info.default_disk(tmp_path) == "/dev/sda"
    assert host_info.default_disk(tmp_path / "none") is None


def test_a_cores_rest_and_its_guests_are_counted_once():
    """A 15.7: a guest's time is in its user's, and waiting for a disk is rest."""
    times = psutil.cpu_times()._replace(**dict.fromkeys(psutil.cpu_times()._fields, 0.0))
    guest = times._replace(user=50.0, guest=50.0, idle=50.0)
    waiting = times._replace(user=50.0, iowait=25.0, idle=25.0)
    assert host_info._total_and_idle(guest) == host_info._total_and_idle(waiting) == (100.0, 50.0)
