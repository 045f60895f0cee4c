"""Settings from the environment: everything that is wrong at once, and never a value."""

import pytest
from cryptography.fernet import Fernet

from cowpoke.broker import BrokerSettings
from cowpoke.environment import BadEnvironmentError, read

SECRET = "correct-horse-battery"


@pytest.fixture
def given(monkeypatch):
    """Set environment variables for the time of a test."""

    def set_all(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_all


def test_an_empty_environment_has_a_broker():
    """Redis on this machine is the default."""
    assert read(BrokerSettings).redis_url.get_secret_value() == "redis://127.0.0.1:6379/0"


def test_empty_text_counts_as_not_set(given):
    """Compose files set variables to nothing; that means the default."""
    given(REDIS_URL="", QUEUE_KEY="")
    assert read(BrokerSettings) == BrokerSettings()


@pytest.mark.parametrize(
    "url",
    [
        "redis://:pass@h:1/2",
        "rediss://u:p@h/0?ssl_cert_reqs=required",
        "redis://[::1]:6379/0",
    ],
)
def test_takes_every_url_of_redis(given, url):
    """With and without a password, TLS, numbers in brackets."""
    given(REDIS_URL=url)
    assert read(BrokerSettings).redis_url.get_secret_value() == url


def test_names_every_bad_variable_at_once(given):
    """One look at the message is enough to mend them all."""
    given(REDIS_URL="http://h", QUEUE_KEY="short")
    with pytest.raises(BadEnvironmentError) as raised:
        read(BrokerSettings)
    assert [line.split(":")[0] for line in str(raised.value).splitlines()] == [
        "QUEUE_KEY",
        "REDIS_URL",
    ]


@pytest.mark.parametrize(
    "bad",
    [
        {"REDIS_URL": f"htp://:{SECRET}@h"},
        {"QUEUE_KEY": SECRET},
        {"QUEUE_KEY": f"{Fernet.generate_key().decode()},{SECRET}"},
        {"QUEUE_KEY": f"{SECRET}€"},
    ],
)
def test_never_shows_a_value(given, bad):
    """A bad value may be a good password somewhere else."""
    given(**bad)
    with pytest.raises(BadEnvironmentError) as raised:
        read(BrokerSettings)
    assert SECRET not in f"{raised.value!s}{raised.value!r}"


def test_never_shows_a_secret_of_good_settings(given):
    """Settings may be logged as they are."""
    key = Fernet.generate_key().decode()
    given(REDIS_URL=f"redis://:{SECRET}@h:1/0", QUEUE_KEY=key)
    settings = read(BrokerSettings)
    assert SECRET not in repr(settings)
    assert key not in f"{settings!r}{settings!s}{settings.model_dump()}"
