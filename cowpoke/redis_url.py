"""Check `REDIS_URL` at start, and split it into what redis-py and kombu each accept.

redis-py takes options in the query of the url. kombu takes them in its transport options, and TLS
options in a mapping of their own. An option is accepted when both libraries know it.
"""

import math
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

import redis
from kombu.connection import Connection
from kombu.transport.redis import Channel

#: Shorter than a blocking read of ours, and every read would time out.
SHORTEST_TIMEOUT_S = 1.0
LONGEST_TIMEOUT_S = 3600.0

_TIMEOUTS = ("socket_timeout", "socket_connect_timeout")
#: A bridge with fewer connections than 4 cannot start; with 10 nothing waits for one under load.
_COUNTS = {"max_connections": 10, "health_check_interval": 0}
#: Not refused by redis-py, although it can do nothing with them as text.
_NO_TEXT = re.compile("socket_keepalive_options|.*_ocsp.*")
_ENCODE = "percent-encode special characters in the password (`[` is %5B, `@` is %40, `/` is %2F)"
_FORM = "it must be redis://[user:password@]host:port/db (or rediss://)"


@dataclass(frozen=True, kw_only=True, slots=True)
class RedisUrl:
    """The parts of a checked url as kombu takes them."""

    #: Without options.
    broker_url: str
    transport_options: Mapping[str, Any] = field(repr=False)
    #: None without TLS.
    ssl_options: Mapping[str, Any] | None = field(repr=False)


def check_redis_url(url: str) -> RedisUrl:
    """Construct what redis-py and kombu make of a url, without a connection.

    Errors: ValueError with one line that contains no value of the url.
    """
    parts = _split(url)
    names = _option_names(parts)
    for name in names:
        _check_name(name, parts.scheme)
    try:
        pool = redis.ConnectionPool.from_url(url)
    except ValueError as error:
        # redis-py names the option, and not its value.
        raise ValueError(str(error).rstrip(".").lower()) from None
    options = {"max_connections": pool.max_connections, **pool.connection_kwargs}
    typed = {name: options[name] for name in names}
    _check_numbers(typed)
    tls = {name: value for name, value in typed.items() if name.startswith("ssl_")}
    _construct(pool)
    checked = RedisUrl(
        broker_url=url.partition("?")[0],
        transport_options={name: typed[name] for name in typed if name not in tls},
        # kombu uses TLS only when this mapping is not empty.
        ssl_options={"ssl_cert_reqs": "required", **tls} if parts.scheme == "rediss" else None,
    )
    connection: Any = Connection(  # type: ignore[no-untyped-call]
        checked.broker_url,
        ssl=checked.ssl_options or False,
        transport_options=dict(checked.transport_options),
    )
    connection.release()
    return checked


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"host or port cannot be read; {_FORM}; {_ENCODE}") from None
    if parts.scheme not in {"redis", "rediss"} or port == 0:
        raise ValueError(f"{_FORM}; unix sockets are not supported")
    if parts.fragment or "#" in url or "@" in parts.path + parts.query:
        raise ValueError(f"`#`, or an `@` behind the host, is not allowed; {_ENCODE}")
    if not re.fullmatch(r"/?|/[0-9]{1,9}", parts.path, re.ASCII):
        raise ValueError(f"the database must be a number, as in redis://host:6379/0; {_ENCODE}")
    if any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError(f"blanks are not allowed; {_ENCODE}")
    return parts


def _option_names(parts: SplitResult) -> list[str]:
    if not parts.query:
        return []
    try:
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        given = []
    names = [name for name, value in given if value]
    if not given or len(set(names)) < len(given):
        raise ValueError(
            f"options must be written as ?name=value&name=value, each of them once; {_ENCODE}"
        )
    return names


def _check_name(name: str, scheme: str) -> None:
    # What is no plain word may be a part of a password.
    shown = f"option {name}" if re.fullmatch(r"[a-z_]{1,40}", name) else "one of the options"
    if _NO_TEXT.fullmatch(name):
        raise ValueError(f"{shown} cannot be given as text")
    if name.startswith("ssl_"):
        if scheme != "rediss":
            raise ValueError(f"{shown} needs rediss://")
    elif name not in Channel.from_transport_options:
        raise ValueError(f"{shown} is not known to both redis-py and kombu; remove it")


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
