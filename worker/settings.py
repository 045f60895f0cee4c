"""The worker's settings: the environment, read once, checked whole, and never printed with secrets.

The names are python-agent's (`CATTLE_*`) where it had one, Docker's for the Engine, and `WORKER_*`
for what is new; where we have a better name than python-agent's, both work. Empty text counts as
unset, as it did there.
"""

from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from cowpoke.broker import BrokerSettings, checked_keys
from cowpoke.seal import HostKeyring, Keyring, key_list
from worker.host.proxies import ProxySettings


def _labels(text: object) -> object:
    return dict(parse_qsl(text, keep_blank_values=True)) if isinstance(text, str) else text


def _words(text: object) -> object:
    return tuple(text.replace(",", " ").split()) if isinstance(text, str) else text


class WorkerSettings(BrokerSettings, ProxySettings):
    """Everything a worker process may be told from outside."""

    model_config = SettingsConfigDict(
        frozen=True,
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
        # The proxies have variables that differ in their case only.
        case_sensitive=True,
    )

    host_key: SecretStr | None = Field(
        default=None,
        validation_alias="HOST_KEY",
        description="The key of this host alone, made from QUEUE_KEY by `cowpoke key host UUID`; "
        "used instead of it. Several with commas between while keys are changed.",
    )
    home: Path = Field(
        default=Path("/var/lib/cattle"),
        validation_alias="CATTLE_HOME",
        description="Base folder of the worker.",
    )
    state_dir_override: Path | None = Field(
        default=None,
        validation_alias="CATTLE_STATE_DIR",
        description="State folder (uuids, locks, pulls); `CATTLE_HOME` when not given.",
    )
    lock_dir_override: Path | None = Field(
        default=None,
        validation_alias="CATTLE_LOCK_DIR",
        description="Folder of the lock file all workers of a host share; else the state folder.",
    )
    build_dir_override: Path | None = Field(
        default=None,
        validation_alias="CATTLE_BUILD_DIR",
        description="Folder for what image builds fetch; `builds` in `CATTLE_HOME` when not given.",
    )
    docker_uuid: str | None = Field(
        default=None,
        validation_alias="CATTLE_DOCKER_UUID",
        description="The host's uuid; made once and kept in the state folder when not given.",
    )
    docker_uuid_file_override: Path | None = Field(
        default=None,
        validation_alias="CATTLE_DOCKER_UUID_FILE",
        description="Where the host's uuid is kept; `.docker_uuid` in the state folder if unset.",
    )
    physical_host_uuid: str | None = Field(
        default=None,
        validation_alias="CATTLE_PHYSICAL_HOST_UUID",
        description="The physical host's uuid; made once and kept when not given.",
    )
    physical_host_uuid_file_override: Path | None = Field(
        default=None,
        validation_alias="CATTLE_PHYSICAL_HOST_UUID_FILE",
        description="Where that is kept; `.physical_host_uuid` in the state folder if unset.",
    )
    hostname: str | None = Field(
        default=None,
        validation_alias="CATTLE_HOSTNAME",
        description="The name cattle shows; the machine's own when not given.",
    )
    agent_ip: str | None = Field(
        default=None,
        validation_alias="CATTLE_AGENT_IP",
        description="This host's address, reported by ping.",
    )
    docker_host_ip: str | None = Field(
        default=None,
        validation_alias="CATTLE_DOCKER_HOST_IP",
        description="Address of published ports; `CATTLE_AGENT_IP` when not given.",
    )
    host_labels: Annotated[dict[str, str], NoDecode, BeforeValidator(_labels)] = Field(
        default_factory=dict,
        validation_alias="CATTLE_HOST_LABELS",
        description="Labels a new host gets, as query text: `zone=a&disk=ssd`.",
    )
    scheduler_ips: str | None = Field(
        default=None,
        validation_alias="CATTLE_SCHEDULER_IPS",
        description="Addresses cattle's scheduler may use, as a label of a new host.",
    )
    scheduler_require_any: str | None = Field(
        default=None,
        validation_alias="CATTLE_SCHEDULER_REQUIRE_ANY",
        description="Labels of which containers here need one, as a label of a new host.",
    )
    memory_bytes: int | None = Field(
        default=None,
        ge=0,
        validation_alias="CATTLE_MEMORY_OVERRIDE",
        description="Memory the scheduler may give away, in bytes; all of the host's if unset.",
    )
    milli_cpu: int | None = Field(
        default=None,
        ge=0,
        validation_alias="CATTLE_MILLI_CPU_OVERRIDE",
        description="Thousandths of processors the scheduler may give away; all if unset.",
    )
    local_storage_mb: int | None = Field(
        default=None,
        ge=0,
        validation_alias="CATTLE_LOCAL_STORAGE_MB_OVERRIDE",
        description="Disk space the scheduler may give away, in MB; what is free if unset.",
    )
    agent_image: str | None = Field(
        default=None,
        validation_alias="RANCHER_AGENT_IMAGE",
        description="Image this host's agent runs from, as a label of the host.",
    )
    ping_enabled: bool = Field(
        default=True,
        validation_alias="CATTLE_PING_ENABLED",
        description="`false`: pings are answered with nothing in them.",
    )
    host_api_proxy: str | None = Field(
        default=None,
        validation_alias="CATTLE_HOST_API_PROXY",
        description="Reported to cattle as the host's `apiProxy`.",
    )
    config_url: str | None = Field(
        default=None,
        validation_alias="CATTLE_CONFIG_URL",
        description="cattle's url for agent instances; `CATTLE_URL` when not given.",
    )
    cattle_url: str | None = Field(
        default=None,
        validation_alias="CATTLE_URL",
        description="cattle's url; the worker never calls it, containers are told of it.",
    )
    api_proxy_port: int = Field(
        default=9342,
        gt=0,
        lt=65536,
        validation_alias="CATTLE_API_PROXY_LISTEN_PORT",
        description="Port told to agent instances when the config url is on localhost.",
    )
    resolv_conf: Path = Field(
        default=Path("/etc/resolv.conf"),
        validation_alias="WORKER_RESOLV_CONF",
        description="The host's resolv.conf, for search domains.",
    )
    config_script: Path | None = Field(
        default=None,
        validation_alias=AliasChoices("WORKER_CONFIG_SCRIPT", "CATTLE_CONFIG_SCRIPT"),
        description="Runs on config.update with the items' names; nothing is run when not given.",
    )
    config_update_pyagent: bool = Field(
        default=False,
        validation_alias="CATTLE_CONFIG_UPDATE_PYAGENT",
        description="`true`: that script also gets the item `pyagent`, the old agent's program.",
    )
    access_key: str | None = Field(
        default=None,
        validation_alias="CATTLE_ACCESS_KEY",
        description="Handed to that script, and used for nothing else.",
    )
    secret_key: SecretStr | None = Field(
        default=None,
        validation_alias="CATTLE_SECRET_KEY",
        description="Handed to that script, and used for nothing else.",
    )
    delegate_events_dir: str = Field(
        default="/var/lib/cattle/events",
        pattern="^/.*[^/]$",
        validation_alias="WORKER_DELEGATE_EVENTS_DIR",
        description="Folder, in agent containers, of the scripts that delegate.request runs.",
    )
    script_timeout_s: float = Field(
        default=120,
        gt=0,
        validation_alias="WORKER_SCRIPT_TIMEOUT_S",
        description="How long the config script, or a script in a container, may run.",
    )
    docker_enabled: bool = Field(
        default=True,
        validation_alias="CATTLE_DOCKER_ENABLED",
        description="`false`: events about containers are refused, pings name no resources.",
    )
    docker_required: bool = Field(
        default=False,
        validation_alias="CATTLE_DOCKER_REQUIRED",
        description="`true`: no start without the Engine; else events wait for it to come.",
    )
    docker_host: str = Field(
        default="unix:///var/run/docker.sock",
        validation_alias=AliasChoices("CATTLE_DOCKER_URL_BASE", "DOCKER_HOST"),
        description="The Engine, as the docker command reads it.",
    )
    docker_tls_verify: Annotated[bool, BeforeValidator(bool)] = Field(
        default=False,
        validation_alias="DOCKER_TLS_VERIFY",
        description="Any text: verify the Engine's certificate.",
    )
    docker_cert_path: Path | None = Field(
        default=None,
        validation_alias="DOCKER_CERT_PATH",
        description="Folder with ca.pem, cert.pem and key.pem for the Engine.",
    )
    docker_api_version: str | None = Field(
        default=None,
        validation_alias=AliasChoices(
            "CATTLE_DOCKER_API_VERSION", "CATTLE_DOCKER_STORAGE_API_VERSION"
        ),
        description="Override of the Engine API version, which is negotiated when not given.",
    )
    concurrency: int = Field(
        default=16,
        gt=0,
        le=1000,
        validation_alias=AliasChoices("WORKER_CONCURRENCY", "CATTLE_WORKERS"),
        description="Slots for container work.",
    )
    images_concurrency: int = Field(
        default=16,
        gt=0,
        le=1000,
        validation_alias="WORKER_IMAGES_CONCURRENCY",
        description="Slots for image work.",
    )
    control_concurrency: int = Field(
        default=8,
        gt=0,
        le=100,
        validation_alias="WORKER_CONTROL_CONCURRENCY",
        description="Slots for pings.",
    )
    drain_timeout_s: float = Field(
        default=30,
        ge=0,
        validation_alias="WORKER_DRAIN_TIMEOUT_S",
        description="How long a stopping worker finishes what runs before it gives it back.",
    )
    engine_timeout_s: float = Field(
        default=60,
        gt=0,
        validation_alias="WORKER_ENGINE_TIMEOUT_S",
        description="How long one call to the Engine may take, within the time of its event "
        "(stops and pulls have their own).",
    )
    engine_concurrency: int = Field(
        default=0,
        ge=0,
        le=1000,
        validation_alias="WORKER_ENGINE_CONCURRENCY",
        description="Most creates, starts, stops and removals at once on this host; "
        "0 is no limit, but 1 on devicemapper.",
    )
    ping_engine_timeout_s: float = Field(
        default=2,
        gt=0,
        validation_alias="WORKER_PING_ENGINE_TIMEOUT_S",
        description="How long a ping waits for the Engine's container list before it goes without.",
    )
    pull_idle_timeout_s: float = Field(
        default=90,
        gt=0,
        validation_alias="WORKER_PULL_IDLE_TIMEOUT_S",
        description="A pull without any progress for this long is ended with an error.",
    )
    build_idle_timeout_s: float = Field(
        default=600,
        gt=0,
        validation_alias="WORKER_BUILD_IDLE_TIMEOUT_S",
        description="An image build without any output for this long is ended with an error.",
    )
    build_most_bytes: int = Field(
        default=512 * 1024 * 1024,
        gt=0,
        validation_alias="WORKER_BUILD_MOST_BYTES",
        description="Largest tar file that is fetched for an image build.",
    )
    build_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = Field(
        default=(),
        validation_alias="WORKER_BUILD_HOSTS",
        description="Hosts to build images from, such as `github.com,*.example.org`; "
        "any but link-local addresses when not given.",
    )
    janitor_every_s: float = Field(
        default=600,
        ge=0,
        validation_alias="WORKER_JANITOR_EVERY_S",
        description="How often a worker looks for what crashes left; 0 is never.",
    )
    lock_wait_s: float = Field(
        default=2,
        gt=0,
        validation_alias="WORKER_LOCK_WAIT_S",
        description="How long an event waits in its slot for a busy resource before it requeues.",
    )

    debug: bool = Field(default=False, validation_alias="CATTLE_DEBUG", description="Log more.")

    @field_validator("host_key")
    @classmethod
    def _is_made_of_host_keys(cls, key: SecretStr | None) -> SecretStr | None:
        return checked_keys(key, make_one_with="cowpoke key host UUID")

    @property
    def is_sealed(self) -> bool:
        """Whether a key is set, and nothing lies in Redis in clear."""
        return self.host_key is not None or self.queue_key is not None

    def keyring(self) -> Keyring:
        """Return the keys of this host: HOST_KEY, or what QUEUE_KEY gives."""
        if self.host_key is not None:
            return HostKeyring(*key_list(self.host_key.get_secret_value()))
        return self.cluster_keyring()

    @property
    def state_dir(self) -> Path:
        """Where uuids, locks and pull states live; shared by all workers of one host."""
        return self.state_dir_override or self.home

    @property
    def lock_dir(self) -> Path:
        """Where the lock file lies; shared by all workers of one host."""
        return self.lock_dir_override or self.state_dir

    @property
    def build_dir(self) -> Path:
        """Where an image build keeps what it fetched."""
        return self.build_dir_override or self.home / "builds"

    @property
    def docker_uuid_file(self) -> Path:
        """Where this host's uuid is kept."""
        return self.docker_uuid_file_override or self.state_dir / ".docker_uuid"

    @property
    def physical_host_uuid_file(self) -> Path:
        """Where the physical host's uuid is kept."""
        return self.physical_host_uuid_file_override or self.state_dir / ".physical_host_uuid"
