"""The variables of the worker: old names, better names, empty text, defaults.

Row numbers (A, W) refer to docs/parity.md.
"""

from pathlib import Path

import pytest

from cowpoke.environment import BadEnvironmentError, read
from tests.hosts import host_on
from worker.errors import OperationError
from worker.operations import operation_of
from worker.settings import WorkerSettings

# variable, its text, our name of it, what it is read as
VARIABLES = [
    pytest.param("CATTLE_URL", "http://c/v1", "cattle_url", "http://c/v1", id="A.18 URL"),
    pytest.param("CATTLE_ACCESS_KEY", "key", "access_key", "key", id="A.18 ACCESS_KEY"),
    pytest.param("CATTLE_CONFIG_URL", "http://d", "config_url", "http://d", id="A.18 CONFIG_URL"),
    pytest.param("CATTLE_STATE_DIR", "/s", "state_dir", Path("/s"), id="A.18 STATE_DIR"),
    pytest.param("CATTLE_HOME", "/h", "home", Path("/h"), id="A.18 HOME"),
    pytest.param(
        "CATTLE_PHYSICAL_HOST_UUID", "p", "physical_host_uuid", "p", id="A.18 PHYSICAL_HOST_UUID"
    ),
    pytest.param(
        "CATTLE_PHYSICAL_HOST_UUID_FILE",
        "/p",
        "physical_host_uuid_file",
        Path("/p"),
        id="A.18 PHYSICAL_HOST_UUID_FILE",
    ),
    pytest.param("CATTLE_DOCKER_UUID", "d", "docker_uuid", "d", id="A.18 DOCKER_UUID"),
    pytest.param(
        "CATTLE_DOCKER_UUID_FILE", "/d", "docker_uuid_file", Path("/d"), id="A.18 DOCKER_UUID_FILE"
    ),
    pytest.param("CATTLE_HOSTNAME", "h1", "hostname", "h1", id="A.18 HOSTNAME"),
    pytest.param("CATTLE_AGENT_IP", "1.2.3.4", "agent_ip", "1.2.3.4", id="A.18 AGENT_IP"),
    pytest.param(
        "CATTLE_DOCKER_HOST_IP", "1.2.3.5", "docker_host_ip", "1.2.3.5", id="A.18 DOCKER_HOST_IP"
    ),
    pytest.param(
        "CATTLE_HOST_LABELS", "a=b&c=", "host_labels", {"a": "b", "c": ""}, id="A.18 HOST_LABELS"
    ),
    pytest.param("CATTLE_PING_ENABLED", "false", "ping_enabled", False, id="A.18 PING_ENABLED"),
    pytest.param("CATTLE_WORKERS", "7", "concurrency", 7, id="A.18 WORKERS"),
    pytest.param("WORKER_CONCURRENCY", "8", "concurrency", 8, id="A.18 WORKERS, by our name"),
    pytest.param("CATTLE_LOCK_DIR", "/l", "lock_dir", Path("/l"), id="A.18 LOCK_DIR"),
    pytest.param("CATTLE_BUILD_DIR", "/b", "build_dir", Path("/b"), id="A.18 BUILD_DIR"),
    pytest.param(
        "CATTLE_CONFIG_SCRIPT", "/c.sh", "config_script", Path("/c.sh"), id="A.18 CONFIG_SCRIPT"
    ),
    pytest.param(
        "WORKER_CONFIG_SCRIPT",
        "/c.sh",
        "config_script",
        Path("/c.sh"),
        id="A.18 CONFIG_SCRIPT, by our name",
    ),
    pytest.param(
        "CATTLE_CONFIG_UPDATE_PYAGENT",
        "true",
        "config_update_pyagent",
        True,
        id="A.18 CONFIG_UPDATE_PYAGENT",
    ),
    pytest.param("CATTLE_DEBUG", "true", "debug", True, id="A.18 DEBUG"),
    pytest.param(
        "CATTLE_DOCKER_ENABLED", "false", "docker_enabled", False, id="A.18 DOCKER_ENABLED"
    ),
    pytest.param(
        "CATTLE_DOCKER_REQUIRED", "true", "docker_required", True, id="A.18 DOCKER_REQUIRED"
    ),
    pytest.param(
        "CATTLE_DOCKER_URL_BASE",
        "unix:///d.sock",
        "docker_host",
        "unix:///d.sock",
        id="A.18 DOCKER_URL_BASE",
    ),
    pytest.param("DOCKER_HOST", "tcp://h:2375", "docker_host", "tcp://h:2375", id="DOCKER_HOST"),
    pytest.param(
        "CATTLE_DOCKER_API_VERSION",
        "1.44",
        "docker_api_version",
        "1.44",
        id="A.18 DOCKER_API_VERSION",
    ),
    pytest.param(
        "CATTLE_DOCKER_STORAGE_API_VERSION",
        "1.44",
        "docker_api_version",
        "1.44",
        id="A.18 DOCKER_STORAGE_API_VERSION",
    ),
    pytest.param(
        "CATTLE_API_PROXY_LISTEN_PORT",
        "81",
        "api_proxy_port",
        81,
        id="A.18 API_PROXY_LISTEN_PORT",
    ),
    pytest.param("CATTLE_HOST_API_PROXY", "p:1", "host_api_proxy", "p:1", id="A.18 HOST_API_PROXY"),
    pytest.param("http_proxy", "http://p", "http_proxy_lower", "http://p", id="A.18 http_proxy"),
    pytest.param("https_proxy", "http://q", "https_proxy_lower", "http://q", id="A.18 https_proxy"),
    pytest.param("NO_PROXY", "a,b", "no_proxy_upper", "a,b", id="A.18 NO_PROXY"),
    pytest.param("HTTP_PROXY", "http://p", "http_proxy_upper", "http://p", id="HTTP_PROXY"),
    pytest.param("HTTPS_PROXY", "http://q", "https_proxy_upper", "http://q", id="HTTPS_PROXY"),
    pytest.param("no_proxy", "a,b", "no_proxy_lower", "a,b", id="no_proxy"),
    pytest.param("CATTLE_MEMORY_OVERRIDE", "1024", "memory_bytes", 1024, id="parity B.6 memory"),
    pytest.param("CATTLE_MILLI_CPU_OVERRIDE", "500", "milli_cpu", 500, id="parity B.6 milliCpu"),
    pytest.param(
        "CATTLE_LOCAL_STORAGE_MB_OVERRIDE", "9", "local_storage_mb", 9, id="parity B.6 storage"
    ),
    pytest.param("CATTLE_SCHEDULER_IPS", "1.1.1.1", "scheduler_ips", "1.1.1.1", id="parity B.6"),
    pytest.param(
        "CATTLE_SCHEDULER_REQUIRE_ANY",
        "x=1",
        "scheduler_require_any",
        "x=1",
        id="parity B.6 require any",
    ),
]


