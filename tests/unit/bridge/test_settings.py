"""The bridge's settings: one agent or a file of many, everything wrong said at once, no secrets."""

import pytest

from bridge.settings import BridgeSettings
from cowpoke.environment import BadEnvironmentError, read

SECRET = "correct-horse-battery"


@pytest.fixture
def settings(monkeypatch):
    """Read the settings with a good url and the given variables."""
    # A bundle of the machine's own has hundreds of certificates to read each time.
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)

    def with_variables(**variables):
        for name, value in {"CATTLE_URL": "http://cattle:8080/v1", **variables}.items():
            monkeypatch.setenv(name, value)
        return read(BridgeSettings)

    return with_variables


@pytest.fixture
def one_agent(settings):
    """Read the settings of a bridge with one agent."""

    def with_variables(**variables):
        keys = {"CATTLE_ACCESS_KEY": "access", "CATTLE_SECRET_KEY": SECRET}
        return settings(**{**keys, **variables})

    return with_variables


@pytest.fixture
def many_agents(settings, tmp_path):
    """Read the settings of a bridge with a file of agents."""

    def with_file(text):
        path = tmp_path / "agents.toml"
        path.write_text(text, encoding="utf-8")
        return settings(BRIDGE_AGENTS_FILE=str(path))

    return with_file


@pytest.fixture
def clean_proxies(monkeypatch):
    """No proxies of the machine's own."""
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def agent_table(access_key, host_uuid=None):
    """One agent of a file."""
    host = f'host_uuid = "{host_uuid}"\n' if host_uuid is not None else ""
    return f'[[agents]]\naccess_key = "{access_key}"\nsecret_key = "{SECRET}"\n{host}'


def error_of(make, *args, **variables):
    """The text of the error that reading ends in; it never holds the secret."""
    with pytest.raises(BadEnvironmentError) as raised:
        make(*args, **variables)
    assert SECRET not in str(raised.value)
    return str(raised.value)


def test_one_agent_needs_only_its_keys(one_agent):
    """The host of a single agent is learned from its worker."""
    (agent,) = one_agent().agents
    assert (agent.access_key, agent.host_uuid) == ("access", None)


def test_keys_become_basic_authentication(one_agent):
    """The header is that of HTTP Basic."""
    (agent,) = one_agent(CATTLE_ACCESS_KEY="a", CATTLE_SECRET_KEY="s€").agents
    assert agent.headers == {"Authorization": "Basic YTpz4oKs"}


@pytest.mark.parametrize(
    ("agent_id", "topic"), [(None, "ping"), ("1a5", "ping;agent=5"), ("5", "ping;agent=5")]
)
def test_a_service_account_names_the_agent_it_speaks_for(one_agent, agent_id, topic):
    """A 1.3: cattle takes a service account's names verbatim, so they carry the agent's number."""
    (agent,) = one_agent(**({"CATTLE_AGENT_ID": agent_id} if agent_id else {})).agents
    assert agent.topic("ping") == topic


def test_an_agent_id_that_is_none_is_refused(one_agent):
    """A typing mistake would subscribe to nothing for ever."""
    assert error_of(one_agent, CATTLE_AGENT_ID="five").startswith("CATTLE_AGENT_ID: ")


@pytest.mark.parametrize(
    "url",
    [
        "http://cattle:8080/v1",
        "http://cattle:8080/v1/",
        "http://cattle:8080/v1/schemas",
        " http://cattle:8080/v1/schemas/ ",
    ],
)
def test_the_url_is_the_apis_root(one_agent, url):
    """A slash at the end and `/schemas` are cut, as python-agent did (A 1.2)."""
    assert one_agent(CATTLE_URL=url).cattle_url == "http://cattle:8080/v1"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://cattle/v1",
        "cattle:8080",
        f"http://user:{SECRET}@cattle/v1",
        f"http://cattle/v1?token={SECRET}",
        "http://",
        "http://cattle/v1#x",
    ],
)
def test_another_url_is_refused_and_not_shown(one_agent, url):
    """The error names the variable; the value may hold a password."""
    text = error_of(one_agent, CATTLE_URL=url)
    assert text.startswith("CATTLE_URL: wanted http(s)://")
    assert url not in text


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"CATTLE_ACCESS_KEY": "a"}, "and CATTLE_SECRET_KEY"),
        ({"CATTLE_SECRET_KEY": SECRET}, "and CATTLE_ACCESS_KEY"),
        ({"CATTLE_ACCESS_KEY": "", "CATTLE_SECRET_KEY": SECRET}, "and CATTLE_ACCESS_KEY"),
    ],
)
def test_missing_keys_are_named(settings, given, missing):
    """Who gave one key only is told of all ways to give them."""
    text = error_of(settings, **given)
    assert text.startswith("BRIDGE_AGENTS_FILE: not set")
    assert missing in text


