"""The worker's settings: the environment, read once, validated, and never printed with secrets.

The variables have the names of python-agent (`CATTLE_*`) where it had one, Docker's names for the
Engine, and `WORKER_*` otherwise. Where we have a better name than python-agent, both work. An empty
variable counts as unset, as in python-agent.
"""

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from cowpoke.seal import HostKeyring, Keyring, key_list
from cowpoke.settings import BrokerSettings, checked_keys
from worker.engine.settings import EngineSettings
from worker.host.proxies import ProxySettings
from worker.host.settings import AgentSettings, CloudSettings, PingSettings, StateSettings
from worker.network.settings import NetworkSettings
from worker.storage.settings import StorageSettings


class WorkerSettings(
    ProxySettings,
    AgentSettings,
    EngineSettings,
    CloudSettings,
    StorageSettings,
    NetworkSettings,
    PingSettings,
    StateSettings,
    BrokerSettings,
):
    """All settings of a worker: its own here, the rest by concern in the base classes."""

    model_config = SettingsConfigDict(
        frozen=True,
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
        # The proxy variables differ only in case.
        case_sensitive=True,
    )

    host_key: SecretStr | None = Field(
        default=None,
        validation_alias="HOST_KEY",
        description="The key of this host alone, made from QUEUE_KEY by `cowpoke key host UUID`; "
        "used instead of it. Several with commas between while keys are changed.",
    )
    concurrency: int = Field(
        default=16,
        gt=0,
        le=1000,
        validation_alias=AliasChoices("WORKER_CONCURRENCY", "CATTLE_WORKERS"),
        description="Maximum number of container events at once.",
    )
    images_concurrency: int = Field(
        default=16,
        gt=0,
        le=1000,
        validation_alias="WORKER_IMAGES_CONCURRENCY",
        description="Maximum number of image events at once.",
    )
    control_concurrency: int = Field(
        default=8,
        gt=0,
        le=100,
        validation_alias="WORKER_CONTROL_CONCURRENCY",
        description="Maximum number of pings at once.",
    )
    drain_timeout_s: float = Field(
        default=30,
        ge=0,
        validation_alias="WORKER_DRAIN_TIMEOUT_S",
        description="Maximum time a stopping worker waits for running events; then they are "
        "requeued.",
    )
    container_events: bool = Field(
        default=True,
        validation_alias="WORKER_CONTAINER_EVENTS",
        description="`false`: cattle hears of containers that start, stop or crash by themselves "
        "only by pings, after some seconds.",
    )
    janitor_every_s: float = Field(
        default=600,
        ge=0,
        validation_alias="WORKER_JANITOR_EVERY_S",
        description="Interval between searches for orphans of crashes. 0: never.",
    )
    lock_wait_s: float = Field(
        default=2,
        gt=0,
        validation_alias="WORKER_LOCK_WAIT_S",
        description="Maximum time an event blocks a slot while its resource is locked; then it "
        "is requeued.",
    )
    flower_pings: int = Field(
        default=0,
        ge=0,
        validation_alias="WORKER_FLOWER_PINGS",
        description="Flower shows one ping in this many: 1 all, 100 one in a hundred, 0 only those "
        "that fail.",
    )
    debug: bool = Field(
        default=False, validation_alias="CATTLE_DEBUG", description="Log debug messages."
    )

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
