"""The HTTP server of a bridge: one address, for people, for Docker's health checks, for Prometheus.

It is read-only. A request may come from a foreign web page in an operator's browser. So the headers
of every answer restrict browsers, and requests for foreign host names are refused: a foreign domain
can resolve to this address (DNS rebinding). On another address than loopback, BRIDGE_HTTP_NAMES
lists the names.
"""

import errno
import ipaddress
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from bridge.errors import HttpAddressError
from bridge.web.settings import HttpSettings
from cowpoke.log import logger

_log = logger(__name__)

#: Time for answers that are being written when the bridge stops.
SHUTDOWN_S = 0.5
#: No route takes a body.
MOST_BODY_BYTES = 1024

#: For every answer. The page loads nothing from other hosts and has no inline script or style.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "cowpoke",
}


@asynccontextmanager
async def serving(
    settings: HttpSettings, routes: Iterable[web.AbstractRouteDef]
) -> AsyncIterator[str | None]:
    """Serve until the block ends; its url, or None when the settings give no port.

    Errors: HttpAddressError when the address cannot be listened on.
    """
    if settings.http_port is None:
        yield None
        return
    host, port = settings.http_host, settings.http_port
    names = _names(settings)
    middlewares = [] if names is None else [_only_by(names)]
    app = web.Application(middlewares=middlewares, client_max_size=MOST_BODY_BYTES)
    app.add_routes(routes)
    app.on_response_prepare.append(_add_headers)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise _address_error(error, host, port) from error
        _, chosen, *_ = runner.addresses[0]
        url = f"http://{f'[{host}]' if ':' in host else host}:{chosen}"
        _log.info("http.ready", address=url)
        yield url
    finally:
        await runner.cleanup()


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def _names(settings: HttpSettings) -> frozenset[str] | None:
    """Return the names that the server may be asked by; None for any."""
    if settings.http_names is None:
        return frozenset() if _is_loopback(settings.http_host) else None
    return frozenset(name.strip().lower() for name in settings.http_names.split(","))


def _only_by(names: frozenset[str]) -> Middleware:
    @web.middleware
    async def only_by(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = _host_name(request.host)
        is_local = name == "localhost" or name.endswith(".localhost")
        if is_local or _is_address(name) or name in names:
            return await handler(request)
        raise web.HTTPForbidden(
            text="This bridge answers to addresses, to localhost and to the names in "
            "BRIDGE_HTTP_NAMES only. A proxy in front of it may send the header "
            "`Host: localhost`.\n"
        )

    return only_by


def _host_name(host: str) -> str:
    """The name in a header `Host`, without its port and the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _address_error(error: OSError, host: str, port: int) -> HttpAddressError:
    """Return the error with the setting to change: the port's, unless the host is the problem."""
    is_port = error.errno in {errno.EADDRINUSE, errno.EACCES}
    setting = "BRIDGE_HTTP_PORT" if is_port else "BRIDGE_HTTP_HOST"
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    return HttpAddressError(
        f"cannot listen on {host}:{port}: {reason.lower()}",
        f"change {setting}, or unset BRIDGE_HTTP_PORT",
    )
