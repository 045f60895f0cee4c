"""What the commands say about a Redis that cannot be used, and what to do about it."""

import pytest
import redis

from cowpoke.cli import redis_session
from cowpoke.overview.trouble import trouble_of
from cowpoke.settings import BrokerSettings


@pytest.mark.parametrize(
    ("error", "message", "advice"),
    [
        (redis.ConnectionError("refused"), "does not answer", "start Redis"),
        (redis.TimeoutError("Timeout connecting"), "does not answer", "port with TLS"),
        (
            redis.ConnectionError("[SSL: CERTIFICATE_VERIFY_FAILED] unable to get issuer"),
            "CERTIFICATE_VERIFY_FAILED",
            "ssl_ca_certs=FILE",
        ),
        (redis.AuthenticationError("invalid pair"), "refused the login", "cowpoke hosts add"),
        (redis.exceptions.NoPermissionError("no 'llen'"), "may not do this", "on the hub"),
    ],
    ids=["absent", "silent", "other authority", "wrong login", "login of a host"],
)
def test_an_error_says_what_to_do(error, message, advice):
    """Each has another cure."""
    found = trouble_of(error)
    assert found.code == "redis-down"
    assert message in found.message
    assert advice in found.advice


def test_a_command_without_an_address_says_that_it_has_none(monkeypatch):
    """Whoever set nothing did not set a wrong login."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.delenv("COWPOKE_CREDENTIALS_DIR", raising=False)
    absent = BrokerSettings(REDIS_URL="redis://127.0.0.1:1/0")
    monkeypatch.setattr(redis_session, "read_or_exit", lambda *_: absent)
    with (
        pytest.raises(SystemExit, match="REDIS_URL is not set") as ended,
        redis_session.redis_session("cowpoke status") as (client, _),
    ):
        client.ping()
    assert "COWPOKE_CREDENTIALS_DIR" in str(ended.value)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    with (
        pytest.raises(SystemExit, match="start Redis"),
        redis_session.redis_session("cowpoke status") as (client, _),
    ):
        client.ping()
