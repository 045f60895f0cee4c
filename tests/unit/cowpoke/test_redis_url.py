"""`REDIS_URL` is checked with what redis-py and kombu make of it, before anything connects."""

import pytest
import redis
from kombu import Connection
from kombu.utils.url import url_to_parts

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
        (f"unix://:{SECRET}@h/run/redis.sock", "absolute path"),
        (f"unix://:{SECRET}@/run/redis.sock?db=x", "database"),
        (f"unix://:{SECRET}@/run/redis.sock?db=1&virtual_host=1", "database"),
        (f"unix://:{SECRET}@/run/redis.sock?ssl_cert_reqs=none", "rediss://"),
        (f"unix://:{SECRET}@/run/redis.sock?socket_keepalive=true", "unix socket"),
        (f"redis+socket://:{SECRET}@/", "absolute path"),
        (f"sentinel://:{SECRET}@h;h2:26379/0", "between the semicolons"),
        (f"sentinel://:{SECRET}@h;redis://h2/0", "between the semicolons"),
        (f"sentinel://:{SECRET};x@h/0", "between the semicolons"),
        (f"sentinel://:{SECRET}@h/0;sentinel://h2/1", "write them once"),
        (f"sentinel://:{SECRET}@h;sentinel://:{SECRET}x@h2/0", "write them once"),
        (f"sentinel://:{SECRET}@h?client_name=x;sentinel://h2/0", "last Sentinel"),
        (f"sentinel://:{SECRET}@h/0?ssl_ca_certs=/nowhere.pem", "No such file"),
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


@pytest.mark.parametrize("scheme", ["unix", "redis+socket"])
def test_unix_socket_is_the_same_for_both_libraries(scheme):
    """Each library has its own form; both forms are taken."""
    database = {"unix": "db", "redis+socket": "virtual_host"}[scheme]
    checked = check_redis_url(f"{scheme}://us%40er:p%3Aw@/run/re%20dis.sock?{database}=4")
    options = redis.ConnectionPool.from_url(checked.client_url).connection_kwargs
    wanted = {"path": "/run/re dis.sock", "db": 4, "username": "us@er", "password": "p:w"}
    assert wanted.items() <= options.items()
    # As a channel of kombu's reads it when it connects.
    parts = url_to_parts(checked.broker_url.removeprefix("redis+"))
    assert (parts.username, parts.password) == ("us@er", "p:w")
    assert (f"/{parts.path}", parts.query) == ("/run/re dis.sock", {"virtual_host": "4"})
    assert checked.socket_path == "/run/re dis.sock"


def test_sentinels_are_the_same_for_both_libraries():
    """Login and database are those of the master, and written once."""
    hosts = "sentinel://us%40er:p%3Bw@h1;sentinel://h2:5;sentinel://[::1]"
    checked = check_redis_url(f"{hosts}/2?socket_timeout=4&ssl_cert_reqs=none")
    assert checked.sentinels == (("h1", 26379), ("h2", 5), ("::1", 26379))
    options = redis.ConnectionPool.from_url(checked.client_url).connection_kwargs
    wanted = {"db": 2, "username": "us@er", "password": "p;w"}
    assert wanted.items() <= options.items()
    assert checked.ssl_options == {"ssl_cert_reqs": "none"}
    for url in checked.broker_url.split(";"):
        with Connection(url) as connection:
            found = connection.userid, connection.password, connection.virtual_host
            assert found == ("us@er", "p;w", "2")


def test_sentinels_need_the_name_of_the_master(monkeypatch):
    """The line says where it is written."""
    monkeypatch.setenv("REDIS_URL", "sentinel://h1;sentinel://h2/0")
    with pytest.raises(BadEnvironmentError, match=r"^REDIS_SENTINEL_MASTER: .*sentinel monitor"):
        read(BrokerSettings)
    monkeypatch.setenv("REDIS_SENTINEL_MASTER", "mymaster")
    assert read(BrokerSettings).replicas_to_wait_for == 1


@pytest.mark.parametrize(
    ("url", "given", "wanted"),
    [
        ("redis://h/0", "", 0),
        ("redis://h/0", "1", 1),
        ("sentinel://h/0", "", 1),
        ("sentinel://h/0", "0", 0),
        ("sentinel://h/0", "2", 2),
    ],
)
def test_nothing_waits_for_replicas_unless_there_are_sentinels(monkeypatch, url, given, wanted):
    """Without Sentinels it costs nothing; the setting decides otherwise."""
    monkeypatch.setenv("REDIS_URL", url)
    monkeypatch.setenv("REDIS_SENTINEL_MASTER", "mymaster")
    monkeypatch.setenv("REDIS_WAIT_REPLICAS", given)
    assert read(BrokerSettings).replicas_to_wait_for == wanted
