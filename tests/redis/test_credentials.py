"""`cowpoke credentials`: the files it makes, kept by a second run, and a Redis that uses them."""

import stat
from base64 import urlsafe_b64encode

import pytest
import redis
from click.testing import CliRunner

from cowpoke import acl
from cowpoke.broker import BrokerSettings
from cowpoke.cli.main import main
from cowpoke.environment import CREDENTIALS_VARIABLE, BadEnvironmentError, read
from cowpoke.seal import host_key
from simulator.rig.redis_server import RedisServer
from tests.redis_users import skip_without_selectors
from worker.settings import WorkerSettings

HOST = "host-1"
PARTS = ("bridge", "worker", "flower")


@pytest.fixture
def server(tmp_path):
    """A Redis with the ACL file, which has read an earlier file that lets in everybody."""
    acl_file = tmp_path / "redis" / "users.acl"
    acl_file.parent.mkdir(mode=0o700)
    acl_file.write_text("user default on nopass ~* &* +@all\n")
    with RedisServer(options={"aclfile": str(acl_file)}) as started:
        acl_file.unlink()
        yield started


@pytest.fixture
def make(tmp_path, server):
    """Run the command for that Redis; the paths it wrote."""

    def run(*options, host=HOST, code=0, **environment):
        arguments = ["credentials", str(tmp_path), *([] if host is None else ["--host", host])]
        arguments += ["--redis", f"127.0.0.1:{server.port}", *options]
        result = CliRunner().invoke(main, arguments, env=environment)
        assert result.exit_code == code, result.output
        assert not any(secret in result.output for secret in secrets(tmp_path).values())
        return {line.removeprefix(f"written: {tmp_path}/") for line in result.output.splitlines()}

    return run


@pytest.fixture
def running(server, make):
    """The Redis after it read the file that the command made."""
    skip_without_selectors(server)
    with server.client() as client:
        make()
        client.execute_command("ACL", "LOAD")
    return server


