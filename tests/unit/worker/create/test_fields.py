"""Fields that only change their name, and what the scheduler reserved.

Row numbers (A, B, W) refer to docs/parity.md.
"""

import pytest

from tests.unit.worker.create.mapping import body, host_config


@pytest.mark.parametrize(
    ("field", "value", "key", "expected"),
    [
        pytest.param("user", "root", "User", "root", id="A 4.5"),
        pytest.param("domainName", "a.example", "Domainname", "a.example", id="A 4.6"),
        pytest.param("tty", True, "Tty", True, id="A 4.10"),
        pytest.param("stopSignal", "SIGINT", "StopSignal", "SIGINT", id="B.1"),
        pytest.param("stopTimeout", 0, "StopTimeout", 0, id="B.1"),
    ],
)
def test_config_renames(field, value, key, expected):
    """A 4.5, A 4.6, A 4.10: a field beside HostConfig only changes its name."""
    assert body({field: value})[key] == expected


@pytest.mark.parametrize(
    ("field", "value", "key"),
    [
        ("memory", 0, "Memory"),
        ("memorySwap", -1, "MemorySwap"),
        ("memorySwappiness", 0, "MemorySwappiness"),
        ("shmSize", 1024, "ShmSize"),
        ("oomKillDisable", False, "OomKillDisable"),
        ("oomScoreAdj", 0, "OomScoreAdj"),
        ("pidsLimit", 0, "PidsLimit"),
        ("cpuSet", "0-1", "CpusetCpus"),
        ("cpuSet", "", "CpusetCpus"),
        ("cpuSetMems", "0", "CpusetMems"),
        ("cpuShares", 0, "CpuShares"),
        ("cpuPeriod", 1, "CpuPeriod"),
        ("cpuQuota", 1, "CpuQuota"),
        ("cpuRealtimePeriod", 1, "CpuRealtimePeriod"),
        ("cpuRealtimeRuntime", 1, "CpuRealtimeRuntime"),
        ("blkioWeight", 10, "BlkioWeight"),
        ("diskQuota", 1, "DiskQuota"),
        ("storageOpt", {"size": "1G"}, "StorageOpt"),
        ("securityOpt", ["a"], "SecurityOpt"),
        ("groupAdd", ["a"], "GroupAdd"),
        ("pidMode", "host", "PidMode"),
        ("ipcMode", "host", "IpcMode"),
        ("uts", "host", "UTSMode"),
        ("usernsMode", "host", "UsernsMode"),
        ("sysctls", {"a": "1"}, "Sysctls"),
        ("cgroup", "x", "Cgroup"),
        ("cgroupParent", "x", "CgroupParent"),
        ("runInit", True, "Init"),
        ("dns", ["1.1.1.1"], "Dns"),
        ("dnsSearch", ["a.example"], "DnsSearch"),
        ("dnsOpt", ["a"], "DnsOptions"),
        ("extraHosts", ["a:1.1.1.1"], "ExtraHosts"),
        ("tmpfs", {"/run": ""}, "Tmpfs"),
        ("volumeDriver", "nfs", "VolumeDriver"),
        ("publishAllPorts", True, "PublishAllPorts"),
        ("publishAllPorts", False, "PublishAllPorts"),
    ],
)
def test_host_config_renames(field, value, key):
    """A 3.10, A 4.7, A 4.8, A 4.9, A 4.15, A 4.17, A 4.18, A 4.21, A 4.23, B.1: zero is sent."""
    assert host_config({field: value}) == {key: value}


@pytest.mark.parametrize(
    ("field", "key"), [("privileged", "Privileged"), ("readOnly", "ReadonlyRootfs")]
)
@pytest.mark.parametrize(("value", "expected"), [(True, True), (False, False), ("true", False)])
def test_only_true_gives_rights(field, key, value, expected):
    """A 4.25, A 4.26: nothing but JSON's true makes a container privileged or read-only."""
    assert host_config({field: value}) == {key: expected}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"directory": "/old"}, "/old"),
        ({"workingDir": "/new"}, "/new"),
        ({"directory": "/old", "workingDir": "/new"}, "/new"),
    ],
)
def test_working_dir(fields, expected):
    """A 4.4: the older name of the working directory gives way to the newer."""
    assert body(fields)["WorkingDir"] == expected


