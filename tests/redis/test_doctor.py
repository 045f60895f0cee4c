"""`cowpoke doctor` on a real Redis, a simulated cattle, and their usual defects."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from cryptography.fernet import Fernet

from cowpoke import keys
from cowpoke.acl import host_rules
from cowpoke.cli.main import main
from cowpoke.doctor import redis_part
from cowpoke.joined import JoinedAgent, hand_over
from cowpoke.lease import Lease
from cowpoke.liveness import Leases
from cowpoke.seal import ClusterKeyring
from simulator.rig.processes import PROJECT_DIR
from tests.redis_users import skip_without_selectors

HOST = "h-1"
AGENT = {"access_key": "agent-key", "secret_key": "agent-secret-5f1d", "kind": "agent"}


@pytest.fixture
def queue_key():
    """A QUEUE_KEY of the test's own."""
    return Fernet.generate_key().decode()


@pytest.fixture
def doctor(redis_url, queue_key):
    """Call `cowpoke doctor --json`: the exit code, and the findings by part and check."""

    def call(*arguments, **env):
        given = {"REDIS_URL": redis_url, "QUEUE_KEY": queue_key, **env}
        ended = CliRunner().invoke(main, ["doctor", "--json", *arguments], env=given)
        assert "agent-secret-5f1d" not in ended.output
        assert queue_key not in ended.output
        found = json.loads(ended.stdout)["findings"]
        return ended.exit_code, {(one["part"], one["check"]): one for one in found}

    return call


@pytest.fixture(scope="module")
def cattle_url(redis_server):
    """A simulated cattle with one agent."""
    from simulator.rig.processes import Program  # noqa: PLC0415

    environment = {"SIMULATOR_AGENTS": json.dumps([AGENT]), "SIMULATOR_PING_INTERVAL_S": "0"}
    with Program("simulator", environment=environment) as program:
        yield program.wait_for_line(r"^simulator: http", timeout_s=30).split(" ", 1)[1].strip()


def _levels(found):
    return {where: one["level"] for where, one in found.items()}


def test_a_good_redis_has_no_problem(doctor, redis_client, queue_key):
    """With the fingerprints of every program that runs."""
    keyring = ClusterKeyring(queue_key)
    lease = Lease(
        worker_id="w-1",
        host_uuid=HOST,
        lanes=(),
        fingerprints=keyring.host(HOST).fingerprints,
    )
    Leases(redis_client).renew(lease, keyring.host(HOST))
    redis_client.sadd(keys.HOSTS, HOST)
    code, found = doctor()
    levels = _levels(found)
    assert code == 0, found
    for check in ("connection", "version", "memory", "eviction", "clock"):
        assert levels["redis", check] == "good"
    assert keyring.fingerprints[0] in found["keys", "QUEUE_KEY"]["message"]
    (line,) = found["keys", "programs"]["details"]
    assert line == f"worker w-1 of host {HOST}: {keyring.host(HOST).fingerprints[0]}"
    assert levels["bridge", "settings"] == levels["worker", "settings"] == "skipped"


