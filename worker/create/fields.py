"""Fields that are only renamed for the Engine, and fields that are ignored.

Row numbers (A, B) refer to docs/parity.md.
"""

from worker.create.facts import Facts
from worker.create.fragment import Fragment, given
from worker.payload import Instance

#: cattle's field -> the Engine's key, beside `HostConfig`.
CONFIG_FIELDS = {
    "user": "User",
    "domain_name": "Domainname",
    "tty": "Tty",
    "stop_signal": "StopSignal",
    "stop_timeout": "StopTimeout",  # seconds
}

#: cattle's field -> the Engine's key in `HostConfig`.
HOST_CONFIG_FIELDS = {
    "memory": "Memory",  # bytes
    "memory_swap": "MemorySwap",  # bytes, memory included; -1 is unlimited
    "memory_swappiness": "MemorySwappiness",  # per cent
    "shm_size": "ShmSize",  # bytes
    "oom_kill_disable": "OomKillDisable",
    "oom_score_adj": "OomScoreAdj",
    "pids_limit": "PidsLimit",
    "cpu_set": "CpusetCpus",
    "cpu_set_mems": "CpusetMems",
    "cpu_period": "CpuPeriod",  # microseconds
    "cpu_quota": "CpuQuota",  # microseconds per period
    "cpu_realtime_period": "CpuRealtimePeriod",  # microseconds
    "cpu_realtime_runtime": "CpuRealtimeRuntime",  # microseconds
    "blkio_weight": "BlkioWeight",
    "disk_quota": "DiskQuota",  # bytes
    "storage_opt": "StorageOpt",
    "security_opt": "SecurityOpt",
    "group_add": "GroupAdd",
    "privileged": "Privileged",
    "read_only": "ReadonlyRootfs",
    "pid_mode": "PidMode",
    "uts": "UTSMode",
    "userns_mode": "UsernsMode",
    "cgroup": "Cgroup",
    "cgroup_parent": "CgroupParent",
    "run_init": "Init",
    "dns": "Dns",
    "dns_opt": "DnsOptions",
    "extra_hosts": "ExtraHosts",
    "tmpfs": "Tmpfs",
    "volume_driver": "VolumeDriver",
}

#: The minimum of the Engine.
LEAST_CPU_SHARES = 2

#: Fields for cattle itself, which do not affect the container.
BOOKKEEPING = frozenset(
    {
        "accountId",
        "agentId",
        "allocatedIpAddress",
        "build",
        "createIndex",
        "createOnly",
        "created",
        "dataVolumeMounts",
        "dataVolumesFrom",
        "deploymentUnitUuid",
        "dockerHostIp",
        "dockerIp",
        "dockerPorts",
        "expose",
        "healthCheck",
        "healthState",
        "hostname",
        "instanceLinks",
        "launchConfigName",
        "networkContainerId",
        "networkIds",
        "networkMode",
        "ports",
        "primaryIpAddress",
        "primaryNetworkId",
        "requestedHostId",
        "requestedIpAddress",
        "retainIp",
        "serviceId",
        "serviceIds",
        "stackId",
        "startOnCreate",
        "transitioningProgress",
        "version",
    }
)


#: Fields that Docker no longer supports; their users get a warning (A 4.19, B.1).
GONE = frozenset({"kernelMemory", "lxcConf"})


def plain_fields(instance: Instance, facts: Facts) -> Fragment:
    """Return the fields that are only renamed.

    Source: A 4.5 to 4.26 and B.1.
    """
    fields = instance.fields
    return Fragment(
        config=given({key: getattr(fields, name) for name, key in CONFIG_FIELDS.items()}),
        host_config=given({key: getattr(fields, name) for name, key in HOST_CONFIG_FIELDS.items()}),
    )


def working_dir(instance: Instance, facts: Facts) -> Fragment:
    """Return the working directory: `workingDir`, or `directory` of older servers (A 4.4)."""
    fields = instance.fields
    folder = fields.working_dir if fields.working_dir is not None else fields.directory
    return Fragment(config=given({"WorkingDir": folder}))


def reservations(instance: Instance, facts: Facts) -> Fragment:
    """Return the reservations of the scheduler: CPU shares and memory.

    Shape:  HostConfig.CpuShares, 1024 per core; HostConfig.MemoryReservation, bytes.
    Source: B.1: reserved thousandths of a core replace the user's shares. Without a reservation the
        shares stay unset; the Go agent set the minimum of 2 then.
    """
    shares = instance.fields.cpu_shares
    if instance.milli_cpu_reservation:
        shares = max(LEAST_CPU_SHARES, instance.milli_cpu_reservation * 1024 // 1000)
    return Fragment(
        host_config=given(
            {"CpuShares": shares, "MemoryReservation": instance.memory_reservation},
        )
    )


def ignored_fields(instance: Instance) -> tuple[str, ...]:
    """Return the names of non-empty fields that are ignored, for the log (A 4.31)."""
    return tuple(name for name in instance.fields.unread if name not in BOOKKEEPING)
