"""Where Redis is and what seals the content in it: the settings that bridge and worker share."""

from typing import Any

import redis
from cryptography.fernet import Fernet
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.retry import Retry

from cowpoke.redis_url import check_redis_url
from cowpoke.seal import ClusterKeyring, key_list

#: Longer than any blocking read of ours, shorter than anybody's patience with a dead connection.
SOCKET_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0
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
            "The cluster's secret, which seals payloads and results in Redis: a Fernet key, or "
            "several with commas between; the first one seals. The bridge needs it; a worker needs "
            "it or the HOST_KEY made from it."
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
        return checked_keys(key, make_one_with="cowpoke key")

    def cluster_keyring(self) -> ClusterKeyring:
        """Return the keys made from QUEUE_KEY; without it nothing is sealed."""
        key = self.queue_key
        return ClusterKeyring(*(key_list(key.get_secret_value()) if key else ()))


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


def connect(
    settings: BrokerSettings,
    *,
    most_connections: int = 100,
    socket_timeout_s: float = SOCKET_TIMEOUT_S,
    retries: int = 3,
) -> redis.Redis:
    """A pooled client for Redis; it repeats a call over a short hiccup and raises in an outage.

    Bytes that are no UTF-8 come as surrogates, and are written back as the bytes they were:
    somebody else may have written them, and one such value must not end a read of many.
    """
    return redis.Redis.from_url(
        settings.redis_url.get_secret_value(),
        decode_responses=True,
        encoding_errors="surrogateescape",
        max_connections=most_connections,
        socket_timeout=socket_timeout_s,
        socket_connect_timeout=min(CONNECT_TIMEOUT_S, socket_timeout_s),
        socket_keepalive=True,
        health_check_interval=15,
        # Every step of the ledger may be repeated: the second time finds it done.
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries),
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


def concerns_one_key(problem: Exception) -> bool:
    """Whether an error is about what lies in one key, and not about Redis as a whole.

    Redis answers errors too when it is out of memory, read-only or busy: those are an outage.
    """
    text = str(problem)
    return isinstance(problem, redis.ResponseError) and (
        text.startswith("WRONGTYPE") or (text.startswith("ERR") and "user_script" in text)
    )


def answers(pipe: "redis.client.Pipeline") -> list[Any]:
    """Run a pipeline; an answer that is about one key is the error itself.

    Errors: redis.RedisError for all others.
    """
    found = pipe.execute(raise_on_error=False)
    for answer in found:
        if isinstance(answer, Exception) and not concerns_one_key(answer):
            raise answer
    return found
