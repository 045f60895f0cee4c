"""`instance.data.fields`: the settings of a container by its user."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from worker.payload.base import (
    LISTED,
    MAPPED,
    Environment,
    Flag,
    NeededWhole,
    Payload,
    Text,
    TextMap,
    Texts,
    Whole,
    Words,
)


class LogConfig(Payload):
    """The log driver and its options."""

    driver: Text | None = None
    config: TextMap | None = None


class RestartPolicy(Payload):
    """When the Engine restarts the container."""

    name: Text | None = None
    maximum_retry_count: Whole = None


class Ulimit(Payload):
    """One ulimit of the container's processes."""

    name: Text = Field(min_length=1)
    soft: NeededWhole
    hard: NeededWhole


class DeviceOptions(Payload):
    """Limits of one block device; rates are per second."""

    read_iops: Whole = None
    write_iops: Whole = None
    read_bps: Whole = None
    write_bps: Whole = None
    weight: Whole = None


class InstanceFields(Payload):
    """The fields of a container by cattle's names; the tables in `worker.create` have the units."""

    image_uuid: Text | None = None

    # Command and process.
    command: Words = None
    #: Arguments of a command that is a text; older servers only.
    command_args: Texts = ()
    entry_point: Words = None
    environment: Environment = Field(default_factory=dict)
    labels: TextMap = Field(default_factory=dict)
    #: The older name of `workingDir`.
    directory: Text | None = None
    working_dir: Text | None = None
    user: Text | None = None
    group_add: Texts = ()
    tty: Flag = None
    stdin_open: Flag = None
    detach: Flag = None
    stop_signal: Text | None = None
    stop_timeout: Whole = None
    run_init: Flag = None
    restart_policy: RestartPolicy | None = None
    log_config: LogConfig | None = None
    health_cmd: Words = None
    health_interval: Whole = None
    health_timeout: Whole = None
    health_retries: Whole = None

    # Privileges.
    privileged: Flag = None
    read_only: Flag = None
    cap_add: Texts = ()
    cap_drop: Texts = ()
    security_opt: Texts = ()
    devices: Texts = ()
    pid_mode: Text | None = None
    ipc_mode: Text | None = None
    uts: Text | None = None
    userns_mode: Text | None = None
    sysctls: TextMap = Field(default_factory=dict)
    ulimits: Annotated[tuple[Ulimit, ...], LISTED] = ()
    cgroup: Text | None = None
    cgroup_parent: Text | None = None

    # Resources.
    memory: Whole = None
    memory_swap: Whole = None
    memory_swappiness: Whole = None
    shm_size: Whole = None
    oom_kill_disable: Flag = None
    oom_score_adj: Whole = None
    pids_limit: Whole = None
    cpu_set: Text | None = None
    cpu_set_mems: Text | None = None
    cpu_shares: Whole = None
    cpu_period: Whole = None
    cpu_quota: Whole = None
    cpu_realtime_period: Whole = None
    cpu_realtime_runtime: Whole = None
    blkio_weight: Whole = None
    blkio_device_options: Annotated[Mapping[str, DeviceOptions], MAPPED] = Field(
        default_factory=dict
    )
    disk_quota: Whole = None
    storage_opt: TextMap = Field(default_factory=dict)

    # Network and volumes.
    domain_name: Text | None = None
    dns: Texts = ()
    dns_search: Texts = ()
    dns_opt: Texts = ()
    extra_hosts: Texts = ()
    publish_all_ports: Flag = None
    data_volumes: Texts = ()
    volume_driver: Text | None = None
    tmpfs: TextMap = Field(default_factory=dict)

    #: Names of non-empty keys that are not read, sorted.
    unread: tuple[str, ...] = Field(default=(), alias="\0unread")

    @model_validator(mode="before")
    @classmethod
    def _note_unread(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        known = {field.alias for field in cls.model_fields.values()}
        unread = tuple(sorted(str(key) for key, item in value.items() if item and key not in known))
        return {**value, "\0unread": unread}
