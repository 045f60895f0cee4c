"""Settings about the host: its state folder and identity, its pings, its scripts and containers.

Parts of `worker.settings.WorkerSettings`, which sets how the environment is read.
"""

from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode

_CATTLE_HOME = Path("/var/lib/cattle")
_RANCHER_HOME = Path("/var/lib/rancher")
_HOST_KEY = Path("etc/ssl/host.key")


def _labels(text: object) -> object:
    return dict(parse_qsl(text, keep_blank_values=True)) if isinstance(text, str) else text


def _is_true(text: object) -> object:
    """As the old agent reads a switch: any other text turns it off."""
    return text.strip().lower() in {"true", "1", "yes", "on"} if isinstance(text, str) else text


class StateSettings(BaseSettings):
    """The folders of the worker, and who this host is."""

    home: Path = Field(
        default=_CATTLE_HOME,
        validation_alias="CATTLE_HOME",
        description="Base folder of the worker.",
    )
    state_dir_override: Path | None = Field(
        default=None,
        validation_alias="CATTLE_STATE_DIR",
        description="State folder (uuids, locks, pulls). Default: `CATTLE_HOME`.",
    )
    lock_dir_override: Path | None = Field(
        default=None,
        validation_alias="CATTLE_LOCK_DIR",
        description="Folder of the lock file that all workers of a host share. Default: the "
        "state folder.",
    )
    build_dir_override: Path | None = Field(
        default=None,
        validation_alias="CATTLE_BUILD_DIR",
        description="Folder for the files of image builds. Default: `builds` in `CATTLE_HOME`.",
    )
    docker_uuid: str | None = Field(
        default=None,
        validation_alias="CATTLE_DOCKER_UUID",
        description="Uuid of the host. Default: generated once and stored in the state folder.",
    )
    docker_uuid_file_override: Path | None = Field(
        default=None,
        validation_alias="CATTLE_DOCKER_UUID_FILE",
        description="File with the uuid of the host. Default: `.docker_uuid` in the state folder.",
    )
    physical_host_uuid: str | None = Field(
        default=None,
        validation_alias="CATTLE_PHYSICAL_HOST_UUID",
        description="Uuid of the physical host. Default: generated once and stored.",
    )
    physical_host_uuid_file_override: Path | None = Field(
        default=None,
        validation_alias="CATTLE_PHYSICAL_HOST_UUID_FILE",
        description="File with that uuid. Default: `.physical_host_uuid` in the state folder.",
    )
    hostname: str | None = Field(
        default=None,
        validation_alias="CATTLE_HOSTNAME",
        description="Name of the host in cattle. Default: what `hostname -f` says on the machine.",
    )
    agent_ip: str | None = Field(
        default=None,
        validation_alias="CATTLE_AGENT_IP",
        description="Address of this host, reported by pings. Default: the one that cattle saw "
        "when the host joined.",
    )
    host_key_file_override: Path | None = Field(
        default=None,
        validation_alias="CATTLE_HOST_KEY_FILE",
        description="File with the RSA key of this host, with which cattle encrypts Rancher's "
        "secrets. Default: `etc/ssl/host.key` beside a state folder named `state`, "
        "`/var/lib/rancher/etc/ssl/host.key` for the state folder `/var/lib/cattle`, otherwise in "
        "the state folder.",
    )
    prepare_host: bool = Field(
        default=True,
        validation_alias="WORKER_PREPARE_HOST",
        description="Load the kernel modules of Rancher's networks and share the folders of its "
        "storage drivers when a worker starts, if it has the right.",
    )
    docker_host_ip: str | None = Field(
        default=None,
        validation_alias="CATTLE_DOCKER_HOST_IP",
        description="Address of published ports. Default: `CATTLE_AGENT_IP`.",
    )

    @property
    def state_dir(self) -> Path:
        """The folder of uuids, locks and pull states; shared by all workers of one host."""
        return self.state_dir_override or self.home

    @property
    def lock_dir(self) -> Path:
        """The folder of the lock file; shared by all workers of one host."""
        return self.lock_dir_override or self.state_dir

    @property
    def build_dir(self) -> Path:
        """The folder for the files of image builds."""
        return self.build_dir_override or self.home / "builds"

    @property
    def docker_uuid_file(self) -> Path:
        """The file with the uuid of this host."""
        return self.docker_uuid_file_override or self.state_dir / ".docker_uuid"

    @property
    def physical_host_uuid_file(self) -> Path:
        """The file with the uuid of the physical host."""
        return self.physical_host_uuid_file_override or self.state_dir / ".physical_host_uuid"

    @property
    def host_key_file(self) -> Path:
        """The file with the private key of this host.

        Rancher's storage driver for secrets reads `/var/lib/rancher/etc/ssl/host.key`. A state
        folder elsewhere is one of several on a machine, whose hosts must not share a key.
        """
        if self.host_key_file_override is not None:
            return self.host_key_file_override
        if self.state_dir == _CATTLE_HOME:
            return _RANCHER_HOME / _HOST_KEY
        is_ranchers = self.state_dir.name == "state"
        return (self.state_dir.parent if is_ranchers else self.state_dir) / _HOST_KEY


