"""What a bridge says of itself: its last warnings and errors, without secrets."""

import pytest
from cryptography.fernet import Fernet

from bridge.introduction import Introduction
from cowpoke import log, scrubbing
from cowpoke.bridge_lease import MOST_ERRORS, read_bridge_lease
from cowpoke.broker import BrokerSettings
from cowpoke.seal import ClusterKeyring


class Clock:
    """The clock of a Redis."""

    now_ms = 1_000_000

    def known_ms(self):
        """Return the time."""
        return [self.now_ms]


@pytest.fixture
def clock():
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def keyring():
    """The keys of the bridges."""
    return ClusterKeyring(Fernet.generate_key().decode())


@pytest.fixture
def introduction(keyring, clock, capsys):
    """The introduction of a bridge that logs."""
    log.set_up()
    with Introduction("b-1", keyring, clock, server="http://cattle:8080/v1") as entered:
        yield entered


def errors(introduction, keyring):
    """The errors as another program reads them."""
    return read_bridge_lease(introduction.text(), keyring, bridge_id="b-1").errors


def test_a_lease_says_what_the_bridge_is(introduction, keyring):
    """And which keys it has."""
    found = read_bridge_lease(introduction.text(), keyring, bridge_id="b-1")
    assert found == introduction.lease
    assert found.fingerprints == keyring.fingerprints
    assert (found.server, bool(found.version)) == ("http://cattle:8080/v1", True)
    assert read_bridge_lease(introduction.text(), keyring, bridge_id="b-2") is None
    other = ClusterKeyring(Fernet.generate_key().decode())
    assert read_bridge_lease(introduction.text(), other, bridge_id="b-1") is None


def test_warnings_and_errors_are_kept_the_newest_first(introduction, keyring, clock):
    """Information is not, repeats are counted, and the last ones of many are kept."""
    logger = log.logger("bridge.test")
    logger.info("bridge.ready", reason="all is well")
    for number in range(MOST_ERRORS + 5):
        logger.warning("stream.closed", agent=f"a-{number}", reason="cut")
    clock.now_ms += 60_000
    logger.warning("stream.closed", agent="a-10", reason="cut")
    found = errors(introduction, keyring)
    assert len(found) == MOST_ERRORS
    first = found[0]
    assert (first.code, first.message, first.count) == ("stream.closed", "a-10: cut", 2)
    assert first.at_ms == clock.now_ms
    assert found[1].message == "a-24: cut"


def test_repeats_within_seconds_do_not_change_the_lease(introduction):
    """It would be written to Redis each time."""
    logger = log.logger("bridge.test")
    logger.error("replies.stuck", reason="cattle is away")
    before = introduction.text()
    logger.error("replies.stuck", reason="cattle is away")
    assert introduction.text() == before
    logger.error("replies.stuck", reason="something else")
    assert introduction.text() != before


def test_secrets_of_the_settings_are_not_in_the_lease(introduction, keyring):
    """Others with QUEUE_KEY read it."""
    url = "redis://:hush-hush-hush@127.0.0.1:6379/0"
    scrubbing.keep_secret(BrokerSettings.model_validate({"REDIS_URL": url}))
    log.logger("bridge.test").error("redis.failed", reason="no login with hush-hush-hush")
    (found,) = errors(introduction, keyring)
    assert "hush" not in found.message
    assert "***" in found.message


def test_an_exception_is_named(introduction, keyring):
    """A crash has no reason but that."""
    try:
        _ = {}["no such thing"]
    except KeyError:
        log.logger("bridge.test").exception("part.crashed")
    (found,) = errors(introduction, keyring)
    assert "KeyError: 'no such thing'" in found.message


def test_nothing_is_kept_after_the_bridge_ended(keyring, clock, capsys):
    """The handler leaves the root logger."""
    log.set_up()
    with Introduction("b-1", keyring, clock, server="") as entered:
        pass
    log.logger("bridge.test").error("late.line")
    assert entered.lease.errors == ()
