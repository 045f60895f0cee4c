"""Check `REDIS_URL` at start, and split it into what redis-py and kombu each accept.

redis-py takes options in the query of the url. kombu takes them in its transport options, and TLS
options in a mapping of their own. An option is accepted when both libraries know it.

| url | way to Redis |
|---|---|
| `redis://[user:password@]host:port/db` | TCP |
| `rediss://...` | TCP with TLS |
| `unix://[user:password@]/path?db=0`, `redis+socket:///path?virtual_host=0` | a unix socket |
| `sentinel://[user:password@]h1:26379;sentinel://h2:26379/db` | the master that Sentinels name |
"""

import math
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote

import redis
from kombu.connection import Connection
from kombu.transport.redis import Channel

from cowpoke.redis_places import DIRECT, SENTINEL, SOCKETS, Place, read_place

#: Shorter than a blocking read of ours, and every read would time out.
SHORTEST_TIMEOUT_S = 1.0
LONGEST_TIMEOUT_S = 3600.0

_TIMEOUTS = ("socket_timeout", "socket_connect_timeout")
#: A bridge with fewer connections than 4 cannot start; with 10 nothing waits for one under load.
_COUNTS = {"max_connections": 10, "health_check_interval": 0}
#: Not refused by redis-py, although it can do nothing with them as text.
_NO_TEXT = re.compile("socket_keepalive_options|.*_ocsp.*")
_ENCODE = "percent-encode special characters in the password (`[` is %5B, `@` is %40, `/` is %2F)"
_LANES_HOST = "redis"


@dataclass(frozen=True, kw_only=True, slots=True)
class RedisUrl:
    """The parts of a checked url as redis-py and kombu take them."""

    #: For redis-py. Behind Sentinels, host and port are those of the first one.
    client_url: str = field(repr=False)
    #: For kombu's own transports, without options; with all Sentinels.
    broker_url: str = field(repr=False)
    #: For the transport of the lanes: login and database alone count when `sentinels` or
    #: `socket_path` says where Redis is.
    lane_url: str = field(repr=False)
    transport_options: Mapping[str, Any] = field(repr=False)
    #: None without TLS.
    ssl_options: Mapping[str, Any] | None = field(repr=False)
    #: Host and port of each Sentinel; empty without.
    sentinels: tuple[tuple[str, int], ...] = ()
    #: None when Redis is reached by TCP.
    socket_path: str | None = None


def check_redis_url(url: str) -> RedisUrl:
    """Construct what redis-py and kombu make of a url, without a connection.

    Errors: ValueError with one line that contains no value of the url.
    """
    read = read_redis_url(url)
    _construct(redis.ConnectionPool.from_url(read.client_url))
    connection: Any = Connection(  # type: ignore[no-untyped-call]
        read.broker_url,
        ssl=read.ssl_options or False,
        transport_options=dict(read.transport_options),
    )
    connection.release()
    return read


def read_redis_url(url: str) -> RedisUrl:
    """Split a url, without reading the files that it names.

    Errors: ValueError with one line that contains no value of the url.
    """
    place = read_place(url)
    names = _option_names(place.query)
    for name in names:
        _check_name(name, place)
    uses_tls = place.scheme == "rediss" or any(name.startswith("ssl_") for name in names)
    client_url = _client_url(place, uses_tls=uses_tls)
    try:
        pool = redis.ConnectionPool.from_url(client_url)
    except ValueError as error:
        # redis-py names the option, and not its value.
        raise ValueError(str(error).rstrip(".").lower()) from None
    options = {"max_connections": pool.max_connections, **pool.connection_kwargs}
    typed = {name: options[name] for name in names}
    _check_numbers(typed)
    tls = {name: value for name, value in typed.items() if name.startswith("ssl_")}
    return RedisUrl(
        client_url=client_url,
        broker_url=_broker_url(place),
        lane_url=f"redis://{place.login}{_LANES_HOST}/{place.database}"
        if place.scheme not in DIRECT
        else _broker_url(place),
        transport_options={name: typed[name] for name in typed if name not in tls},
        # kombu uses TLS only when this mapping is not empty.
        ssl_options={"ssl_cert_reqs": "required", **tls} if uses_tls else None,
        sentinels=place.addresses if place.scheme == SENTINEL else (),
        socket_path=place.path,
    )


def _client_url(place: Place, *, uses_tls: bool) -> str:
    if place.path is not None:
        options = f"&{place.query}" if place.query else ""
        return f"unix://{place.login}{quote(place.path)}?db={place.database}{options}"
    scheme = "rediss" if uses_tls else "redis"
    query = f"?{place.query}" if place.query else ""
    return f"{scheme}://{place.login}{place.hosts[0]}/{place.database}{query}"


def _broker_url(place: Place) -> str:
    if place.path is not None:
        # kombu would take the first letter of the path for a host.
        return f"redis+socket://{place.login}{quote(place.path)}?virtual_host={place.database}"
    # kombu goes through the list when a connection fails, and takes login and database of each.
    return ";".join(
        f"{place.scheme}://{place.login}{host}/{place.database}" for host in place.hosts
    )


def _option_names(query: str) -> list[str]:
    if not query:
        return []
    try:
        given = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        given = []
    names = [name for name, value in given if value]
    if not given or len(set(names)) < len(given):
        raise ValueError(
            f"options must be written as ?name=value&name=value, each of them once; {_ENCODE}"
        )
    return names


def _check_name(name: str, place: Place) -> None:
    # What is no plain word may be a part of a password.
    shown = f"option {name}" if re.fullmatch(r"[a-z_]{1,40}", name) else "one of the options"
    if _NO_TEXT.fullmatch(name):
        raise ValueError(f"{shown} cannot be given as text")
    if name.startswith("ssl_"):
        if place.scheme not in {"rediss", SENTINEL}:
            raise ValueError(f"{shown} needs rediss:// or sentinel://")
    elif name not in Channel.from_transport_options:
        raise ValueError(f"{shown} is not known to both redis-py and kombu; remove it")
    elif place.scheme in SOCKETS and name.startswith("socket_keepalive"):
        raise ValueError(f"{shown} is of no use for a unix socket; remove it")


def _check_numbers(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if name in _TIMEOUTS and not SHORTEST_TIMEOUT_S <= value <= LONGEST_TIMEOUT_S:
            raise ValueError(
                f"option {name} must be from {SHORTEST_TIMEOUT_S:g} to {LONGEST_TIMEOUT_S:g} s"
            )
        if name in _COUNTS and not _COUNTS[name] <= value < math.inf:
            raise ValueError(f"option {name} must be at least {_COUNTS[name]}")


def _construct(pool: redis.ConnectionPool) -> None:
    try:
        connection = pool.make_connection()
        if isinstance(connection, redis.SSLConnection):
            # Reads certificates, ciphers and versions; the socket is never connected. An error
            # that appeared only later would be retried for ever.
            with socket.socket() as unconnected:
                wrap: Any = connection._wrap_socket_with_ssl  # noqa: SLF001 -- see above
                wrap(unconnected).close()
    except TypeError:
        raise ValueError("redis-py does not know one of the options; remove it") from None
    except (OSError, ValueError, redis.RedisError) as error:
        reason = getattr(error, "strerror", None) or "the value of one of them is wrong"
        raise ValueError(f"redis-py cannot use the options: {reason}") from None
