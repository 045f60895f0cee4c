"""How the bridge checks cattle's certificate."""

import asyncio
import ssl

import aiohttp
import pytest
from aiohttp import web

from bridge.client import trusted
from bridge.settings import BridgeSettings
from cowpoke.environment import BadEnvironmentError, read
from simulator.rig.certificates import make_certificate


@pytest.fixture
def settings(monkeypatch):
    """Settings of a bridge with further variables."""

    def make(**variables):
        given = {"CATTLE_URL": "https://c/v1", "CATTLE_ACCESS_KEY": "k", "CATTLE_SECRET_KEY": "s"}
        for name, text in {**given, **variables}.items():
            monkeypatch.setenv(name, text)
        return read(BridgeSettings)

    return make


async def ask(context, certificate):
    """GET from a TLS server on loopback that has the certificate."""

    async def answer(_):
        return web.Response(text="cattle")

    app = web.Application()
    app.router.add_get("/", answer)
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(certificate.certificate, certificate.key)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context)
        await site.start()
        port = runner.addresses[0][1]
        connector = aiohttp.TCPConnector(ssl=context)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(f"https://127.0.0.1:{port}/") as response,
        ):
            return await response.text()
    finally:
        await runner.cleanup()


def test_a_bundle_of_authorities_is_trusted(settings, tmp_path):
    """A.18 CURL_CA_BUNDLE: cattle's own authority may be named, under curl's variable."""
    certificate = make_certificate(tmp_path)
    context = trusted(settings(CURL_CA_BUNDLE=str(certificate.authority)).ca_bundle)
    assert asyncio.run(ask(context, certificate)) == "cattle"


def test_an_unknown_authority_is_not_trusted(settings, tmp_path):
    """Without the bundle the connection is refused (A.18 CURL_CA_BUNDLE)."""
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        asyncio.run(ask(trusted(settings(CURL_CA_BUNDLE="").ca_bundle), make_certificate(tmp_path)))


def test_a_bundle_that_cannot_be_read_is_told_of_at_start(settings, tmp_path):
    """The message names variable and file (A.18 CURL_CA_BUNDLE)."""
    with pytest.raises(BadEnvironmentError, match=r"CURL_CA_BUNDLE.*no certificates"):
        settings(CURL_CA_BUNDLE=str(tmp_path / "none.pem"))


def test_the_websockets_patience_has_its_old_name(settings):
    """A.18 EVENT_READ_TIMEOUT is read in seconds."""
    assert settings(CATTLE_EVENT_READ_TIMEOUT="60").event_read_timeout_s == 60


def test_url_and_keys_have_their_old_names_and_no_defaults(settings, monkeypatch):
    """A.18 URL, A.18 ACCESS_KEY and A.18 SECRET_KEY are needed (A 16.11)."""
    told = settings()
    assert told.cattle_url == "https://c/v1"
    assert told.agents[0].access_key == "k"
    assert told.agents[0].secret_key.get_secret_value() == "s"
    for name in ("CATTLE_URL", "CATTLE_ACCESS_KEY", "CATTLE_SECRET_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(BadEnvironmentError, match="CATTLE_URL is not set"):
        read(BridgeSettings)
