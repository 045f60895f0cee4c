"""HTTP towards cattle: sessions by way of the proxy, and limits for what an answer may do.

Whatever answers is not necessarily cattle: it may be a proxy, a login page or an attacker. So no
redirect is followed, nothing is decompressed, no cookie is kept, and a body is read up to a limit.
"""

import ssl
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp_socks import (
    ProxyConnectionError,
    ProxyConnector,
    ProxyError,
    ProxyTimeoutError,
    ProxyType,
)
from yarl import URL

from bridge.awake import AwakeClock

#: Most of an answer's body that is read, in bytes; the connection is closed when there is more.
MOST_BODY_BYTES = 64 * 1024
_FINISH_S = 2.0
_PROXY_PORT = 80
#: Kinds of account that are a host's agent, or may act for one.
_ACCOUNT_KINDS = frozenset({"agent", "service"})

#: What a request may raise when it did not reach cattle.
UNREACHED = (
    aiohttp.ClientError,
    TimeoutError,
    OSError,
    ProxyConnectionError,
    ProxyError,
    ProxyTimeoutError,
)


class RedirectedError(aiohttp.ClientError):
    """Raised when a request is answered with a redirect; none is followed."""


def trusted(bundle: Path | None) -> ssl.SSLContext:
    """How cattle's certificate is checked: by the given bundle, else by the system's."""
    return ssl.create_default_context(cafile=None if bundle is None else str(bundle))


def open_session(
    context: ssl.SSLContext, proxy: str | None = None, *, tunnel: bool = False
) -> aiohttp.ClientSession:
    """Open a pooled session for requests; keys and timeouts come with each request.

    Args:
        context: How certificates are checked.
        proxy: The url of an HTTP proxy. Its password is given to no url that aiohttp knows, since
            those are part of errors.
        tunnel: Go through the proxy by CONNECT, as TLS and websockets need: a proxy that forwards
            a request removes its `Upgrade` header.
    """
    pool: dict[str, Any] = {"limit": 0, "keepalive_timeout": 30, "ssl": context}
    if proxy is None:
        return _session(aiohttp.TCPConnector(**pool))
    url = URL(proxy)
    if tunnel:
        return _session(
            ProxyConnector(
                proxy_type=ProxyType.HTTP,
                host=str(url.host),
                port=url.port or _PROXY_PORT,
                username=url.user,
                password=url.password,
                **pool,
            )
        )
    login = {}
    if url.user is not None:
        text = aiohttp.encode_basic_auth(url.user, url.password or "", "utf-8")
        login = {"Proxy-Authorization": text}
    return _session(aiohttp.TCPConnector(**pool), proxy=url.with_user(None), headers=login)


def _session(
    connector: aiohttp.BaseConnector,
    *,
    proxy: URL | None = None,
    headers: Mapping[str, str] | None = None,
) -> aiohttp.ClientSession:
    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(_refuse_redirect)
    return aiohttp.ClientSession(
        connector=connector,
        proxy=proxy,
        trust_env=False,
        auto_decompress=False,
        # Agents share the session, and a cookie of one must not be sent with another's keys.
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity", **(headers or {})},
        # Timeouts are the callers', by a clock that does not count pauses.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        trace_configs=[tracing],
    )


async def _refuse_redirect(
    _session: aiohttp.ClientSession,
    _context: SimpleNamespace,
    request: aiohttp.TraceRequestRedirectParams,
) -> None:
    response = request.response
    response.close()
    raise RedirectedError(
        f"answer {response.status} redirects to {_place(response.headers.get('Location', ''))}, "
        "and redirects are not followed; set CATTLE_URL to the server's own address"
    )


def _place(location: str) -> str:
    """Return scheme, host and path of a url, without what may be secret in it."""
    try:
        parts = urlsplit(location)
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError:
        return "a place that is no url"
    return place[:200].encode("ascii", "replace").decode() if parts.netloc else parts.path[:200]


async def read_body(response: aiohttp.ClientResponse) -> bytes:
    """Return the body of an answer, or its first `MOST_BODY_BYTES`."""
    body = bytearray()
    while len(body) < MOST_BODY_BYTES:
        piece = await response.content.read(MOST_BODY_BYTES - len(body))
        if not piece:
            break
        body += piece
    return bytes(body)


async def finish(response: aiohttp.ClientResponse, clock: AwakeClock) -> None:
    """Read the rest of a successful answer, so that its connection can be used again.

    What was sent has arrived: an answer that never ends costs its connection and nothing else.
    """
    with suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with clock.timeout(_FINISH_S):
            await read_body(response)


def foreign_kind(headers: Mapping[str, str]) -> str | None:
    """Return the kind of account that cattle took keys for, when that is no agent's.

    None also where the answer does not say. Without access control, cattle takes keys that it does
    not know for those of the account `admin`.
    """
    kind = headers.get("X-API-ACCOUNT-KIND")
    return None if kind is None or kind in _ACCOUNT_KINDS else kind[:40]