class CloudSettings(BaseSettings):
    """How to find out which cloud this machine is in."""

    detect_cloud: Annotated[bool, BeforeValidator(_is_true)] = Field(
        default=True,
        validation_alias="CATTLE_DETECT_CLOUD_PROVIDER",
        description="Ask the metadata service of the cloud once for its name, region and zone, "
        "which become labels of the host.",
    )
    metadata_url: str = Field(
        default="http://169.254.169.254",
        pattern="^https?://",
        validation_alias="WORKER_METADATA_URL",
        description="Metadata service of AWS, Azure, Google, OpenStack and DigitalOcean.",
    )
    aliyun_metadata_url: str = Field(
        default="http://100.100.100.200",
        pattern="^https?://",
        validation_alias="WORKER_ALIYUN_METADATA_URL",
        description="Metadata service of Alibaba Cloud.",
    )
    cloud_retry_s: float = Field(
        default=30,
        gt=0,
        le=60,
        validation_alias="WORKER_CLOUD_RETRY_S",
        description="Time between two rounds of these questions; there are at most 6 rounds.",
    )


class PingSettings(BaseSettings):
    """What pings report of this host."""

    host_labels: Annotated[dict[str, str], NoDecode, BeforeValidator(_labels)] = Field(
        default_factory=dict,
        validation_alias="CATTLE_HOST_LABELS",
        description="Labels of a new host, as a query string: `zone=a&disk=ssd`.",
    )
    scheduler_ips: str | None = Field(
        default=None,
        validation_alias="CATTLE_SCHEDULER_IPS",
        description="Addresses that cattle's scheduler may use; becomes a label of a new host.",
    )
    scheduler_require_any: str | None = Field(
        default=None,
        validation_alias="CATTLE_SCHEDULER_REQUIRE_ANY",
        description="Labels of which containers on this host need one; becomes a label of a new "
        "host.",
    )
    memory_bytes: int | None = Field(
        default=None,
        ge=0,
        validation_alias="CATTLE_MEMORY_OVERRIDE",
        description="Memory for the scheduler, in bytes. Default: all of the host.",
    )
    milli_cpu: int | None = Field(
        default=None,
        ge=0,
        validation_alias="CATTLE_MILLI_CPU_OVERRIDE",
        description="CPU for the scheduler, in thousandths of a core. Default: all of the host.",
    )
    local_storage_mb: int | None = Field(
        default=None,
        ge=0,
        validation_alias="CATTLE_LOCAL_STORAGE_MB_OVERRIDE",
        description="Disk space for the scheduler, in MB. Default: the free space.",
    )
    agent_image: str | None = Field(
        default=None,
        validation_alias="RANCHER_AGENT_IMAGE",
        description="Image of this host's agent; becomes a label of the host.",
    )
    ping_enabled: bool = Field(
        default=True,
        validation_alias="CATTLE_PING_ENABLED",
        description="`false`: replies to pings are empty.",
    )
    host_api_proxy: str | None = Field(
        default=None,
        validation_alias="CATTLE_HOST_API_PROXY",
        description="Reported to cattle as `apiProxy` of the host.",
    )


class AgentSettings(BaseSettings):
    """What containers and scripts of this host get."""

    config_url: str | None = Field(
        default=None,
        validation_alias="CATTLE_CONFIG_URL",
        description="cattle's URL for agent instances. Default: `CATTLE_URL`.",
    )
    cattle_url: str | None = Field(
        default=None,
        validation_alias="CATTLE_URL",
        description="cattle's URL for containers; the worker itself never calls it.",
    )
    api_proxy_port: int = Field(
        default=9342,
        gt=0,
        lt=65536,
        validation_alias="CATTLE_API_PROXY_LISTEN_PORT",
        description="Port for agent instances when the config URL points to localhost.",
    )
    resolv_conf: Path = Field(
        default=Path("/etc/resolv.conf"),
        validation_alias="WORKER_RESOLV_CONF",
        description="The host's resolv.conf, read for search domains.",
    )
    config_script: Path | None = Field(
        default=None,
        validation_alias=AliasChoices("WORKER_CONFIG_SCRIPT", "CATTLE_CONFIG_SCRIPT"),
        description="Script that `config.update` runs with the names of the items. Default: "
        "nothing runs.",
    )
    config_update_pyagent: bool = Field(
        default=False,
        validation_alias="CATTLE_CONFIG_UPDATE_PYAGENT",
        description="`true`: the script also gets the item `pyagent`, the program of the old "
        "agent.",
    )
    access_key: str | None = Field(
        default=None,
        validation_alias="CATTLE_ACCESS_KEY",
        description="Passed to the config script, otherwise unused.",
    )
    secret_key: SecretStr | None = Field(
        default=None,
        validation_alias="CATTLE_SECRET_KEY",
        description="Passed to the config script, otherwise unused.",
    )
    delegate_events_dir: str = Field(
        default="/var/lib/cattle/events",
        pattern="^/.*[^/]$",
        validation_alias="WORKER_DELEGATE_EVENTS_DIR",
        description="Folder in agent containers with the scripts that `delegate.request` runs.",
    )
    script_timeout_s: float = Field(
        default=120,
        gt=0,
        validation_alias="WORKER_SCRIPT_TIMEOUT_S",
        description="Maximum runtime of the config script and of scripts in containers.",
    )
