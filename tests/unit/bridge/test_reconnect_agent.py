"""Waking an agent for a service account, against a server that answers as it likes."""

import asyncio
import gzip
import json

import pytest
from aiohttp import web

from bridge.awake import AwakeClock
from bridge.client import MOST_BODY_BYTES, open_session
from bridge.inbound.reconnect_agent import reconnect_agent
from bridge.settings import AgentKeys
from tests.answering import NO_TLS, answering

AGENT = AgentKeys(access_key="service", secret_key="secret", agent_id="1a5")
GIVEN_UP = json.dumps({"state": "disconnected"}).encode()


def reconnect_with(**first_answer):
    """Wake an agent with this answer to the first request; return the requests."""
    asked = []

    async def answer(request):
        asked.append(f"{request.method} {request.path_qs}")
        return web.Response(**first_answer) if len(asked) == 1 else web.Response(status=202)

    async def scenario():
        async with (
            answering(answer) as url,
            AwakeClock() as clock,
            open_session(NO_TLS) as session,
        ):
            await reconnect_agent(session, f"{url}/v1", AGENT, clock)

    asyncio.run(asyncio.wait_for(scenario(), 20))
    return asked


def test_agent_that_was_given_up_is_reconnected():
    """A 1.3: one question, one action."""
    wanted = ["GET /v1/agents/1a5", "POST /v1/agents/1a5?action=reconnect"]
    assert reconnect_with(body=GIVEN_UP) == wanted


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 302, "headers": {"Location": "/v1/agents/1a6"}},
        {"status": 307, "headers": {"Location": "http://127.0.0.1:9/"}},
        {"status": 500, "body": b"x" * 1_000_000},
        {"body": GIVEN_UP[:-1] + b" " * MOST_BODY_BYTES + b"}"},
        {"body": gzip.compress(GIVEN_UP), "headers": {"Content-Encoding": "gzip"}},
        {"body": b"[" * 60_000},
        {"body": b"\xff\xfe"},
        {"body": b"[]"},
        {"body": b""},
    ],
)
def test_answer_that_is_no_agent_is_not_acted_on(answer):
    """W 30: no redirect, nothing long, nothing compressed, nothing else; the next time may do."""
    assert reconnect_with(**answer) == ["GET /v1/agents/1a5"]
