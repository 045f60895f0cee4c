"""The POST of one reply, against a server that answers as it likes, or not at all."""

import asyncio
import time
from email.utils import formatdate

import pytest
from aiohttp import web

from bridge.awake import AwakeClock
from bridge.client import MOST_BODY_BYTES, open_session
from bridge.errors import (
    DoubtfulRefusalError,
    KeysRefusedError,
    KeysUnknownError,
    PublishError,
    PublishRefusedError,
)
from bridge.inbound.reconnect import Ending
from bridge.inbound.standing import Standing
from bridge.outbound.publisher import Publisher
from bridge.settings import AgentKeys
from tests.answering import NO_TLS, answering

AGENT = AgentKeys(access_key="key", secret_key="secret")
PATIENCE_S = 0.6
KIND = "X-API-ACCOUNT-KIND"


def publish(*answers, reply=None, is_unknown=False, timeout_s=PATIENCE_S):
    """POST a reply to a server that gives these answers in turn; return how each POST ended.

    An answer is a status, a function of the request, or None for none at all.
    """

    async def scenario():
        left = list(answers)

        async def handle(request):
            answer = left.pop(0)
            if answer is None:
                await asyncio.sleep(30)
            return web.Response(status=answer) if isinstance(answer, int) else await answer(request)

        standing = Standing((AGENT,))
        if is_unknown:
            standing.closed(AGENT, Ending.WRONG_ACCOUNT)
        ended = []
        async with (
            answering(handle) as url,
            AwakeClock() as clock,
            open_session(NO_TLS) as session,
        ):
            publisher = Publisher(
                session, f"{url}/v1", clock=clock, standing=standing, timeout_s=timeout_s
            )
            for _ in answers:
                try:
                    await publisher.publish(AGENT, reply or {"name": "reply.1"})
                    ended.append(None)
                except PublishError as problem:
                    ended.append(problem)
        return ended

    return asyncio.run(asyncio.wait_for(scenario(), 30))


def answer(status, body=b"", **headers):
    """Answer with headers, named with underscores."""

    async def make(_):
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return web.Response(status=status, body=body, headers=named)

    return make


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
        (400, PublishRefusedError),
        (422, PublishRefusedError),
        *((status, DoubtfulRefusalError) for status in (403, 404, 405, 409, 410, 413)),
        *((status, PublishError) for status in (407, 408, 429, 500, 502, 503)),
    ],
)
def test_what_an_answer_means(status, kind):
    """W 30: 201 is taken; what never changes, what is a proxy's maybe, and what passes differ."""
    (problem,) = publish(status)
    assert type(problem) is kind


@pytest.mark.parametrize(
    ("text", "least_s", "most_s"),
    [
        # The date of a test's run in its name would make it another test in each process.
        pytest.param(formatdate(time.time() + 86_400, usegmt=True), 60, 60, id="tomorrow"),
        ("7", 7, 7),
        (" 7 ", 7, 7),
        ("3600", 60, 60),
        ("9" * 4000, 60, 60),
        (formatdate(0, usegmt=True), 0, 0),
        ("-5", None, None),
        ("1e9", None, None),
        ("soon", None, None),
        ("", None, None),
    ],
)
def test_retry_after_is_read_and_capped(text, least_s, most_s):
    """W 30: a number or a date, a minute at most."""
    (problem,) = publish(answer(429, Retry_After=text))
    found_s = problem.retry_after_s
    assert found_s is None if least_s is None else least_s <= found_s <= most_s


def test_retry_after_with_a_date_is_the_time_until_then():
    """W 30: the form that proxies use for a planned outage."""
    (problem,) = publish(answer(503, Retry_After=formatdate(time.time() + 40, usegmt=True)))
    assert 20 < problem.retry_after_s <= 41


@pytest.mark.parametrize("status", [201, 404, 500])
def test_endless_body_is_read_up_to_a_limit(status):
    """W 30: whatever the status, an answer costs 64 KiB and the next POST works."""
    sent = []

    async def endless(request):
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
                sent.append(65536)
        except ConnectionError:
            return response

    ended, after = publish(endless, 201)
    assert (ended is None) is (status == 201)
    assert after is None
    # What the sockets of both sides hold is sent as well.
    assert sum(sent) < 100 * MOST_BODY_BYTES


def test_taken_reply_is_taken_though_its_answer_never_ends(monkeypatch):
    """W 30: 201 is the answer; a body that hangs is not waited for as long as for an answer."""
    monkeypatch.setattr("bridge.client._FINISH_S", 0.3)

    async def hanging(request):
        response = web.StreamResponse(status=201, headers={"Content-Length": "10"})
        await response.prepare(request)
        await asyncio.sleep(20)
        return response

    assert publish(hanging, timeout_s=20) == [None]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_compressed_answer_is_not_unpacked(encoding):
    """W 30: a few bytes that become gigabytes stay a few bytes."""
    (problem,) = publish(answer(500, b"\x1f\x8b" + b"\0" * 500, Content_Encoding=encoding))
    assert "(a compressed body)" in problem.message


def test_no_compression_is_asked_for():
    """W 30: the request says so."""

    async def check(request):
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(status=201)

    assert publish(check) == [None]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed_and_is_explained(status):
    """W 30: keys and replies go to no other place, and the log says which one that was."""
    target = "https://user:hunter2@elsewhere.example/v1/publish?token=hunter3"
    (problem,) = publish(answer(status, Location=target))
    assert type(problem) is PublishError
    assert f"answer {status} redirects to https://elsewhere.example/v1/publish" in problem.message
    assert "CATTLE_URL" in problem.message
    assert "hunter" not in problem.message


@pytest.mark.parametrize(
    ("headers", "is_unknown", "is_confirmed"),
    [
        ({KIND: "agent"}, False, True),
        ({KIND: "service"}, False, True),
        ({KIND: "admin"}, False, False),
        ({KIND: "project"}, False, False),
        ({}, False, True),
        ({}, True, False),
        ({KIND: "agent"}, True, True),
    ],
)
def test_reply_counts_as_taken_only_from_the_agent(headers, is_unknown, is_confirmed):
    """W 6: the answer says whose the keys are, else the last subscription did."""

    async def taken(_):
        return web.Response(status=201, headers=headers)

    (problem,) = publish(taken, is_unknown=is_unknown)
    assert (problem is None) is is_confirmed
    assert is_confirmed or type(problem) is KeysUnknownError


@pytest.mark.parametrize("status", [403, 404])
def test_refusal_to_another_account_means_the_keys(status):
    """W 6: other keys may do where the server took these for the admin's."""

    async def refused(_):
        return web.Response(status=status, headers={KIND: "admin"})

    (problem,) = publish(refused)
    assert type(problem) is KeysUnknownError


@pytest.mark.parametrize("status", [422, 500])
def test_refusal_that_quotes_the_reply_shows_no_secret(status):
    """W 37: a reply carries the container's environment, which cattle needs and no log does."""
    secret = "s3cr3t-Value"
    inspect = {"Config": {"Env": [f"PASSWORD={secret}"]}}

    async def quoting(request):
        return web.Response(status=status, text=await request.text())

    (refused,) = publish(quoting, reply={"data": {"dockerInspect": inspect}})
    assert "PASSWORD=***" in refused.message
    assert secret not in refused.message