def test_defects_of_redis_have_codes_and_advice(doctor, make_redis, queue_key):
    """Eviction is fatal; a file that is not always written is worth knowing."""
    server = make_redis(appendonly=True)
    with server.client() as client:
        client.config_set("maxmemory", "500mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("appendfsync", "everysec")
    code, found = doctor(REDIS_URL=server.url)
    assert code == 1
    assert found["redis", "eviction"]["code"] == "redis-eviction"
    assert found["redis", "eviction"]["level"] == "problem"
    assert "noeviction" in found["redis", "eviction"]["advice"]
    assert found["redis", "appendfsync"]["level"] == "note"


def test_other_keys_are_found(doctor, redis_client):
    """Of a worker that nobody could work with."""
    other = ClusterKeyring(Fernet.generate_key().decode())
    lease = Lease(worker_id="w-1", host_uuid=HOST, lanes=())
    Leases(redis_client).renew(lease, other.host(HOST))
    redis_client.sadd(keys.HOSTS, HOST)
    code, found = doctor()
    assert code == 1
    assert found["keys", "programs"]["code"] == "keys-differ"
    assert "its lease cannot be opened" in found["keys", "programs"]["details"][0]


def test_a_redis_that_is_away_and_a_misspelt_variable(doctor):
    """Both are said, with what to do."""
    code, found = doctor(REDIS_URL="redis://:hush-hush@127.0.0.1:9/0", WORKER_CONCURENCY="3")
    assert code == 1
    assert found["redis", "connection"]["code"] == "redis-down"
    assert "WORKER_CONCURRENCY" in found["settings", "variables"]["advice"]
    assert "hush-hush" not in json.dumps([*found.values()])


def test_a_login_that_redis_refuses_is_no_silent_redis(
    doctor, redis_server, redis_client, tmp_path
):
    """Such as that of a host which was removed, or has a newer bundle."""
    redis_client.execute_command("ACL", "SETUSER", "host-1", ">pw", "on", "allkeys", "allcommands")
    try:
        url = redis_server.url.replace("redis://", "redis://host-1:old@")
        code, found = doctor(REDIS_URL=url, CATTLE_DOCKER_UUID=HOST, CATTLE_HOME=str(tmp_path))
    finally:
        redis_client.execute_command("ACL", "DELUSER", "host-1")
    assert code == 1
    assert "refused the login" in found["redis", "login"]["message"]
    assert "refuses the login" in found["worker", "lanes"]["message"]
    for part in (("redis", "login"), ("worker", "lanes")):
        assert "cowpoke hosts add --host UUID --again" in found[part]["advice"]


def test_the_user_of_a_host_may_ask(doctor, redis_server, redis_client):
    """What it may not ask is skipped, not failed."""
    skip_without_selectors(redis_server)
    redis_client.execute_command("ACL", "SETUSER", "host-1", ">pw", *host_rules(HOST).words())
    try:
        url = redis_server.url.replace("redis://", "redis://host-1:pw@")
        code, found = doctor("--part", "redis", REDIS_URL=url)
    finally:
        redis_client.execute_command("ACL", "DELUSER", "host-1")
    assert code == 0, found
    levels = _levels(found)
    assert levels["redis", "version"] == "good"
    assert levels["redis", "appendfsync"] == levels["keys", "programs"] == "skipped"


def test_a_clock_that_differs_is_said(doctor, monkeypatch):
    """Which way round, too."""
    real = redis_part.time.time
    monkeypatch.setattr(redis_part.time, "time", lambda: real() + 90)
    _, found = doctor("--part", "redis")
    assert found["redis", "clock"]["code"] == "clock-differs"
    assert "90.0" in found["redis", "clock"]["message"]
    assert "ahead of" in found["redis", "clock"]["message"]


def test_cattle_and_the_keys_of_agents_are_tried(doctor, cattle_url, redis_client, queue_key):
    """Those of the settings, and those of hosts that joined."""
    bridge = {"CATTLE_URL": cattle_url, "CATTLE_ACCESS_KEY": AGENT["access_key"]}
    code, found = doctor("--part", "bridge", CATTLE_SECRET_KEY=AGENT["secret_key"], **bridge)
    assert code == 0, found
    assert found["bridge", "cattle"]["message"].startswith(f"{cattle_url} answers in ")
    assert found["bridge", f"keys of agent {AGENT['access_key']}"]["level"] == "good"

    joined = JoinedAgent(
        host_uuid=HOST, cattle_url=cattle_url, access_key="joined-key", secret_key="wrong-one"
    )
    hand_over(redis_client, ClusterKeyring(queue_key).host(HOST), joined)
    code, found = doctor("--part", "bridge", CATTLE_SECRET_KEY="not-that-one", **bridge)
    assert code == 1
    for access_key in (AGENT["access_key"], "joined-key"):
        assert found["bridge", f"keys of agent {access_key}"]["code"] == "agent-keys-refused"
    assert "not-that-one" not in json.dumps([*found.values()])


def test_a_cattle_that_is_none_is_said(doctor, redis_server):
    """Nobody listens, or something else does."""
    code, found = doctor("--part", "bridge", CATTLE_URL="http://127.0.0.1:9/v1")
    assert (code, found["bridge", "cattle"]["code"]) == (1, "cattle-unreachable")


def test_a_host_without_engine_and_worker_is_said(doctor, tmp_path):
    """As far as its settings are here."""
    code, found = doctor(
        "--part", "worker", CATTLE_HOME=str(tmp_path), DOCKER_HOST=f"unix://{tmp_path}/none.sock"
    )
    assert code == 1
    assert found["worker", "Engine"]["code"] == "engine-unreachable"
    assert found["worker", "state folder"]["level"] == "good"
    assert "no worker has run here yet" in found["worker", "lanes"]["message"]
    # It makes no uuid: that is the part of a worker.
    assert list(tmp_path.iterdir()) == []


def test_for_people_it_prints_advice_below_a_table(redis_url):
    """In a pipe without colors; the exit code says the same."""
    ended = subprocess.run(
        [sys.executable, "-m", "cowpoke", "doctor", "--part", "redis"],
        cwd=PROJECT_DIR,
        env={"PATH": "/usr/bin:/bin", "REDIS_URL": redis_url, "REDIS_ULR": "x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "settings, variables: REDIS_ULR is no setting\n  do: no setting has" in ended.stdout
    assert ended.stdout.endswith("no problem found\n")