def test_no_agent_at_all_is_fine(settings):
    """Hosts that join bring their own."""
    assert settings().agents == ()
    assert settings(CATTLE_ACCESS_KEY="", CATTLE_SECRET_KEY="", BRIDGE_AGENTS_FILE="").agents == ()


def test_everything_wrong_is_said_at_once(settings):
    """Url, keys, key of the queue and numbers, in one message."""
    text = error_of(
        settings,
        CATTLE_URL="",
        CATTLE_ACCESS_KEY="a",
        QUEUE_KEY=SECRET,
        BRIDGE_INTAKE_LIMIT="0",
        REDIS_URL="x",
    )
    assert [line.partition(":")[0].split()[0] for line in text.splitlines()] == [
        "BRIDGE_AGENTS_FILE",
        "BRIDGE_INTAKE_LIMIT",
        "CATTLE_URL",
        "QUEUE_KEY",
        "REDIS_URL",
    ]


def test_variables_of_others_do_no_harm(one_agent):
    """A variable that is called like a field is not ours."""
    assert len(one_agent(AGENTS="zzz", DEBUG="zzz", CONCURRENCY="zzz").agents) == 1


def test_secrets_are_not_printed(one_agent, many_agents):
    """Settings may be logged as they are."""
    for settings in (one_agent(), many_agents(agent_table("a", "h1"))):
        assert SECRET not in f"{settings!r}{settings!s}{settings.model_dump()}{settings.agents!r}"


def test_a_file_names_many_agents(many_agents):
    """Each agent has its keys and its host."""
    agents = many_agents(agent_table("a", "h1") + agent_table("b", "h2")).agents
    assert [(agent.access_key, agent.host_uuid) for agent in agents] == [("a", "h1"), ("b", "h2")]
    assert agents[0].secret_key.get_secret_value() == SECRET


def test_a_file_of_one_agent_needs_no_host(many_agents):
    """It is as good as the two variables."""
    assert many_agents(agent_table("a")).agents[0].host_uuid is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "contains no [[agents]] section"),
        ("agents = 5", "agents."),
        ("[[agents]", "cannot be read"),
        (f'x = "{SECRET}', "cannot be read"),
        (agent_table("a", "h1") + agent_table("b"), "missing for b"),
        (agent_table("a", "h1") + agent_table("a", "h2"), "twice: a"),
        ('[[agents]]\naccess_key = "a"', "agents.0.secret_key: Field required"),
        (agent_table("a", ""), "agents.0.host_uuid"),
        (agent_table("a") + f'secret-key = "{SECRET}"', "agents.0.secret-key"),
        (f'[[agents]]\naccess_key = 5\nsecret_key = ["{SECRET}"]', "agents.0.access_key"),
    ],
)
def test_a_bad_file_is_explained(many_agents, text, fault):
    """The error names the file and what is wrong in it."""
    message = error_of(many_agents, text)
    assert message.startswith("BRIDGE_AGENTS_FILE: /")
    assert fault in message


def test_a_file_that_is_not_there_is_named(settings, tmp_path):
    """The error says which file could not be read."""
    path = str(tmp_path / "none.toml")
    assert f"{path} cannot be read" in error_of(settings, BRIDGE_AGENTS_FILE=path)


