"""The client for Redis that bridge and worker share."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.connection import HiredisRespSerializer
from redis.retry import Retry

from cowpoke.master_connection import MasterConnection, MasterSSLConnection, refuses_writes
from cowpoke.redis_url import RedisUrl, read_redis_url
from cowpoke.replication import Replication
from cowpoke.sentinels import Address, SentinelAccess, Sentinels, sentinels_of
from cowpoke.settings import BrokerSettings

#: Longer than any blocking read of ours, shorter than anybody's patience with a dead connection.
SOCKET_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0
PROBE_TIMEOUT_S = 2.0
#: Idle time of a connection before it is tested. A subscription that broke silently is found by it.
HEALTH_CHECK_S = 15


class _BytesAsTheyWere(HiredisRespSerializer):
    """Writes commands; text that Redis gave us goes back as the bytes it was."""

    def pack(self, *args: Any) -> list[bytes]:  # noqa: ANN401 -- as redis-py calls it
        """Return the bytes of one command."""
        packed: list[bytes] = super().pack(*map(_bytes_if_text, args))
        return packed


def _bytes_if_text(value: Any) -> Any:  # noqa: ANN401 -- as redis-py takes it
    if not isinstance(value, str):
        return value
    try:
        return value.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        # Half a surrogate pair out of somebody's JSON: no key has that name.
        return value.encode(errors="surrogatepass")


class Client(redis.Redis):
    """A client for Redis, and how many replicas must have what it writes."""

    #: None when nothing waits for replicas.
    replication: Replication | None = None


def connect(
    settings: BrokerSettings,
    *,
    most_connections: int = 100,
    socket_timeout_s: float = SOCKET_TIMEOUT_S,
    retries: int = 3,
    health_check_s: int = HEALTH_CHECK_S,
) -> Client:
    """A pooled client for Redis; it repeats a call over a short hiccup and raises in an outage.

    Bytes that are no UTF-8 come as surrogates, and are written back as the bytes they were:
    somebody else may have written them, and one such value must not end a read of many.
    """
    url = read_redis_url(settings.redis_url.get_secret_value())
    sentinels = sentinels_for(settings, url)
    client: Any = Client.from_url(
        url.client_url,
        **_way(url, sentinels),
        decode_responses=True,
        encoding_errors="surrogateescape",
        command_packer=_BytesAsTheyWere(),
        max_connections=most_connections,
        socket_timeout=socket_timeout_s,
        socket_connect_timeout=min(CONNECT_TIMEOUT_S, socket_timeout_s),
        health_check_interval=health_check_s,
        # Every step of the ledger may be repeated: the second time finds it done.
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries),
        retry_on_error=[redis.ConnectionError, redis.TimeoutError],
    )
    if replicas := settings.replicas_to_wait_for:
        client.replication = Replication(replicas, sentinels)
    made: Client = client
    return made


@contextmanager
def every_server(settings: BrokerSettings, *, timeout_s: float) -> Iterator[list["redis.Redis"]]:
    """Yield a client for each server: the master, then its replicas. Nothing is repeated.

    What Redis does not copy to replicas, such as users, must be told to each. Errors:
    redis.RedisError when Sentinels are asked.
    """
    url = read_redis_url(settings.redis_url.get_secret_value())
    sentinels = sentinels_for(settings, url)
    addresses: list[Address | None] = [None]
    if sentinels is not None:
        addresses = [sentinels.master(), *sentinels.replicas()]
    options: dict[str, Any] = {
        "decode_responses": True,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
    }
    with ExitStack() as stack:
        clients = []
        for address in addresses:
            pool = redis.ConnectionPool.from_url(url.client_url, **options)
            if address is not None:
                pool.connection_kwargs["host"], pool.connection_kwargs["port"] = address
            clients.append(stack.enter_context(redis.Redis.from_pool(pool)))
        yield clients


def sentinels_for(settings: BrokerSettings, url: RedisUrl) -> Sentinels | None:
    """Return the Sentinels that REDIS_URL names; None when it names Redis itself."""
    if not url.sentinels:
        return None
    password = settings.sentinel_password
    return sentinels_of(
        SentinelAccess(
            addresses=url.sentinels,
            master=settings.sentinel_master or "",
            username=settings.sentinel_username,
            password=None if password is None else password.get_secret_value(),
            tls=url.ssl_options,
        )
    )


def _way(url: RedisUrl, sentinels: Sentinels | None) -> dict[str, Any]:
    """Return how redis-py reaches Redis, beside the url."""
    if url.socket_path is not None:
        return {}
    if sentinels is None:
        return {"socket_keepalive": True}
    kind = MasterConnection if url.ssl_options is None else MasterSSLConnection
    return {"socket_keepalive": True, "connection_class": kind, "sentinels": sentinels}


def probing(settings: BrokerSettings) -> redis.Redis:
    """Return a client of one connection that repeats nothing, with answers as texts; close it.

    Its calls raise redis.RedisError after `PROBE_TIMEOUT_S` at most per step of the connection.
    """
    url = read_redis_url(settings.redis_url.get_secret_value())
    client: redis.Redis = redis.Redis.from_url(
        url.client_url,
        **_way(url, sentinels_for(settings, url)),
        socket_timeout=PROBE_TIMEOUT_S,
        socket_connect_timeout=PROBE_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )
    return client


def probe(settings: BrokerSettings) -> None:
    """Ask Redis once whether it answers.

    Errors: redis.RedisError, as for `probing`.
    """
    with probing(settings) as client:
        client.ping()


def concerns_one_key(problem: Exception) -> bool:
    """Whether an error is about what lies in one key, and not about Redis as a whole.

    Redis answers errors too when it is out of memory, read-only or busy: those are an outage.
    """
    text = str(problem)
    if refuses_writes(problem):
        return False
    return isinstance(problem, redis.ResponseError) and (
        text.startswith("WRONGTYPE") or (text.startswith("ERR") and "user_script" in text)
    )


def answers(pipe: "redis.client.Pipeline", replication: Replication | None = None) -> list[Any]:
    """Run a pipeline; an answer that is about one key is the error itself.

    With `replication`, replicas have what it wrote. Errors: redis.RedisError for all others.
    """
    found = replication.execute(pipe) if replication else pipe.execute(raise_on_error=False)
    for answer in found:
        if isinstance(answer, Exception) and not concerns_one_key(answer):
            raise answer
    return found