@pytest.mark.parametrize(("variable", "text", "name", "value"), VARIABLES)
def test_a_variable_is_read_under_its_old_name(monkeypatch, variable, text, name, value):
    """Its text becomes the setting."""
    monkeypatch.setenv(variable, text)
    assert getattr(read(WorkerSettings), name) == value


@pytest.mark.parametrize(("variable", "text", "name", "value"), VARIABLES)
def test_empty_text_counts_as_unset(monkeypatch, variable, text, name, value):
    """The setting keeps its default."""
    monkeypatch.delenv(variable, raising=False)
    default = getattr(read(WorkerSettings), name)
    monkeypatch.setenv(variable, "")
    assert getattr(read(WorkerSettings), name) == default


def test_the_secret_key_is_never_shown(monkeypatch):
    """A.18 SECRET_KEY: read, and not printed with the settings."""
    monkeypatch.setenv("CATTLE_SECRET_KEY", "planted-secret")
    settings = read(WorkerSettings)
    assert settings.secret_key is not None
    assert settings.secret_key.get_secret_value() == "planted-secret"
    assert "planted-secret" not in repr(settings)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"http_proxy": "a"}, {"http_proxy": "a", "HTTP_PROXY": "a"}),
        ({"HTTPS_PROXY": "a"}, {"https_proxy": "a", "HTTPS_PROXY": "a"}),
        ({"no_proxy": "a", "NO_PROXY": "b"}, {"no_proxy": "a", "NO_PROXY": "b"}),
        ({"no_proxy": "", "NO_PROXY": "b"}, {"no_proxy": "b", "NO_PROXY": "b"}),
        ({"http_proxy": "", "HTTP_PROXY": ""}, {}),
    ],
)
def test_proxies_are_handed_on_in_both_spellings(monkeypatch, given, expected):
    """W 22, A 7.4: a missing spelling gets the other's value, two different values stay."""
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = read(WorkerSettings)
    assert settings.proxy_variables == expected


