"""Where a `REDIS_URL` says that Redis is: a host, a unix socket, or the Sentinels that know it."""

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

DIRECT = frozenset({"redis", "rediss"})
#: redis-py's name, and kombu's.
SOCKETS = frozenset({"unix", "redis+socket"})
SENTINEL = "sentinel"
SENTINEL_PORT = 26379
REDIS_PORT = 6379

_ENCODE = (
    "percent-encode special characters in user and password (`[` is %5B, `@` is %40, `/` is %2F)"
)
_FORM = (
    "it must be redis://[user:password@]host:port/db, rediss://..., unix:///path?db=0 or "
    "sentinel://host:26379;sentinel://host:26379/db"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A url without its options."""

    scheme: str
    #: As it is written in a url, with the `@`; empty without.
    login: str = field(repr=False)
    #: `host:port` as written in a url, one or more; empty for a unix socket.
    hosts: tuple[str, ...]
    addresses: tuple[tuple[str, int], ...]
    database: int
    #: None unless it is a unix socket.
    path: str | None
    #: The other options.
    query: str = field(repr=False)


def read_place(url: str) -> Place:
    """Split a url.

    Errors: ValueError with one line that contains no value of the url.
    """
    if any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError(f"blanks are not allowed; {_ENCODE}")
    scheme = url.partition("://")[0]
    if scheme in SOCKETS:
        return _socket(url, scheme)
    if scheme == SENTINEL:
        return _sentinels(url)
    parts = _split(url)
    if parts.scheme not in DIRECT or parts.port == 0:
        raise ValueError(_FORM)
    return _place([parts], REDIS_PORT, query=parts.query)


def with_login(url: str, user: str, password: str) -> str:
    """Return a url that has no login with one.

    Errors: ValueError as `read_place`, or when it has a login.
    """
    if read_place(url).login:
        raise ValueError("the url must be without a login: redis://hub:6379/0")
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{rest}"


def _sentinels(url: str) -> Place:
    written = url.split(";")
    wrong = (
        "each part between the semicolons must be sentinel://host:port; a `;` in a password is %3B"
    )
    if not all(one.startswith(f"{SENTINEL}://") for one in written):
        raise ValueError(wrong)
    parts = [_split(one) for one in written]
    if any(not one.hostname or one.port == 0 for one in parts):
        raise ValueError(wrong)
    if any(one.query for one in parts[:-1]):
        raise ValueError(
            "options belong behind the last Sentinel: ...;sentinel://host/0?name=value"
        )
    return _place(parts, SENTINEL_PORT, query=parts[-1].query)


def _place(parts: list[SplitResult], default_port: int, *, query: str) -> Place:
    logins = {login for one in parts if (login := one.netloc.rpartition("@")[0])}
    databases = {int(number) for one in parts if (number := one.path.strip("/"))}
    if len(logins) > 1 or len(databases) > 1:
        raise ValueError(
            "login and database are those of the master: write them once, or alike in each part"
        )
    addresses = tuple((one.hostname or "localhost", one.port or default_port) for one in parts)
    return Place(
        scheme=parts[0].scheme,
        login=f"{logins.pop()}@" if logins else "",
        hosts=tuple(_written(host, port) for host, port in addresses),
        addresses=addresses,
        database=databases.pop() if databases else 0,
        path=None,
        query=query,
    )


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _socket(url: str, scheme: str) -> Place:
    # urlsplit knows no host behind a scheme with a `+`.
    parts = _split_any(f"unix{url.removeprefix(scheme)}")
    login, at, host = parts.netloc.rpartition("@")
    if host or not parts.path.startswith("/") or parts.path.endswith("/"):
        raise ValueError(
            f"a unix socket needs an absolute path: unix:///run/redis/redis.sock?db=0; {_ENCODE}"
        )
    options = parse_qsl(parts.query, keep_blank_values=True)
    named = [value for name, value in options if name in {"db", "virtual_host"}]
    if len(named) > 1 or not all(re.fullmatch(r"[0-9]{1,9}", one, re.ASCII) for one in named):
        raise ValueError("the database must be a number, given once: unix:///path?db=0")
    others = [one for one in options if one[0] not in {"db", "virtual_host"}]
    return Place(
        scheme=scheme,
        login=f"{login}{at}",
        hosts=(),
        addresses=(),
        database=int(named[0]) if named else 0,
        path=unquote(parts.path),
        query=urlencode(others),
    )


def _split(url: str) -> SplitResult:
    parts = _split_any(url)
    if not re.fullmatch(r"/?|/[0-9]{1,9}", parts.path, re.ASCII):
        raise ValueError(f"the database must be a number, as in redis://host:6379/0; {_ENCODE}")
    return parts


def _split_any(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(f"host or port cannot be read; {_FORM}; {_ENCODE}") from None
    if parts.fragment or "#" in url or "@" in parts.path + parts.query:
        raise ValueError(f"`#`, or an `@` behind the host, is not allowed; {_ENCODE}")
    return parts
