"""What a bridge makes of refusals: of keys that cattle does not know, and of what is no cattle."""

import json

import pytest
from aiohttp import web

from simulator.rig.processes import wait_until
from tests.answering import answering_thread
from tests.bridges import AGENT

ADMIN = {"X-API-ACCOUNT-KIND": "admin", "X-API-ACCOUNT-ID": "1a1", "X-API-USER-ID": "1a1"}


def first_closing(rig, status, headers):
    """Return how a bridge takes it that its subscription is answered so."""

    async def answer(_):
        return web.Response(status=status, headers=headers, body=b"x" * 200_000)

    rig.start_worker()
    with answering_thread(answer) as url:
        bridge = rig.start_bridge(CATTLE_URL=f"{url}/v1")
        return json.loads(bridge.wait_for_line("stream.closed", 20))


@pytest.mark.parametrize("status", [404, 403, 422])
def test_keys_taken_for_the_admins_are_explained_and_tried_slowly(rig, status):
    """W 6, W 7: what a real server without access control answers to keys of a removed agent."""
    line = first_closing(rig, status, ADMIN)
    assert line["ending"] == "wrong-account"
    for word in (str(status), "admin", "CATTLE_SECRET_KEY", "register the host again"):
        assert word in line["reason"]
    assert line["retry_in_s"] >= 30


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (404, {}),
        (404, {"X-API-ACCOUNT-KIND": "agent"}),
        (500, ADMIN),
        (502, {}),
        (503, {"Retry-After": "9999"}),
        (200, {}),
    ],
)
def test_proxy_without_a_cattle_is_tried_again_soon(rig, status, headers):
    """W 6, W 7: the default back end of a proxy says nothing of the keys."""
    line = first_closing(rig, status, headers)
    assert line["ending"] == "lost"
    assert line["retry_in_s"] <= 10


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_of_a_subscription_is_not_followed(rig, status):
    """W 30: the keys are sent to no other place, and the log says where they were to go."""
    line = first_closing(rig, status, {"Location": f"{rig.url}/subscribe?token=hunter2"})
    assert f"redirects to {rig.url}/subscribe" in line["reason"]
    assert "hunter2" not in line["reason"]
    assert rig.counted("connects") == 0


def test_reply_of_a_removed_agent_goes_out_with_anothers_keys(make_rig, tmp_path):
    """W 6: without access control 201 says nothing; the reply counts when an agent sent it."""
    other = {"access_key": "other", "secret_key": "other-secret"}
    rig = make_rig(agents=[AGENT, other], security_enabled=False)
    event_id = rig.leave_outcome()
    path = tmp_path / "agents.toml"
    path.write_text(
        f'[[agents]]\naccess_key = "{AGENT["access_key"]}"\nsecret_key = "forgotten"\n'
        'host_uuid = "host-1"\n'
        '[[agents]]\naccess_key = "other"\nsecret_key = "other-secret"\nhost_uuid = "host-2"\n'
    )
    bridge = rig.start_bridge(BRIDGE_AGENTS_FILE=str(path))
    bridge.wait_for_line("reply.sent", 20)
    waited = json.loads(bridge.wait_for_line("reply.retried", 1))
    assert (waited["event_id"], "does not know the agent" in waited["reason"]) == (event_id, True)
    wait_until(lambda: rig.outcomes_left() == 0, 10, "the end of the outcome")


def test_reply_that_only_the_admin_sent_is_not_counted_as_sent(make_rig):
    """W 6: it is sent again with whatever keys there are, and stays in Redis meanwhile."""
    rig = make_rig(security_enabled=False)
    rig.leave_outcome()
    bridge = rig.start_bridge(CATTLE_SECRET_KEY="forgotten")
    wait_until(lambda: bridge.output().count("reply.retried") >= 2, 20, "two attempts")
    assert "reply.sent" not in bridge.output()
    assert rig.outcomes_left() == 1