def test_a_file_that_is_no_text_is_explained(settings, tmp_path):
    """Bytes that are not UTF-8 are not a file of agents."""
    (tmp_path / "agents.toml").write_bytes(b"\xff\xfe")
    text = error_of(settings, BRIDGE_AGENTS_FILE=str(tmp_path / "agents.toml"))
    assert "cannot be read" in text


PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({}, None),
        ({"http_proxy": PROXY}, PROXY),
        ({"HTTP_PROXY": PROXY}, PROXY),
        ({"HTTP_PROXY": "http://other:1", "http_proxy": PROXY}, PROXY),
        ({"http_proxy": f" {PROXY}/ "}, PROXY),
        ({"http_proxy": "proxy.example:3128"}, PROXY),
        ({"http_proxy": "", "HTTP_PROXY": PROXY}, PROXY),
        ({"http_proxy": "http://user:word@proxy:1"}, "http://user:word@proxy:1"),
        ({"https_proxy": PROXY}, None),
        ({"https_proxy": PROXY, "CATTLE_URL": "https://cattle/v1"}, PROXY),
        ({"HTTPS_PROXY": PROXY, "CATTLE_URL": "https://cattle/v1"}, PROXY),
        ({"http_proxy": PROXY, "CATTLE_URL": "https://cattle/v1"}, None),
    ],
)
def test_proxy_of_the_urls_scheme_is_used(one_agent, clean_proxies, variables, proxy):
    """W 22: both spellings, the lower case first, and each scheme has its own."""
    assert one_agent(**variables).proxy == proxy


@pytest.mark.parametrize(
    ("url", "no_proxy", "is_direct"),
    [
        ("http://cattle:8080/v1", "cattle", True),
        ("http://cattle:8080/v1", "other, cattle", True),
        ("http://cattle:8080/v1", "cattle:8080", True),
        ("http://cattle:8080/v1", "cattle:8081", False),
        ("http://cattle:8080/v1", "*", True),
        ("http://cattle:8080/v1", "attle", False),
        ("http://cattle.example.org/v1", "example.org", True),
        ("http://cattle.example.org/v1", ".example.org", True),
        ("http://cattle.example.org/v1", "example.com", False),
        ("http://10.1.2.3:8080/v1", "10.0.0.0/8", True),
        ("http://10.1.2.3:8080/v1", "10.1.2.3", True),
        ("http://11.1.2.3:8080/v1", "10.0.0.0/8", False),
        ("http://[fd00::1]:8080/v1", "fd00::1", True),
        ("http://cattle:8080/v1", "", False),
    ],
)
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_no_proxy_is_heeded(one_agent, clean_proxies, name, url, no_proxy, is_direct):
    """W 22: names, domains, addresses, networks and everything."""
    settings = one_agent(CATTLE_URL=url, http_proxy=PROXY, **{name: no_proxy})
    assert (settings.proxy is None) is is_direct


@pytest.mark.parametrize("name", ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"])
@pytest.mark.parametrize(
    "url",
    [
        f"socks5://user:{SECRET}@proxy:1080",
        f"https://user:{SECRET}@proxy:1080",
        f"http://user:{SECRET}@proxy:port",
        f"http://user:{SECRET}@proxy:99999",
        f"http://proxy:3128/?{SECRET}",
        f"http://proxy:3128/{SECRET}",
        f"user:{SECRET}@:80",
        "http://",
        "[",
    ],
)
def test_proxy_that_cannot_be_used_is_refused_and_not_shown(one_agent, clean_proxies, name, url):
    """W 22: one line that names the variable; the url may hold a password."""
    text = error_of(one_agent, **{name: url})
    assert text.startswith(f"{name}: wanted http://")
    assert "\n" not in text


def test_password_of_a_proxy_is_not_printed(one_agent, clean_proxies):
    """W 22: settings may be logged as they are."""
    settings = one_agent(http_proxy=f"http://user:{SECRET}@proxy:3128")
    assert SECRET in settings.proxy
    assert SECRET not in f"{settings!r}{settings!s}{settings.model_dump()}"
