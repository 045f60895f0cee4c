"""What a ping says of the host without asking the Engine.

Row numbers (A, B) refer to docs/parity.md.
"""

import platform

import psutil
import pytest

from tests.hosts import host_on
from worker.host.machine import capacity, host_labels


@pytest.fixture
def ping(tmp_path):
    """Ping a host without an Engine, with those variables: its resources by type."""

    def send(*, stats=False, **variables):
        host = host_on(f"unix://{tmp_path}/none.sock", tmp_path, **variables)
        options = {"resources": True} | ({"stats": True} if stats else {})
        resources = host.run("ping", {"options": options})["resources"]
        return {one["type"]: one for one in resources}

    return send


def test_four_resources_in_order(ping):
    """Physical host, host, storage pool and address, with their keys (A 14.3)."""
    told = ping()
    assert list(told) == ["physicalHost", "host", "storagePool", "ipAddress"]
    assert told["physicalHost"] == {
        "type": "physicalHost",
        "kind": "physicalHost",
        "uuid": "physical-uuid",
        "name": "host-1",
    }
    assert told["storagePool"] == {
        "type": "storagePool",
        "kind": "docker",
        "name": "host-1 Storage Pool",
        "hostUuid": "host-uuid",
        "uuid": "host-uuid-pool",
    }
    about = {"type": "ipAddress", "uuid": "1.2.3.4", "address": "1.2.3.4"}
    assert told["ipAddress"] == {**about, "hostUuid": "host-uuid"}
    host = told["host"]
    assert (host["kind"], host["hostname"], host["uuid"]) == ("docker", "host-1", "host-uuid")
    assert host["physicalHostUuid"] == "physical-uuid"
    assert host["info"] is None
    assert "apiProxy" not in host


def test_stats_fill_the_hosts_info(ping):
    """Five groups, also when the Engine does not answer (A 14.4, 15.1)."""
    info = ping(stats=True)["host"]["info"]
    groups = {"memoryInfo", "osInfo", "diskInfo", "cpuInfo", "iopsInfo"}
    assert set(info) == groups


@pytest.mark.parametrize("name", ["a..b", ".leading-dot", f"{'long' * 20}.example"])
def test_an_address_that_is_no_name_costs_only_itself(ping, name):
    """A 14.7: the ping is answered without it."""
    assert list(ping(CATTLE_DOCKER_HOST_IP=name)) == ["physicalHost", "host", "storagePool"]


def test_the_api_proxy_is_reported_when_there_is_one(ping):
    """A.18 HOST_API_PROXY goes to the host's `apiProxy` (A 14.3)."""
    assert ping(CATTLE_HOST_API_PROXY="10.0.0.1:9345")["host"]["apiProxy"] == "10.0.0.1:9345"


def test_capacity_is_in_every_resources_ping(ping):
    """Memory in bytes, thousandths of processors, free disk in MB: whole numbers (parity B.6)."""
    host = ping()["host"]
    assert host["memory"] == psutil.virtual_memory().total
    assert host["milliCpu"] == psutil.cpu_count() * 1000
    assert host["localStorageMb"] > 0
    assert {type(host[name]) for name in ("memory", "milliCpu", "localStorageMb")} == {int}


def test_the_operators_capacity_counts(ping):
    """The overrides replace what was found, zero included (parity B.6)."""
    host = ping(
        CATTLE_MEMORY_OVERRIDE="1048576",
        CATTLE_MILLI_CPU_OVERRIDE="1500",
        CATTLE_LOCAL_STORAGE_MB_OVERRIDE="0",
    )["host"]
    assert (host["memory"], host["milliCpu"], host["localStorageMb"]) == (1048576, 1500, 0)


def test_without_dockers_folder_the_free_space_is_the_roots(tmp_path):
    """In a container Docker's folder may not be seen (parity B.6)."""
    assert capacity(tmp_path / "none")["localStorageMb"] > 0


def test_labels_for_a_new_host(ping):
    """The operator's as query text, and the scheduler's two (A 14.5, parity B.6)."""
    told = ping(
        CATTLE_HOST_LABELS="zone=a&disk=ssd&empty=",
        CATTLE_SCHEDULER_IPS="1.1.1.1,2.2.2.2",
        CATTLE_SCHEDULER_REQUIRE_ANY="role=db",
    )
    assert told["host"]["createLabels"] == {
        "zone": "a",
        "disk": "ssd",
        "empty": "",
        "io.rancher.scheduler.ips": "1.1.1.1,2.2.2.2",
        "io.rancher.scheduler.require_any": "role=db",
    }
    assert ping()["host"]["createLabels"] == {}


def test_labels_of_the_host():
    """Docker's and the kernel's first two numbers, the system, the agent's image (A 14.6, B.6)."""
    labels = host_labels("24.0.7", "rancher/agent:v1.2") or {}
    assert labels["io.rancher.host.docker_version"] == "24.0"
    assert platform.release().startswith(labels["io.rancher.host.linux_kernel_version"])
    assert labels["io.rancher.host.os"] == "linux"
    assert labels["io.rancher.host.agent_image"] == "rancher/agent:v1.2"
    assert "io.rancher.host.agent_image" not in (host_labels(None) or {})
