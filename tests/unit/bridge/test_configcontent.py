"""Items that no host fetched are reported to cattle before the reply."""

import asyncio
import time

import pytest
from aiohttp import web

from bridge.awake import AwakeClock
from bridge.client import open_session
from bridge.errors import KeysUnknownError
from bridge.outbound.configcontent import ConfigContent
from bridge.settings import AgentKeys
from cowpoke.outcomes import Kind, error, success
from tests.answering import NO_TLS, answering
from tests.floor import allowed_s

AGENT = AgentKeys(access_key="key", secret_key="secret")
SKIPPED = success({"upToDate": ["host-config", "pyagent"]})


def report(outcome, *answered, within_s=10):
    """Return the outcome after reporting to a cattle that answers so, and what it was asked.

    An answer is a status or a function of the request.
    """
    answers = iter(answered)
    asked = []

    async def answer(request):
        asked.append((request.method, request.path_qs, request.headers["Authorization"]))
        one = next(answers, 200)
        if not isinstance(one, int):
            return await one(request)
        return web.Response(status=one, text="words")

    async def run():
        async with (
            answering(answer) as url,
            AwakeClock() as clock,
            open_session(NO_TLS) as session,
        ):
            config = ConfigContent(session, f"{url}/v1", clock=clock)
            return await config.reported(AGENT, outcome, within_s)

    return asyncio.run(run()), asked


def test_each_item_is_reported_with_the_agents_keys():
    """`PUT configcontent/<item>?version=latest`, then the outcome as it was (A 14.18)."""
    outcome, asked = report(SKIPPED)
    assert outcome == SKIPPED
    paths = [f"/v1/configcontent/{item}?version=latest" for item in ("host-config", "pyagent")]
    assert [(method, path) for method, path, _ in asked] == [("PUT", path) for path in paths]
    assert {header for _, _, header in asked} == {AGENT.headers["Authorization"]}


@pytest.mark.parametrize(
    "outcome", [success({}), success({"exitCode": 0}), error("no", "no"), success({"upToDate": 1})]
)
def test_other_outcomes_are_left_alone(outcome):
    """Nothing to report, nothing asked (A 14.17)."""
    assert report(outcome) == (outcome, [])


def test_a_moments_failure_is_tried_again():
    """Within the deadline (A 14.18)."""
    outcome, asked = report(SKIPPED, 503, 500)
    assert outcome == SKIPPED
    assert len(asked) == 4


def test_a_failure_to_the_end_is_an_error_before_the_deadline():
    """Cattle gets a reply that says why, not silence (A 14.19)."""
    began_s = time.monotonic()
    outcome, asked = report(SKIPPED, *[503] * 50, within_s=2)
    assert time.monotonic() - began_s < allowed_s(2)
    assert (outcome.kind, outcome.code) == (Kind.ERROR, "config-not-reported")
    assert "cattle answered 503 to the report that host-config is up to date" in outcome.message
    assert len(asked) > 1


def test_a_refusal_is_an_error_at_once():
    """An item the server does not know stays unknown (A 14.19)."""
    outcome, asked = report(SKIPPED, 404)
    assert outcome.kind is Kind.ERROR
    assert len(asked) == 1


def test_redirected_report_is_an_error_that_names_the_place():
    """W 30: the report goes to no other server."""

    async def redirect(request):
        return web.Response(status=302, headers={"Location": "http://elsewhere.example/v1"})

    outcome, asked = report(SKIPPED, redirect, redirect, within_s=1)
    assert "redirects to http://elsewhere.example/v1" in outcome.message
    assert asked


def test_archive_in_the_answer_is_read_up_to_a_limit():
    """W 30: a real server answers with an archive of any size, which nobody needs."""

    async def archive(request):
        return web.Response(body=b"x" * 5_000_000)

    outcome, asked = report(SKIPPED, archive, archive)
    assert outcome == SKIPPED
    assert len(asked) == 2


def test_report_that_cattle_took_for_the_admins_is_left_to_other_keys():
    """W 6, W 32: without access control, keys of a removed agent get a 200 that says nothing."""

    async def taken(request):
        return web.Response(headers={"X-API-ACCOUNT-KIND": "admin"})

    with pytest.raises(KeysUnknownError, match="admin"):
        report(SKIPPED, taken)
