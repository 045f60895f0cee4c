"""`REDIS_URL` is checked with what redis-py and kombu make of it, before anything connects."""

import pytest
import redis
from kombu import Connection

from cowpoke.broker import BrokerSettings
from cowpoke.environment import BadEnvironmentError, read
from cowpoke.redis_url import check_redis_url
from simulator.rig.certificates import make_certificate

SECRET = "pa55word"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"redis://:{SECRET}[cd@h/0", "percent-encode"),
        (f"redis://:{SECRET}]cd@h/0", "percent-encode"),
        (f"redis://:{SECRET}#cd@h/0", "percent-encode"),
        (f"redis://:12#{SECRET}@h/0", "percent-encode"),
        (f"redis://:12/{SECRET}@h/0", "percent-encode"),
        (f"redis://:12?{SECRET}@h/0", "percent-encode"),
        (f"redis://:12?{SECRET}=1@h/0", "percent-encode"),
        (f"redis://:{SECRET} x@h/0", "percent-encode"),
        (f"redis://:{SECRET}@h/x", "database"),
        (f"redis://:{SECRET}@h/-1", "database"),
        (f"redis://:{SECRET}@h/0/1", "database"),
        (f"redis://:{SECRET}@h:x/0", "port"),
        (f"redis://:{SECRET}@h:65536/0", "port"),
        (f"redis://:{SECRET}@h:0/0", "redis://"),
        (f"unix://:{SECRET}@/run/redis.sock", "unix sockets"),
        (f"redis-sentinel://:{SECRET}@h/0", "redis://"),
        (f"redis://:{SECRET}@h/0?foo=bar", "option foo"),
        (f"redis://:{SECRET}@h/0?socket_timeot=5", "option socket_timeot"),
        (f"redis://:{SECRET}@h/0?visibility_timeout=5", "redis-py does not know"),
        (f"redis://:{SECRET}@h/0?protocol=3", "option protocol"),
        (f"redis://:{SECRET}@h/0?db=3", "option db"),
        (f"redis://:{SECRET}@h/0?socket_timeout=abc", "socket_timeout"),
        (f"redis://:{SECRET}@h/0?socket_timeout=0", "socket_timeout"),
        (f"redis://:{SECRET}@h/0?socket_timeout=nan", "socket_timeout"),
        (f"redis://:{SECRET}@h/0?socket_timeout=", "each of them once"),
        (f"redis://:{SECRET}@h/0?socket_timeout=5&socket_timeout=6", "each of them once"),
        (f"redis://:{SECRET}@h/0?max_connections=-1", "max_connections"),
        (f"redis://:{SECRET}@h/0?max_connections=9", "max_connections must be at least 10"),
        (f"redis://:{SECRET}@h/0?socket_keepalive_options=x", "as text"),
        (f"redis://:{SECRET}@h/0?ssl_cert_reqs=none", "rediss://"),
        (f"rediss://:{SECRET}@h/0?ssl_cert_reqs=wrong", "options"),
        (f"rediss://:{SECRET}@h/0?ssl_foo=bar", "options"),
        (f"rediss://:{SECRET}@h/0?ssl_ca_certs=/nowhere.pem", "No such file"),
        (f"rediss://:{SECRET}@h/0?ssl_min_version=3", "options"),
        (f"rediss://:{SECRET}@h/0?ssl_ciphers=bogus", "options"),
    ],
)
def test_url_that_a_library_cannot_use_is_refused_in_one_line(monkeypatch, url, said):
    """W 21: the line names REDIS_URL and the fault, and no part of the password."""
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(BadEnvironmentError) as raised:
        read(BrokerSettings)
    text = str(raised.value)
    assert text.startswith("REDIS_URL: ")
    assert said in text
    assert "\n" not in text
    assert SECRET not in text


@pytest.mark.parametrize(
    ("option", "value", "typed"),
    [
        ("socket_timeout", "5", 5.0),
        ("socket_connect_timeout", "1.5", 1.5),
        ("socket_keepalive", "false", False),
        ("retry_on_timeout", "true", True),
        ("max_connections", "20", 20),
        ("health_check_interval", "30", 30),
        ("client_name", "cow%20poke", "cow poke"),
    ],
)
def test_option_that_both_libraries_know_reaches_both(option, value, typed):
    """W 21: as a number or a truth value, in redis-py and in a channel of kombu's."""
    url = f"redis://h/3?{option}={value}"
    pool = redis.Redis.from_url(url).connection_pool
    taken = pool.max_connections if option == "max_connections" else pool.connection_kwargs[option]
    checked = check_redis_url(url)
    assert (taken, checked.transport_options) == (typed, {option: typed})
    assert option not in checked.broker_url


def test_tls_options_are_typed_for_both_libraries(tmp_path):
    """W 21: files are read at start, and kombu takes the values that redis-py takes."""
    files = make_certificate(tmp_path)
    options = f"ssl_ca_certs={files.authority}&ssl_check_hostname=false&ssl_min_version=771"
    checked = check_redis_url(f"rediss://h/0?{options}")
    assert checked.ssl_options == {
        "ssl_cert_reqs": "required",
        "ssl_ca_certs": str(files.authority),
        "ssl_check_hostname": False,
        "ssl_min_version": 771,
    }


def test_tls_without_options_verifies_the_server():
    """W 21: kombu speaks TLS only when it is given an option."""
    assert check_redis_url("rediss://h").ssl_options == {"ssl_cert_reqs": "required"}


@pytest.mark.parametrize("password", ["p[a]s", "a@b:c/d?e#f", "100%", "a b"])
def test_encoded_password_is_the_same_for_both_libraries(password):
    """W 21: percent-encoding carries every character."""
    from urllib.parse import quote  # noqa: PLC0415

    url = f"redis://user:{quote(password, safe='')}@[::1]:6380/2"
    options = redis.Redis.from_url(url).connection_pool.connection_kwargs
    with Connection(check_redis_url(url).broker_url) as connection:
        assert options["password"] == connection.password == password
        assert options["host"] == connection.hostname == "::1"
