"""The POST of one container event, against a server that answers as it likes, or not at all."""

import asyncio
import json

import pytest
from aiohttp import web

from bridge.awake import AwakeClock
from bridge.client import open_session
from bridge.container_events.posting import Answer, End, Poster
from bridge.settings import AgentKeys
from cowpoke.container_events import ContainerEvent
from tests.answering import NO_TLS, answering

AGENT = AgentKeys(access_key="key", secret_key="secret")
EVENT = ContainerEvent(
    host_uuid="host-1",
    container_id="a" * 64,
    status="die",
    image="busybox:latest",
    time_s=1_520_000_000,
    occurred_ms=1_520_000_000_123,
    inspect={"Id": "a" * 64, "Config": {"Env": ["PASSWORD=tiger-7f3a"]}},
)


def post(answer, event=EVENT, timeout_s=10.0):
    """POST an event; return how it ended, and the requests that arrived."""

    async def scenario():
        requests = []

        async def handle(request):
            body = json.loads(await request.read())
            requests.append((request.method, request.path, request.headers, body))
            return await answer()

        async with (
            answering(handle) as url,
            AwakeClock() as clock,
            open_session(NO_TLS) as session,
        ):
            poster = Poster(session, f"{url}/v1", clock=clock, timeout_s=timeout_s)
            return await poster.post(AGENT, event), requests

    return asyncio.run(asyncio.wait_for(scenario(), 30))


def answers(status, body=b"", **headers):
    """An answer with headers, named with underscores."""

    async def make():
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return web.Response(status=status, body=body, headers=named)

    return make


def error(status, code):
    """An answer as cattle writes refusals."""
    body = {"type": "error", "status": status, "code": code, "message": "no"}
    return answers(status, json.dumps(body).encode())


def test_body_is_that_of_the_old_agent():
    """B.5: with the agent's keys, times in seconds."""
    ended, [(method, path, headers, body)] = post(answers(201))
    assert ended == Answer(end=End.POSTED, status=201)
    assert (method, path) == ("POST", "/v1/containerevents")
    assert headers["Authorization"] == AGENT.headers["Authorization"]
    assert body == {
        "externalStatus": "die",
        "externalId": "a" * 64,
        "externalFrom": "busybox:latest",
        "externalTimestamp": 1_520_000_000,
        "reportedHostUuid": "host-1",
        "dockerInspect": EVENT.inspect,
    }


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (answers(200), End.POSTED),
        (answers(202), End.POSTED),
        (error(409, "TooManyContainerEvents"), End.TOO_MANY_STARTS),
        (error(422, "InvalidReference"), End.HOST_UNKNOWN),
        (error(422, "MissingRequired"), End.REFUSED),
        (answers(422, b"<html>"), End.REFUSED),
        (answers(422, b'"InvalidReference"'), End.REFUSED),
        (error(400, "InvalidBodyContent"), End.REFUSED),
        (answers(413), End.REFUSED),
        (error(401, "Unauthorized"), End.KEYS_REFUSED),
        (error(403, "CantVerifyAgent"), End.KEYS_REFUSED),
        (answers(201, X_API_ACCOUNT_KIND="admin"), End.KEYS_REFUSED),
        (answers(201, X_API_ACCOUNT_KIND="agent"), End.POSTED),
        (answers(404), End.FAILED),
        (answers(429), End.FAILED),
        (answers(500), End.FAILED),
        (answers(502, b"<html>bad gateway</html>"), End.FAILED),
        (answers(503), End.FAILED),
        (answers(302, Location="http://elsewhere/"), End.FAILED),
    ],
)
def test_answers_are_told_apart(answer, end):
    """B.5: an unknown host, too many starts and broken servers are not the end of an event."""
    assert post(answer)[0].end is end


def test_server_that_never_answers_is_not_waited_for():
    """The event is tried again, until it is stale."""

    async def never():
        await asyncio.sleep(30)

    ended, _ = post(never, timeout_s=0.5)
    assert (ended.end, ended.status) == (End.FAILED, None)
    assert "TimeoutError" in ended.reason


def test_cut_connection_is_a_failure():
    """As is a server that is not there."""

    async def broken():
        raise ConnectionResetError

    assert post(broken)[0].end is End.FAILED


def test_secrets_that_cattle_quotes_are_not_shown():
    """The reason is logged, and the environment of a container is in what was sent."""
    ended, _ = post(answers(400, b"cannot read PASSWORD=tiger-7f3a in your body"))
    assert "tiger" not in ended.reason
    assert ended.reason.startswith("cattle answered 400: cannot read")


def test_endless_refusal_is_read_to_a_limit():
    """Its beginning is enough."""
    ended, _ = post(answers(422, b"x" * 10_000_000))
    assert (ended.end, len(ended.reason) < 400) == (End.REFUSED, True)
