"""The settings that bridge and worker share: where Redis is, and the key that seals its content."""

from pathlib import Path

from cryptography.fernet import Fernet
from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cowpoke.environment import CREDENTIALS_VARIABLE
from cowpoke.seal import ClusterKeyring, key_list


class BrokerSettings(BaseSettings):
    """The broker's address and the key that seals payloads on it."""

    model_config = SettingsConfigDict(
        frozen=True, env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        validate_default=False,
        validation_alias="REDIS_URL",
        description="The broker; `rediss://` speaks TLS, `unix:///path?db=0` uses a socket, and "
        "`sentinel://h1:26379;sentinel://h2:26379/0` asks Sentinels for the master "
        "([docs/redis.md](docs/redis.md)). Options that redis-py and kombu both know "
        "(`?socket_timeout=5`) work. A password in it is never printed.",
    )
    sentinel_master: str | None = Field(
        default=None,
        validate_default=True,
        validation_alias="REDIS_SENTINEL_MASTER",
        description="With `sentinel://`: the name of the master in the Sentinels' configuration, "
        "such as `mymaster`.",
    )
    sentinel_username: str | None = Field(
        default=None,
        validation_alias="REDIS_SENTINEL_USERNAME",
        description="With `sentinel://`: the user with which Sentinels are asked. The login in "
        "REDIS_URL is for the master.",
    )
    sentinel_password: SecretStr | None = Field(
        default=None,
        validation_alias="REDIS_SENTINEL_PASSWORD",
        description="With `sentinel://`: the password with which Sentinels are asked.",
    )
    wait_replicas: int | None = Field(
        default=None,
        ge=0,
        le=10,
        validation_alias="REDIS_WAIT_REPLICAS",
        description="Number of replicas that must have an event or its outcome before it counts as "
        "stored. Default: 1 with `sentinel://`, else 0: nothing waits.",
    )
    queue_key: SecretStr | None = Field(
        default=None,
        validation_alias="QUEUE_KEY",
        description=(
            "The cluster's secret, which seals payloads and results in Redis: a Fernet key, or "
            "several with commas between; the first one seals. The bridge needs it; a worker needs "
            "it or the HOST_KEY made from it."
        ),
    )

    credentials_dir: Path | None = Field(
        default=None,
        validation_alias=CREDENTIALS_VARIABLE,
        description="Folder with one file per setting, named like its variable, for settings that "
        "are not in the environment; `cowpoke credentials` makes such folders.",
    )

    @field_validator("credentials_dir")
    @classmethod
    def _is_a_folder(cls, folder: Path | None) -> Path | None:
        if folder is not None and not folder.is_dir():
            raise ValueError("this folder does not exist, or may not be read")
        return folder

    @field_validator("redis_url")
    @classmethod
    def _is_a_redis_url(cls, url: SecretStr) -> SecretStr:
        # redis-py and kombu take long to import, and a command without Redis needs neither.
        from cowpoke.redis_url import check_redis_url  # noqa: PLC0415

        check_redis_url(url.get_secret_value())
        return url

    @field_validator("sentinel_master")
    @classmethod
    def _is_given_with_sentinels(cls, name: str | None, info: ValidationInfo) -> str | None:
        url = info.data.get("redis_url")
        if url is not None and _names_sentinels(url) and not name:
            raise ValueError(
                "it must be set with sentinel:// in REDIS_URL: the name behind `sentinel monitor` "
                "in the configuration of the Sentinels"
            )
        return name

    @property
    def replicas_to_wait_for(self) -> int:
        """Return how many replicas must have an event before it counts as stored."""
        if self.wait_replicas is None:
            return int(_names_sentinels(self.redis_url))
        return self.wait_replicas

    @field_validator("queue_key")
    @classmethod
    def _is_made_of_fernet_keys(cls, key: SecretStr | None) -> SecretStr | None:
        return checked_keys(key, make_one_with="cowpoke key")

    def cluster_keyring(self) -> ClusterKeyring:
        """Return the keys made from QUEUE_KEY; without it nothing is sealed."""
        key = self.queue_key
        return ClusterKeyring(*(key_list(key.get_secret_value()) if key else ()))


def _names_sentinels(url: SecretStr) -> bool:
    return url.get_secret_value().startswith("sentinel://")


def checked_keys(key: SecretStr | None, *, make_one_with: str) -> SecretStr | None:
    """Return a setting of keys as it is.

    Errors: ValueError when it is not made of Fernet keys.
    """
    for part in key_list(key.get_secret_value()) if key else ():
        try:
            Fernet(part)
        except ValueError:
            msg = (
                "wanted Fernet keys (32 bytes in url-safe base64) with commas between, found "
                f"something else (not shown); make one with: {make_one_with}"
            )
            raise ValueError(msg) from None
    return key
