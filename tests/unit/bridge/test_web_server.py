"""The HTTP server of a bridge: what every answer says to browsers, and whom it answers."""

import asyncio
import socket

import aiohttp
import pytest
from aiohttp import web

from bridge.errors import HttpAddressError
from bridge.web.asking import NoAnswerError, as_text, ask
from bridge.web.server import HEADERS, serving
from bridge.web.settings import HttpSettings

HEALTH = {
    "ready": False,
    "reasons": [{"code": "redis-down", "message": "gone", "agents": [], "count": 0}],
    "notes": [{"code": "agent-removed", "message": "removed", "agents": ["a"], "count": 3}],
}


def settings(**variables):
    """Settings of a server on a free port."""
    return HttpSettings.model_validate({"BRIDGE_HTTP_PORT": 0, **variables})


async def no_health(_):
    """Answer as a bridge that is not ready."""
    return web.json_response(HEALTH, status=503)


async def html(_):
    """Answer as another program."""
    return web.Response(text="<p>hello")


ROUTES = [web.get("/readyz", no_health), web.get("/", html)]


def served(question, **variables):
    """Run a question to a server, with its url."""

    async def scenario():
        given = settings(**variables)
        async with serving(given, ROUTES) as url, aiohttp.ClientSession() as session:
            return await question(url, session)

    return asyncio.run(scenario())


def test_every_answer_has_the_headers_for_browsers():
    """Also those of errors."""

    async def question(url, session):
        found = []
        for path in ("/", "/readyz", "/none"):
            async with session.get(url + path) as answer:
                found.append((answer.status, {name: answer.headers[name] for name in HEADERS}))
        return found

    found = served(question)
    assert [status for status, _ in found] == [200, 503, 404]
    assert all(headers == HEADERS for _, headers in found)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:80", 200),
        ("evil.example:9105", 403),
        ("127.0.0.1.evil.example", 403),
    ],
)
def test_foreign_name_for_loopback_is_refused(host, status):
    """A page elsewhere may point its own name at 127.0.0.1, and read what is there."""

    async def question(url, session):
        async with session.get(url, headers={"Host": host}) as answer:
            return answer.status

    assert served(question) == status


@pytest.mark.parametrize(
    ("names", "host", "status"),
    [
        (None, "evil.example:9105", 200),
        ("bridge, Hub.example", "bridge:9105", 200),
        ("bridge, Hub.example", "hub.example", 200),
        ("bridge, Hub.example", "192.0.2.1:9105", 200),
        ("bridge, Hub.example", "localhost:9105", 200),
        ("bridge, Hub.example", "evil.example:9105", 403),
    ],
)
def test_names_for_an_open_address_are_those_of_the_operator(names, host, status):
    """A Prometheus asks for `bridge:9105`; Compose publishes the port on loopback."""

    async def question(url, session):
        async with session.get(url, headers={"Host": host}) as answer:
            return answer.status

    named = {} if names is None else {"BRIDGE_HTTP_NAMES": names}
    assert served(question, BRIDGE_HTTP_HOST="0.0.0.0", **named) == status


def test_loopback_answers_to_a_name_of_the_operator():
    """That of a proxy on the same machine."""

    async def question(url, session):
        async with session.get(url, headers={"Host": "status.example"}) as answer:
            return answer.status

    assert served(question, BRIDGE_HTTP_NAMES="status.example") == 200


def test_nothing_is_served_without_a_port():
    """Off is the default."""

    async def scenario():
        async with serving(HttpSettings.model_validate({}), ROUTES) as url:
            return url

    assert asyncio.run(scenario()) is None


def test_taken_port_is_named_with_the_setting():
    """Which setting to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HttpAddressError, match=f"cannot listen on 127.0.0.1:{port}") as caught:
            served(None, BRIDGE_HTTP_PORT=port)
    assert "change BRIDGE_HTTP_PORT" in caught.value.advice


def asked(path, **variables):
    """Ask as the health check does."""

    async def question(url, _):
        port = int(url.rpartition(":")[2])
        host = variables.get("BRIDGE_HTTP_HOST", "127.0.0.1")
        return await asyncio.to_thread(ask, host, port, path, timeout_s=10)

    return served(question, **variables)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_health_check_hears_what_the_bridge_says(host):
    """Also where it listens on all addresses."""
    assert asked("/readyz", BRIDGE_HTTP_HOST=host) == (False, HEALTH)


def test_health_is_told_line_by_line():
    """`docker inspect` shows it."""
    assert as_text(HEALTH).splitlines() == [
        "not ready",
        "redis-down: gone",
        "note: agent-removed: removed (a and 2 more)",
    ]


@pytest.mark.parametrize("path", ["/", "/none"])
def test_answer_of_another_program_is_no_health(path):
    """Somebody else may have the port."""
    with pytest.raises(NoAnswerError, match="another program"):
        asked(path)


def test_no_bridge_is_told_with_the_settings_to_look_at():
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(NoAnswerError, match="BRIDGE_HTTP_PORT"):
        ask("127.0.0.1", port, "/readyz", timeout_s=5)
