"""Clients of a Redis behind Sentinels: where they write, and what counts as written."""

import time

import pytest
import redis
from click.testing import CliRunner
from structlog.testing import capture_logs

from cowpoke import keys, sentinels
from cowpoke.broker import connect, probe
from cowpoke.bundle import read_bundle, store_bundle
from cowpoke.cli.main import main
from cowpoke.environment import CREDENTIALS_VARIABLE, read
from cowpoke.ledger.states import Accepted
from cowpoke.replication import WAIT_MS
from cowpoke.seal import new_key
from cowpoke.settings import BrokerSettings
from simulator.rig.loopback_server import free_port
from simulator.rig.sentinels import SentinelRedis
from tests.ledgers import HOST, Ledgers, arrival


def settings_of(cluster, **more):
    """The settings of a program."""
    return BrokerSettings.model_validate({**cluster.environment, **more})


@pytest.fixture(scope="module")
def cluster(redis_server):
    """A master, two replicas and three Sentinels; `redis_server` says what is missing."""
    with SentinelRedis() as started:
        yield started


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    """Each test is a new process as far as Sentinels are concerned."""
    monkeypatch.setattr(sentinels, "_known", [])


@pytest.fixture
def client(cluster):
    """A client as the programs have it."""
    cluster.wait_well(60)
    with connect(settings_of(cluster)) as connected:
        connected.flushall()
        yield connected


def is_stored(server, one):
    """Whether a server has an event."""
    with server.client() as client:
        return bool(client.exists(keys.event(HOST, one.event.id)))


def test_accepted_event_is_on_a_replica(cluster, client, keyring):
    """One or several in one round trip."""
    ledgers = Ledgers(client, keyring)
    first, *others = [arrival() for _ in range(5)]
    assert ledgers.intake.accept([first]) == [Accepted.QUEUED]
    assert ledgers.intake.accept(others) == [Accepted.QUEUED] * 4
    for one in (first, *others):
        assert any(is_stored(replica, one) for replica in cluster.replicas())


def test_event_is_recorded_at_the_next_master_when_the_former_one_still_answers(
    cluster, client, keyring
):
    """A master that hung is not told at once that it was replaced, and takes writes till then."""
    ledgers = Ledgers(client, keyring)
    ledgers.intake.accept([arrival()])
    with connect(settings_of(cluster, REDIS_WAIT_REPLICAS="0")) as trusting:
        careless = Ledgers(trusting, keyring)
        careless.intake.accept([arrival()])
        former = cluster.master()
        cluster.freeze(former)
        promoted = cluster.wait_promoted(former)
        cluster.thaw(former)
        lost, kept = arrival(), arrival()
        # What a program without REDIS_WAIT_REPLICAS loses.
        careless.intake.accept([lost])
        with pytest.raises(redis.ConnectionError, match="not the master any more"):
            ledgers.intake.accept([kept])
        # As the intake does, which keeps an event until it is stored.
        assert ledgers.intake.accept([kept]) == [Accepted.QUEUED]
        assert is_stored(promoted, kept)
        assert is_stored(former, lost)
        assert not is_stored(promoted, lost)
        # The other client is of the same process: it leaves the former master too.
        careless.intake.accept([lost])
        assert is_stored(promoted, lost)


def test_missing_replicas_delay_one_write_and_block_none(cluster, client):
    """The Sentinels agree that the master is the master: work goes on, and the log says it."""
    replicas = cluster.replicas()
    for replica in replicas:
        cluster.freeze(replica)
    try:
        with capture_logs() as logged:
            began_s = time.monotonic()
            for number in range(50):
                with client.pipeline(transaction=False) as pipe:
                    pipe.set("a", number)
                    assert client.replication.execute(pipe) == [True]
            took_s = time.monotonic() - began_s
    finally:
        for replica in replicas:
            cluster.thaw(replica)
    assert took_s > WAIT_MS / 1000
    assert [line["event"] for line in logged].count("redis.write_unconfirmed") == 1
    assert took_s < 50 * WAIT_MS / 1000 / 2


