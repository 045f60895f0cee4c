"""`cowpoke hosts add` and `hosts remove`: the user of a host, its bundle, what the host stores."""

import stat

import pytest
import redis
from click.testing import CliRunner

from cowpoke import keys
from cowpoke.bundle import read_bundle, store_bundle
from cowpoke.cli.main import main
from cowpoke.environment import CREDENTIALS_VARIABLE, read
from cowpoke.joined import JoinedAgent, hand_over
from cowpoke.seal import Sealer, host_key, new_key
from simulator.rig.redis_server import RedisServer
from tests.redis_users import skip_without_selectors
from worker.settings import WorkerSettings

OWN, NEW = "own-host", "new-host"
CATTLE_URL = "http://192.0.2.1:8080/v1"


@pytest.fixture
def server(tmp_path):
    """A Redis with an ACL file in a folder of credentials."""
    acl_file = tmp_path / "hub" / "redis" / "users.acl"
    acl_file.parent.mkdir(parents=True)
    acl_file.write_text("user default on nopass ~* &* +@all\n")
    with RedisServer(options={"aclfile": str(acl_file)}) as started:
        acl_file.unlink()
        yield started


@pytest.fixture
def hub(tmp_path, server):
    """The folder of a hub whose Redis runs with its users."""
    folder = tmp_path / "hub"
    skip_without_selectors(server)
    with server.client() as client:
        run("credentials", folder, "--host", OWN, "--redis", f"127.0.0.1:{server.port}")
        client.execute_command("ACL", "LOAD")
    return folder


def run(*arguments, code=0, **environment):
    """Run a subcommand; what it wrote to standard output, and to standard error."""
    result = CliRunner().invoke(main, [*map(str, arguments)], env=environment)
    assert result.exit_code == code, result.output
    # The runner writes the text of an exit to standard output.
    return result.stdout, result.output


def add(hub, server, *options, host=NEW, code=0):
    """Add a host to the hub."""
    address = f"redis://127.0.0.1:{server.port}/0"
    arguments = ["hosts", "add", "--credentials", hub, "--host", host, "--redis", address]
    return run(*arguments, "--cattle-url", CATTLE_URL, *options, code=code)


def test_bundle_lets_a_host_work_and_nothing_else(hub, server, tmp_path, monkeypatch):
    """Its user, its key and its uuid; the connections of others stay."""
    with redis.Redis.from_url((hub / "worker" / "REDIS_URL").read_text()) as others:
        before = others.client_id()
        line, said = add(hub, server)
        assert others.client_id() == before
    assert line.count("\n") == 1
    bundle = read_bundle(line)
    assert NEW in said
    assert bundle.host_key not in said
    assert bundle.host_key == host_key((hub / "bridge" / "QUEUE_KEY").read_text(), NEW)
    folder = tmp_path / "host"
    written = store_bundle(bundle, folder)
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    assert store_bundle(bundle, folder) == []
    monkeypatch.setenv(CREDENTIALS_VARIABLE, str(folder))
    settings = read(WorkerSettings)
    assert settings.docker_uuid == NEW
    assert settings.cattle_url == CATTLE_URL
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        assert client.lpush(f"host.{NEW}", "x") == 1
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.lpush(f"host.{OWN}", "x")


def test_credentials_keep_the_hosts_that_were_added(hub, server):
    """Such as with the rules of a new version, or after Redis read its file again."""
    line, _ = add(hub, server)
    (hub / "flower" / "REDIS_URL").unlink()
    run("credentials", hub, "--host", OWN, "--redis", f"127.0.0.1:{server.port}")
    with redis.Redis.from_url(read_bundle(line).redis_url) as client:
        assert client.lpush(f"host.{NEW}", "x") == 1


def test_known_host_gets_another_password_only_on_demand(hub, server):
    """The first bundle is of no use then."""
    first, _ = add(hub, server)
    _, said = add(hub, server, code=1)
    assert "--again" in said
    second, _ = add(hub, server, "--again")
    assert read_bundle(first).redis_url != read_bundle(second).redis_url
    with (
        redis.Redis.from_url(read_bundle(first).redis_url) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()
    with redis.Redis.from_url(read_bundle(second).redis_url) as client:
        assert client.ping()


def test_removed_host_is_cut_off_and_its_keys_are_gone(hub, server):
    """Bridges end its agent's subscription when its note is gone."""
    line, _ = add(hub, server)
    bundle = read_bundle(line)
    agent = JoinedAgent(
        host_uuid=NEW, cattle_url=CATTLE_URL, access_key="A1", secret_key="very-secret"
    )
    with redis.Redis.from_url(bundle.redis_url) as client:
        hand_over(client, Sealer(bundle.host_key), agent)
        _, asked = run("hosts", "remove", NEW, "--credentials", hub, code=1)
        assert "give --yes" in asked
        run("hosts", "remove", NEW, "--credentials", hub, "--yes")
        with pytest.raises((redis.ConnectionError, redis.AuthenticationError)):
            client.ping()
    with redis.Redis.from_url((hub / "bridge" / "REDIS_URL").read_text()) as bridge:
        assert not bridge.exists(keys.joined(NEW))
    assert NEW not in (hub / "redis" / "users.acl").read_text()
    _, said = run("hosts", "remove", NEW, "--credentials", hub, "--yes", code=1)
    assert "not known" in said


def test_administrator_of_another_redis_adds_a_host(hub, server, tmp_path):
    """Redis saves its own ACL file; the bundle goes into a file of its owner's."""
    password = (hub / "redis" / "admin").read_text()
    address = f"127.0.0.1:{server.port}"
    output = tmp_path / "bundle"
    environment = {"REDIS_URL": f"redis://admin:{password}@{address}/0", "QUEUE_KEY": new_key()}
    arguments = ["hosts", "add", "--redis", f"redis://{address}/0", "--output", output]
    printed, said = run(*arguments, **environment)
    assert printed == ""
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    bundle = read_bundle(output.read_text())
    assert bundle.host_uuid in said
    assert bundle.host_uuid in (hub / "redis" / "users.acl").read_text()
    with redis.Redis.from_url(bundle.redis_url) as client:
        assert client.lpush(f"host.{bundle.host_uuid}", "x") == 1


@pytest.mark.parametrize(
    "address", ["redis://hub:6379/x", "redis://hub:6379/0?ssl_cert_reqs=none", "http://hub:6379/0"]
)
def test_host_with_an_address_that_cannot_be_used_is_not_added(hub, server, address):
    """The next try needs no `--again`."""
    run("hosts", "add", "--credentials", hub, "--host", NEW, "--redis", address, code=1)
    assert not (hub / "redis" / "hosts" / NEW).exists()
    add(hub, server)


@pytest.mark.parametrize("text", ["", "abc", "é", "e30=", "x" * 300_000])
def test_text_that_is_no_bundle_is_refused_without_being_shown(text):
    """It may be another secret."""
    with pytest.raises(ValueError, match="not a bundle") as refused:
        read_bundle(text)
    assert len(str(refused.value)) < 200
