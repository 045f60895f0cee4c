"""The rig's Redis: killed and restarted on its data, with TLS and a password."""

import pytest
import redis


def test_an_acknowledged_write_outlives_a_kill(make_redis):
    """With the append-only file always synced, a SIGKILL loses nothing."""
    server = make_redis(appendonly=True, appendfsync="always")
    with server.client() as client:
        client.set("kept", "yes")
        server.kill()
        server.restart()

        assert client.get("kept") == b"yes"


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
