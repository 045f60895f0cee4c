"""The HTTP server of a bridge: one address, for people, for Docker's health checks, for Prometheus.

It only shows. Whatever asks may be a stranger's page in an operator's browser, so answers say to
browsers what they may do with them, and on loopback a name that is not of this machine is refused:
somebody else's domain could be pointed at it.
"""

import errno
import ipaddress
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from aiohttp import web

from bridge.errors import HttpAddressError
from bridge.web.settings import HttpSettings
from cowpoke.log import logger

_log = logger(__name__)

#: For answers that are being written when the bridge ends.
SHUTDOWN_S = 0.5
#: No address of ours has a body.
MOST_BODY_BYTES = 1024

#: For every answer. Nothing is loaded from elsewhere, no script or style stands in the page itself.
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

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


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
    middlewares = [_only_this_machine] if _is_loopback(host) else []
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


@web.middleware
async def _only_this_machine(request: web.Request, handler: _Handler) -> web.StreamResponse:
    name = _host_name(request.host)
    if name == "localhost" or name.endswith(".localhost") or _is_address(name):
        return await handler(request)
    raise web.HTTPForbidden(
        text="This bridge listens on loopback and answers to localhost and to addresses only. "
        "A proxy in front of it sends the header `Host: localhost`.\n"
    )


def _host_name(host: str) -> str:
    """The name in a header `Host`, without its port and the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()


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
