"""Sessions towards cattle, with and without a proxy and TLS."""

import asyncio
import ssl
from urllib.parse import unquote

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict

from bridge.client import UNREACHED, foreign_kind, open_session
from simulator.rig.certificates import make_certificate
from tests.answering import NO_TLS, answering
from tests.forward_proxy import forward_proxy


async def answer(request):
    """Answer a websocket with one word, and anything else with its method."""
    if request.headers.get("Upgrade", "").lower() != "websocket":
        return web.Response(text=request.method)
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    await websocket.send_str("word")
    await websocket.close()
    return websocket


def ask(server_context, client_context, proxy):
    """Return what a websocket and a POST get, by the name `localhost`."""

    async def scenario():
        async with answering(answer, ssl_context=server_context) as served:
            url = f"{served}/v1".replace("127.0.0.1", "localhost")
            async with (
                open_session(client_context, proxy, tunnel=True) as websockets,
                open_session(client_context, proxy, tunnel=server_context is not None) as session,
            ):
                async with websockets.ws_connect(url.replace("http", "ws", 1)) as websocket:
                    word = await websocket.receive_str()
                async with session.post(url) as response:
                    return url.split("/")[2], word, await response.text()

    return asyncio.run(asyncio.wait_for(scenario(), 30))


@pytest.fixture(params=["http", "https"])
def contexts(request, tmp_path):
    """The contexts of a server with or without TLS, and of a client that trusts it."""
    if request.param == "http":
        return None, ssl.create_default_context()
    certificate = make_certificate(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate.certificate, certificate.key)
    return server, ssl.create_default_context(cafile=str(certificate.authority))


def test_both_ways_work_without_a_proxy(contexts):
    """W 22: as before."""
    assert ask(*contexts, None)[1:] == ("word", "POST")


@pytest.mark.parametrize("login", [None, "user:word", "us%40er:w%2Ford"])
def test_both_ways_work_through_a_proxy(contexts, login):
    """W 22: with and without TLS; names are the proxy's to resolve."""
    with forward_proxy(unquote(login or "")) as proxy:
        prefix = f"{login}@" if login else ""
        address, word, posted = ask(*contexts, f"http://{prefix}{proxy.address}")
    assert (word, posted) == ("word", "POST")
    tunnels = [f"CONNECT {address} HTTP/1.1"]
    plain = [f"POST http://{address}/v1 HTTP/1.1"]
    with_tls = contexts[0] is not None
    assert proxy.requests == (tunnels * 2 if with_tls else [*tunnels, *plain])


@pytest.mark.parametrize("proxy", ["http://proxy.test", "http://[::1]", "http://u@[::1]:8080"])
@pytest.mark.parametrize("tunnel", [True, False])
def test_url_of_a_proxy_may_be_short(proxy, tunnel):
    """W 22: without a port, with an IPv6 address, with a user alone."""

    async def scenario():
        async with open_session(ssl.create_default_context(), proxy, tunnel=tunnel):
            pass

    asyncio.run(scenario())


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("is_there", [True, False])
def test_password_of_a_proxy_is_in_no_error(scheme, is_there):
    """W 22: a login that the proxy refuses, or a proxy that is not there, in both sessions."""
    context = ssl.create_default_context()

    async def texts(proxy):
        async with (
            open_session(context, proxy, tunnel=True) as websockets,
            open_session(context, proxy, tunnel=scheme == "https") as session,
        ):
            with pytest.raises(UNREACHED) as refused:
                await websockets.ws_connect(f"{scheme.replace('http', 'ws')}://cattle.test/v1")
            yield str(refused.value)
            try:
                async with session.post(f"{scheme}://cattle.test/v1") as response:
                    yield f"{response.status}"
            except UNREACHED as error:
                yield str(error)

    async def scenario(proxy):
        return [text async for text in texts(proxy)]

    with forward_proxy("user:right") as server:
        address = server.address if is_there else "127.0.0.1:9"
        found = asyncio.run(asyncio.wait_for(scenario(f"http://user:hunter2@{address}"), 20))
    assert len(found) == 2
    assert all(text and "hunter2" not in text for text in found)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_of_a_websocket_is_refused(status):
    """W 30: a handshake follows no redirect either."""
    asked = []

    async def redirect(request):
        asked.append(request.path)
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async def scenario():
        async with (
            answering(redirect) as url,
            open_session(NO_TLS) as session,
        ):
            with pytest.raises(aiohttp.ClientError, match="redirects to /elsewhere"):
                await session.ws_connect(f"{url}/v1/subscribe")

    asyncio.run(scenario())
    assert asked == ["/v1/subscribe"]


def test_cookies_are_not_kept():
    """W 30: agents share a session; cattle sets one with every answer."""
    sent = []

    async def set_cookie(request):
        sent.append(dict(request.cookies))
        return web.Response(headers={"Set-Cookie": "PL=rancher;Path=/"})

    async def scenario():
        async with (
            answering(set_cookie) as url,
            open_session(NO_TLS) as session,
        ):
            for _ in range(2):
                async with session.get(url.replace("127.0.0.1", "localhost")):
                    pass

    asyncio.run(scenario())
    assert sent == [{}, {}]


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, None),
        ({"X-API-ACCOUNT-KIND": "agent"}, None),
        ({"x-api-account-kind": "service"}, None),
        ({"x-api-account-kind": "admin"}, "admin"),
        ({"X-API-ACCOUNT-KIND": "x" * 9000}, "x" * 40),
    ],
)
def test_kind_of_account_is_told(headers, kind):
    """W 6: what an answer says of the keys, cut to a length for logs."""
    assert foreign_kind(CIMultiDict(headers)) == kind
