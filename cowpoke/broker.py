"""Where Redis is and what seals the payloads in it: the settings bridge and worker share."""

import redis
from cryptography.fernet import Fernet
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.retry import Retry

from cowpoke.redis_url import check_redis_url

#: Longer than any blocking read of ours, shorter than anybody's patience with a dead connection.
SOCKET_TIMEOUT_S = 5.0
PROBE_TIMEOUT_S = 2.0


class BrokerSettings(BaseSettings):
    """The broker's address and the key that seals payloads on it."""

    model_config = SettingsConfigDict(
        frozen=True, env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        validation_alias="REDIS_URL",
        description="The broker; `rediss://` speaks TLS. Options that redis-py and kombu both know "
        "(`?socket_timeout=5`) work. A password in it is never printed.",
    )
    queue_key: SecretStr | None = Field(
        default=None,
        validation_alias="QUEUE_KEY",
        description=(
            "Seals payloads and results in Redis: a Fernet key, or several with commas between, "
            "newest first. The same for the bridge and all workers."
        ),
    )

    @field_validator("redis_url")
    @classmethod
    def _is_a_redis_url(cls, url: SecretStr) -> SecretStr:
        check_redis_url(url.get_secret_value())
        return url

    @field_validator("queue_key")
    @classmethod
    def _is_made_of_fernet_keys(cls, key: SecretStr | None) -> SecretStr | None:
        for part in key.get_secret_value().split(",") if key else ():
            try:
                Fernet(part.strip())
            except ValueError:
                msg = (
                    "wanted Fernet keys (32 bytes in url-safe base64) with commas between, found "
                    "something else (not shown); make one with: python -m bridge key"
                )
                raise ValueError(msg) from None
        return key


def connect(settings: BrokerSettings, *, most_connections: int = 100) -> redis.Redis:
    """A pooled client for Redis; it repeats a call over a short hiccup and raises in an outage."""
    return redis.Redis.from_url(
        settings.redis_url.get_secret_value(),
        decode_responses=True,
        max_connections=most_connections,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=2.0,
        socket_keepalive=True,
        health_check_interval=15,
        # Every step of the ledger may be repeated: the second time finds it done.
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 3),
        retry_on_error=[redis.ConnectionError, redis.TimeoutError],
    )


def probe(settings: BrokerSettings) -> None:
    """Ask Redis once whether it answers, without repeating anything.

    Errors: redis.RedisError after `PROBE_TIMEOUT_S` at most per step of the connection.
    """
    client = redis.Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=PROBE_TIMEOUT_S,
        socket_connect_timeout=PROBE_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    with client:
        client.ping()
