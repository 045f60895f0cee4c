"""The POST of one reply, against a server that answers as it likes, or not at all."""

import asyncio

import aiohttp
import pytest
from aiohttp import web

from bridge.errors import KeysRefusedError, PublishError, PublishRefusedError
from bridge.publisher import Publisher
from bridge.settings import AgentKeys

AGENT = AgentKeys(access_key="key", secret_key="secret")
PATIENCE_S = 0.3


def publish(*answers):
    """POST a reply to a server that gives these answers in turn; how each POST ended."""

    async def scenario():
        left = list(answers)

        async def handle(_):
            status = left.pop(0)
            if status is None:
                await asyncio.sleep(30)
            return web.Response(status=status, headers={"Retry-After": "7"})

        app = web.Application()
        app.router.add_post("/v1/publish", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        ended = []
        async with aiohttp.ClientSession() as session:
            publisher = Publisher(session, url, timeout_s=PATIENCE_S)
            for _ in answers:
                try:
                    await publisher.publish(AGENT, {"name": "reply.1"})
                    ended.append(None)
                except PublishError as problem:
                    ended.append(problem)
        await runner.cleanup()
        return ended

    return asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_server_that_never_answers_is_not_waited_for_for_ever():
    """A 1.22, C 5: it is tried again, and the next try may do."""
    silent, taken = publish(None, 201)
    assert type(silent) is PublishError
    assert "TimeoutError" in silent.message
    assert taken is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, PublishError),
        (401, KeysRefusedError),
        (403, PublishRefusedError),
        (408, PublishError),
        (422, PublishRefusedError),
        (429, PublishError),
        (500, PublishError),
        (502, PublishError),
    ],
)
def test_what_an_answer_means(status, kind):
    """Only 201 is taken; what will never change is told from what may."""
    (problem,) = publish(status)
    assert type(problem) is kind


def test_a_server_says_when_to_come_again():
    """429 with Retry-After, in seconds."""
    (problem,) = publish(429)
    assert problem.retry_after_s == 7
