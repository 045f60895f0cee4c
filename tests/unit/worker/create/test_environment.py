"""Who may set a variable, and who wins.

Row numbers (A, W) refer to docs/parity.md.
"""

import pytest

from tests.factories import link
from tests.unit.worker.create.mapping import body
from worker.create import Facts

CATTLE = Facts(config_url="https://cattle.example/v1")
PROXIES = {
    "http_proxy": "http://p",
    "HTTP_PROXY": "http://P",
    "https_proxy": "https://p",
    "HTTPS_PROXY": "https://P",
    "no_proxy": "localhost",
    "NO_PROXY": "LOCALHOST",
}
PROXY = Facts(proxies=PROXIES)


def env(fields=None, **changes):
    """The variables as a map; one without value is None."""
    lines = body(fields, **changes).get("Env", [])
    return {key: value if sign else None for key, sign, value in (x.partition("=") for x in lines)}


def test_values_as_text():
    """A 4.3: numbers become text, null is a name without value, as docker's SDK has it."""
    variables = {"A": "x", "B": 1, "C": None, "D": "", "E": True}
    assert env({"environment": variables}) == {"A": "x", "B": "1", "C": None, "D": "", "E": "true"}


def test_null_environment_takes_additions():
    """A 4.3: where the user says nothing, what we add is still added."""
    assert "CATTLE_URL" in env({"environment": None}, agentId=1, facts=CATTLE)


def test_agent_url():
    """A 7.5: a container with an agent is told where cattle is."""
    url = "https://cattle.example/v1"
    assert env(agentId=1, facts=CATTLE) == {"CATTLE_CONFIG_URL": url, "CATTLE_URL": url}


@pytest.mark.parametrize(("value", "wanted"), [("true", True), (True, True), ("false", False)])
def test_agent_url_by_label(value, wanted):
    """A 7.5: a container may ask for cattle's url by a label."""
    labels = {"io.rancher.container.cattle_url": value}
    assert ("CATTLE_URL" in env({"labels": labels}, facts=CATTLE)) is wanted


def test_no_agent_no_url():
    """A 7.5: other containers are not told."""
    assert env(facts=CATTLE) == {}


def test_agent_url_on_localhost():
    """A 7.6: a url on localhost is taken apart, with the port of the host's proxy."""
    facts = Facts(config_url="http://localhost:8080/v1", api_proxy_port=9342)
    assert env(agentId=1, facts=facts) == {
        "CATTLE_AGENT_INSTANCE": "true",
        "CATTLE_CONFIG_URL_SCHEME": "http",
        "CATTLE_CONFIG_URL_PATH": "/v1",
        "CATTLE_CONFIG_URL_PORT": "9342",
    }


def test_user_wins_over_agent_url():
    """A 7.7: a variable of the user is never overwritten by the agent's."""
    made = env({"environment": {"CATTLE_URL": "mine"}}, agentId=1, facts=CATTLE)
    assert made["CATTLE_URL"] == "mine"


def test_user_wins_over_links():
    """A 8.15: a variable of the user is never overwritten by a link's."""
    made = env({"environment": {"DB_NAME": "mine"}}, instanceLinks=[link("db", (1, "tcp"))])
    assert made["DB_NAME"] == "mine"
    assert made["DB_PORT"] == "tcp://db:1"


@pytest.mark.parametrize("changes", [{"systemContainer": "NetworkAgent"}, {"system": True}])
@pytest.mark.parametrize("own", [{}, dict.fromkeys(PROXIES, "mine"), {"no_proxy": None}])
def test_system_container_gets_the_proxies_over_its_own(changes, own):
    """A 7.4, W 22: all six spellings, whichever of them the container sets itself."""
    assert env({"environment": own}, facts=PROXY, **changes) == PROXIES


def test_system_container_keeps_its_own_where_the_host_has_no_proxy():
    """A 7.4, W 22: what the host does not set is the container's own."""
    made = env({"environment": {"no_proxy": "mine"}}, facts=Facts(), system=True)
    assert made == {"no_proxy": "mine"}


def test_users_container_gets_no_proxy():
    """A 7.4, W 22: a user's container keeps its own variables and gets none of the host's."""
    assert env(facts=PROXY) == {}
    assert env({"environment": {"NO_PROXY": "mine"}}, facts=PROXY) == {"NO_PROXY": "mine"}