def test_a_proxys_password_is_never_shown(monkeypatch):
    """W 22: a proxy's url may hold a password, and is not printed with the settings."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:planted-secret@proxy:3128")
    settings = read(WorkerSettings)
    assert "planted-secret" in settings.proxy_variables["https_proxy"]
    assert "planted-secret" not in repr(settings)


def test_our_better_name_wins_over_the_old_one(monkeypatch):
    """A.18 WORKERS: both work; who set both gets ours."""
    monkeypatch.setenv("CATTLE_WORKERS", "3")
    monkeypatch.setenv("WORKER_CONCURRENCY", "")
    assert read(WorkerSettings).concurrency == 3
    monkeypatch.setenv("WORKER_CONCURRENCY", "5")
    assert read(WorkerSettings).concurrency == 5


def test_the_folders_follow_the_home(monkeypatch):
    """State, locks, builds and uuid files lie in CATTLE_HOME unless told otherwise (A.18 HOME)."""
    monkeypatch.setenv("CATTLE_HOME", "/h")
    settings = read(WorkerSettings)
    assert (settings.state_dir, settings.lock_dir) == (Path("/h"), Path("/h"))
    assert settings.build_dir == Path("/h/builds")
    assert settings.docker_uuid_file == Path("/h/.docker_uuid")
    assert settings.physical_host_uuid_file == Path("/h/.physical_host_uuid")


@pytest.mark.parametrize("variable", ["CATTLE_WORKERS", "WORKER_CONCURRENCY"])
def test_a_bad_value_is_told_of_by_its_variable(monkeypatch, variable):
    """The message has a name that the operator can find in README, and no value."""
    monkeypatch.setenv(variable, "many")
    with pytest.raises(BadEnvironmentError, match=r"WORKER_CONCURRENCY|CATTLE_WORKERS") as caught:
        read(WorkerSettings)
    assert "many" not in str(caught.value)


def test_without_docker_events_about_containers_are_refused(tmp_path):
    """A.18 DOCKER_ENABLED: false refuses with a reason and answers pings and config.update."""
    host = host_on(f"unix://{tmp_path}/none.sock", tmp_path, CATTLE_DOCKER_ENABLED="false")
    with pytest.raises(OperationError, match="CATTLE_DOCKER_ENABLED is false"):
        host.run("compute.instance.activate", {})
    assert host.run("ping", {"options": {"resources": True, "instances": True}}) == {}
    assert operation_of("compute.no.such", host.host.settings) is None


def test_switched_off_pings_are_answered_with_nothing(tmp_path):
    """A.18 PING_ENABLED: false gives an empty reply, the Engine is not asked (A 14.2)."""
    host = host_on(f"unix://{tmp_path}/none.sock", tmp_path, CATTLE_PING_ENABLED="false")
    assert host.run("ping", {"options": {"resources": True, "instances": True}}) == {}
    assert host.calls == {}


def test_no_key_has_a_default(monkeypatch):
    """Nobody's password is built in (A.18 SECRET_KEY)."""
    settings = read(WorkerSettings)
    assert settings.access_key is None
    assert settings.secret_key is None