def secrets(folder):
    """Name -> content of the files that only their owner reads."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != "users.acl"]
    return {str(path.relative_to(folder)): path.read_text() for path in found}


def client_of(folder, part):
    """A client with the login of a part."""
    return redis.Redis.from_url((folder / part / "REDIS_URL").read_text())


def test_each_part_gets_its_files_and_a_second_run_keeps_them(make, tmp_path):
    """Secrets are readable by their owner; the ACL file has hashes."""
    names = {f"{part}/REDIS_URL" for part in PARTS}
    names |= {"bridge/QUEUE_KEY", "worker/HOST_KEY", "redis/admin"}
    assert make() == {*names, "redis/users.acl"}
    made = secrets(tmp_path)
    assert set(made) == names
    assert made["worker/HOST_KEY"] == host_key(made["bridge/QUEUE_KEY"], HOST)
    for name in names:
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o400
    for part in ("redis", *PARTS):
        assert stat.S_IMODE((tmp_path / part).stat().st_mode) & 0o077 == 0
    text = (tmp_path / "redis" / "users.acl").read_text()
    assert not any(secret in text for secret in made.values())
    assert make() == set()
    assert secrets(tmp_path) == made


def test_lost_file_is_made_again(make, tmp_path):
    """The ACL file changes with a password."""
    make()
    (tmp_path / "flower" / "REDIS_URL").unlink()
    assert make() == {"flower/REDIS_URL", "redis/users.acl"}


def test_configured_queue_key_is_used_with_a_host_key_for_each(make, tmp_path):
    """As in the rounds in which a key is changed."""
    make()
    old = (tmp_path / "bridge" / "QUEUE_KEY").read_text()
    new = urlsafe_b64encode(bytes(range(32))).decode()
    assert make(QUEUE_KEY=f"{old},{new}") == {"bridge/QUEUE_KEY", "worker/HOST_KEY"}
    wanted = f"{host_key(old, HOST)},{host_key(new, HOST)}"
    assert (tmp_path / "worker" / "HOST_KEY").read_text() == wanted
    assert make() == set()


class AppendOnlyServer(RedisServer):
    """A server with an append-only file, which lets nobody in without a name."""

    def answers(self):
        """Return whether it refuses an unnamed user, or answers it before it has the rules."""
        with self.client() as client:
            try:
                return client.ping()
            except redis.AuthenticationError:
                return True
            except redis.RedisError:
                return False


def test_restarted_redis_has_what_scripts_and_transactions_wrote(tmp_path):
    """It replays them with the rights of its user `default`."""
    acl_file = tmp_path / "redis" / "users.acl"
    arguments = ["credentials", str(tmp_path), "--host", HOST, "--redis"]
    with AppendOnlyServer(appendonly=True, appendfsync="always") as server:
        skip_without_selectors(server)
        made = CliRunner().invoke(main, [*arguments, f"127.0.0.1:{server.port}"])
        assert made.exit_code == 0, made.output
        server._options["aclfile"] = str(acl_file)
        server.restart()
        script = "redis.call('SET', 'cowpoke:a', '1') redis.call('SET', 'cowpoke:b', '2')"
        with client_of(tmp_path, "bridge") as bridge:
            bridge.eval(script, 0)
        server.kill()
        server.restart()
        with client_of(tmp_path, "bridge") as bridge:
            assert bridge.mget("cowpoke:a", "cowpoke:b") == [b"1", b"2"]


def test_redis_lets_in_the_users_of_the_files_only(running, tmp_path):
    """Nobody without a name, and each with its rights."""
    with running.client() as nobody, pytest.raises(redis.AuthenticationError):
        nobody.ping()
    for part in PARTS:
        with client_of(tmp_path, part) as client:
            assert client.ping()
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.flushall()
    with client_of(tmp_path, "worker") as client:
        assert client.lpush(f"host.{HOST}", "x") == 1
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.lpush("host.other", "x")


@pytest.mark.usefixtures("running")
def test_running_redis_uses_changed_rules_at_once(make, tmp_path):
    """Such as those of a new version, or of another host uuid."""
    assert make(host="host-2") == {"worker/REDIS_URL", "worker/HOST_KEY", "redis/users.acl"}
    with client_of(tmp_path, "worker") as client:
        assert client.lpush("host.host-2", "x") == 1


def test_users_of_operators_stay(running, make, tmp_path):
    """The command runs with each start of the Compose stack, and after each upgrade."""
    acl_file = tmp_path / "redis" / "users.acl"
    (tmp_path / "anna.password").write_text("password of anna\n")
    words = ["--user", "operator-anna", "--password-file", str(tmp_path / "anna.password")]
    line = CliRunner().invoke(main, ["acl", "bridge", *words]).output
    removed = CliRunner().invoke(main, ["acl", "host", "removed"]).output
    acl_file.write_text(f"{acl_file.read_text()}{line}{removed}")
    assert make(host="host-2") == {"worker/REDIS_URL", "worker/HOST_KEY", "redis/users.acl"}
    assert line in acl_file.read_text()
    assert not any(name in acl_file.read_text() for name in ("cowpoke-host-removed", f"-{HOST} "))
    url = f"redis://operator-anna:password of anna@127.0.0.1:{running.port}/0"
    with redis.Redis.from_url(url) as client:
        assert client.ping()
    assert make(host="host-2") == set()


@pytest.mark.usefixtures("running")
def test_rules_that_a_running_redis_refuses_are_taken_back(make, tmp_path, monkeypatch):
    """Otherwise it would not start again."""
    acl_file = tmp_path / "redis" / "users.acl"
    before = acl_file.read_text()
    monkeypatch.setattr(acl, "_SETINFO", "no-such-command")
    (said,) = make("--redis-version", "7.2", code=1)
    assert "--redis-version" in said
    assert acl_file.read_text() == before
    with client_of(tmp_path, "worker") as client:
        assert client.ping()


@pytest.mark.parametrize("host", ["", "a b", "a.control"])
def test_uuid_that_no_pattern_keeps_apart_is_refused(make, tmp_path, host):
    """Before anything is written."""
    make(host=host, code=2)
    assert secrets(tmp_path) == {}


def test_settings_come_from_the_files_unless_they_are_in_the_environment(
    make, tmp_path, monkeypatch
):
    """One file per variable."""
    make()
    made = secrets(tmp_path)
    monkeypatch.setenv(CREDENTIALS_VARIABLE, str(tmp_path / "bridge"))
    found = read(BrokerSettings)
    assert found.redis_url.get_secret_value() == made["bridge/REDIS_URL"]
    assert found.queue_key.get_secret_value() == made["bridge/QUEUE_KEY"]
    monkeypatch.setenv(CREDENTIALS_VARIABLE, str(tmp_path / "worker"))
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere:1/2")
    of_worker = read(WorkerSettings)
    assert of_worker.redis_url.get_secret_value() == "redis://elsewhere:1/2"
    assert of_worker.host_key.get_secret_value() == made["worker/HOST_KEY"]
    assert of_worker.queue_key is None


def test_folder_of_credentials_that_is_missing_is_named(monkeypatch, tmp_path):
    """A program must not start without the keys it was given."""
    monkeypatch.setenv(CREDENTIALS_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(BadEnvironmentError, match=CREDENTIALS_VARIABLE):
        read(BrokerSettings)


def test_a_hub_has_no_worker(make, tmp_path):
    """Its machine is no host: nobody gets a user that nothing uses."""
    assert not any(path.startswith("worker/") for path in make(host=None))
    assert not (tmp_path / "worker").exists()
    users = (tmp_path / "redis" / "users.acl").read_text()
    assert "cowpoke-bridge" in users
    assert "cowpoke-host-" not in users
