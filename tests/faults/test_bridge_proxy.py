"""A bridge that reaches cattle through an HTTP proxy only."""

import json

import pytest

from tests.bridges import ACTIVATE, EVENT
from tests.forward_proxy import forward_proxy

PASSWORD = "proxy-password-7d1f"


def lines_of(proxy, method):
    """Return the requests of a method that the proxy got."""
    return [line for line in proxy.requests if line.startswith(f"{method} ")]


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY"])
def test_websocket_and_replies_go_through_the_proxy(rig, name):
    """W 22: the websocket in a tunnel, since a proxy removes the upgrade of a forwarded request."""
    rig.start_worker()
    with forward_proxy() as proxy:
        bridge = rig.start_bridge(**{name: f"http://{proxy.address}"})
        rig.wait_subscribed()
        assert rig.cattle.call(ACTIVATE, {"a": 1}, **EVENT).data == {"a": 1}
        host = rig.url.removeprefix("http://").partition("/")[0]
        assert lines_of(proxy, "CONNECT") == [f"CONNECT {host} HTTP/1.1"]
        assert lines_of(proxy, "POST") == [f"POST {rig.url}/publish HTTP/1.1"]
        assert bridge.terminate() == 0


def test_proxy_gets_its_password_and_nobody_sees_it(rig):
    """W 22: for the tunnel and for the replies."""
    rig.start_worker()
    with forward_proxy(f"user:{PASSWORD}") as proxy:
        bridge = rig.start_bridge(http_proxy=f"http://user:{PASSWORD}@{proxy.address}")
        rig.wait_subscribed()
        assert rig.cattle.call(ACTIVATE, {}, **EVENT).state == "success"
        assert lines_of(proxy, "POST")
        assert bridge.terminate() == 0
        assert PASSWORD not in bridge.output()


def test_no_proxy_leads_past_the_proxy(rig):
    """W 22: networks too."""
    rig.start_worker()
    with forward_proxy() as proxy:
        bridge = rig.start_bridge(
            http_proxy=f"http://{proxy.address}", no_proxy="example.org,127.0.0.0/8"
        )
        rig.wait_subscribed()
        assert rig.cattle.call(ACTIVATE, {}, **EVENT).state == "success"
        assert bridge.terminate() == 0
        assert proxy.requests == []


@pytest.mark.parametrize("url", ["http://user:{}@{}", "http://user:{}@127.0.0.1:9"])
def test_proxy_that_lets_nobody_pass_is_named(rig, url):
    """W 22: a wrong password, or no proxy at all; tried again soon, and no secret in the log."""
    rig.start_worker()
    with forward_proxy("user:right") as proxy:
        bridge = rig.start_bridge(http_proxy=url.format(PASSWORD, proxy.address))
        line = json.loads(bridge.wait_for_line("stream.closed", 20))
        assert "through the proxy" in line["reason"]
        assert line["ending"] == "lost"
        assert line["retry_in_s"] < 10
        assert bridge.terminate() == 0
        assert PASSWORD not in bridge.output()