@pytest.mark.parametrize(("milli_cpus", "shares"), [(1000, 1024), (500, 512), (1, 2)])
def test_reserved_processor_replaces_shares(milli_cpus, shares):
    """B.1: a reservation replaces the shares of the user and is never below 2."""
    made = host_config({"cpuShares": 7}, milliCpuReservation=milli_cpus)
    assert made == {"CpuShares": shares}


def test_nothing_reserved_forces_no_shares():
    """A 4.9, B.1: without a reservation the user's shares stay, without both there are none."""
    for nothing in ({}, {"milliCpuReservation": 0}, {"milliCpuReservation": None}):
        assert host_config({"cpuShares": 7}, **nothing) == {"CpuShares": 7}
        assert host_config(**nothing) == {}


def test_reserved_memory():
    """B.1: the memory that the scheduler reserved is told to the Engine, in bytes."""
    assert host_config(memoryReservation=1024) == {"MemoryReservation": 1024}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["NET_ADMIN"], ["NET_ADMIN"]),
        (["CAP_NET_ADMIN"], ["NET_ADMIN"]),
        (["cap_net_admin"], ["NET_ADMIN"]),
        (["net_admin"], ["NET_ADMIN"]),
        ([" Net_Admin "], ["NET_ADMIN"]),
        (["all"], ["ALL"]),
        ("MKNOD", ["MKNOD"]),
        (["MKNOD", "cap_mknod", "Mknod", "CHOWN"], ["MKNOD", "CHOWN"]),
        (["no_such"], ["NO_SUCH"]),
    ],
)
@pytest.mark.parametrize(("field", "key"), [("capAdd", "CapAdd"), ("capDrop", "CapDrop")])
def test_capabilities_go_in_one_form(field, key, names, expected):
    """A 4.14, W 13: any spelling becomes upper case without a prefix, each once."""
    assert host_config({field: names}) == {key: expected}


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ({"driver": "syslog", "config": {"tag": 1}}, {"Type": "syslog", "Config": {"tag": "1"}}),
        ({"driver": "none", "config": {}}, {"Type": "none", "Config": {}}),
        ({"driver": "none"}, {"Type": "none", "Config": {}}),
        ({"driver": "syslog"}, {"Type": "syslog", "Config": {}}),
        ({"driver": "local", "config": None}, {"Type": "local", "Config": {}}),
        ({"config": {"max-size": "1m"}}, {"Type": "", "Config": {"max-size": "1m"}}),
        ({"driver": None, "config": {"tag": "x"}}, {"Type": "", "Config": {"tag": "x"}}),
        ({"driver": "", "config": {}}, None),
        ({"driver": None, "config": None}, None),
        ({}, None),
    ],
)
def test_log_driver_and_options_go_over_as_far_as_given(log, expected):
    """A 4.20, W 24: a driver needs no options; options alone are for the default driver."""
    assert host_config({"logConfig": log}).get("LogConfig") == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"name": "always"}, {"Name": "always"}),
        (
            {"name": "on-failure", "maximumRetryCount": "2"},
            {"Name": "on-failure", "MaximumRetryCount": 2},
        ),
        (
            {"name": "on-failure", "maximumRetryCount": 0},
            {"Name": "on-failure", "MaximumRetryCount": 0},
        ),
        ({"name": "on-failure", "maximumRetryCount": None}, {"Name": "on-failure"}),
        ({}, None),
    ],
)
def test_restart_policy(policy, expected):
    """A 4.22: name and retry count go over as they are given."""
    assert host_config({"restartPolicy": policy}).get("RestartPolicy") == expected