def test_unconfirmed_write_counts_only_when_most_sentinels_agree(cluster, client):
    """A part of the network with the master and one Sentinel may have been given up."""
    frozen = [*cluster.replicas(), *cluster.sentinels[1:]]
    for server in frozen:
        cluster.freeze(server)
    try:
        with client.pipeline(transaction=False) as pipe:
            pipe.set("a", 1)
            with pytest.raises(redis.ConnectionError, match="not enough Sentinels"):
                client.replication.execute(pipe)
    finally:
        for server in frozen:
            cluster.thaw(server)


def test_silent_sentinels_delay_only_the_first_connection(cluster, monkeypatch):
    """Their machines may be gone with the master's."""
    silent = cluster.sentinels[:2]
    for one in silent:
        cluster.freeze(one)
    try:
        settings = settings_of(cluster)
        monkeypatch.setattr(sentinels, "FRESH_S", 0)
        probe(settings)
        began_s = time.monotonic()
        with connect(settings) as client:
            client.connection_pool.disconnect()
            client.ping()
        assert time.monotonic() - began_s < sentinels.ASK_TIMEOUT_S
    finally:
        for one in silent:
            cluster.thaw(one)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"REDIS_SENTINEL_MASTER": "another"}, "knows no master 'another'|No such master"),
        ({"REDIS_SENTINEL_PASSWORD": "wr0ng"}, "WRONGPASS|invalid username-password"),
        ({"REDIS_URL": f"sentinel://127.0.0.1:{free_port()}/0"}, "refused"),
    ],
)
def test_reason_why_no_master_is_found_is_said(cluster, changed, said):
    """The text names the Sentinel, and no password."""
    with pytest.raises(redis.ConnectionError, match=said) as raised:
        probe(settings_of(cluster, **changed))
    assert "127.0.0.1:" in str(raised.value)
    assert "wr0ng" not in str(raised.value)


def test_added_host_is_known_to_every_server(cluster, client, tmp_path, monkeypatch):
    """Redis does not copy users to replicas; the bundle says how to ask the Sentinels."""
    if client.info("server")["redis_version"] < "7":
        pytest.skip("a Redis before 7.0 has no selectors")
    servers, queue_key, host = cluster.servers, new_key(), "new-host"
    variables = {**cluster.environment, "QUEUE_KEY": queue_key}
    url = cluster.url.replace(f":{cluster.password}@", "")
    arguments = ["hosts", "add", "--host", host, "--redis", url, "--cattle-url", "http://h/v1"]
    bundle = tmp_path / "bundle"
    added = CliRunner().invoke(main, [*arguments, "--output", str(bundle)], env=variables)
    assert added.exit_code == 0, added.output
    assert list_users(servers) == [True] * len(servers)
    store_bundle(read_bundle(bundle.read_text()), tmp_path / "host")
    monkeypatch.setenv(CREDENTIALS_VARIABLE, str(tmp_path / "host"))
    with connect(read(BrokerSettings)) as as_host:
        assert as_host.lpush(f"host.{host}", "x") == 1
        with pytest.raises(redis.exceptions.NoPermissionError):
            as_host.lpush("host.other", "x")
    removed = CliRunner().invoke(main, ["hosts", "remove", host, "--yes"], env=variables)
    assert removed.exit_code == 0, removed.output
    assert list_users(servers) == [False] * len(servers)


def list_users(servers):
    """Whether each server has the user of the host."""
    found = []
    for server in servers:
        with server.client() as client:
            found.append(client.acl_getuser("cowpoke-host-new-host") is not None)
    return found


def test_server_that_became_a_replica_by_hand_is_left(cluster, client):
    """A script, a pipeline and a command: no answer of such a server counts."""
    former = cluster.master()
    other = cluster.replicas()[0]
    script = client.register_script("return redis.call('SET', KEYS[1], 1)")
    script(keys=["a"])
    with former.client() as admin:
        admin.replicaof("127.0.0.1", other.port)
    with pytest.raises(redis.ConnectionError, match=r"refused|replica"):
        script(keys=["a"])
    with client.pipeline(transaction=False) as pipe:
        pipe.set("a", 1)
        with pytest.raises(redis.ConnectionError):
            pipe.execute(raise_on_error=False)
