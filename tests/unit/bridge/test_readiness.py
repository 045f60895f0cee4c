"""When a bridge says that it is ready, and what it says when not."""

import asyncio
import threading
import time

import pytest
import redis

from bridge.inbound.reconnect import Ending
from bridge.inbound.standing import Standing, Wait
from bridge.settings import AgentKeys
from bridge.web import readiness as readiness_module
from bridge.web.readiness import Readiness
from cowpoke.overview.conditions import problem
from cowpoke.overview.trouble import trouble_of

FIRST = AgentKeys(access_key="first", secret_key="s1", host_uuid="h1")
SECOND = AgentKeys(access_key="second", secret_key="s2", host_uuid="h2")


class Asked:
    """A readiness whose facts a test changes."""

    def __init__(self) -> None:
        self.standing = Standing((FIRST, SECOND))
        self.trouble = None
        self.known, self.stopping = True, False
        self.probes = 0
        for agent in (FIRST, SECOND):
            self.standing.opened(agent)

    def probe(self):
        """Stand for Redis."""
        self.probes += 1
        if self.trouble is not None:
            raise self.trouble

    def make(self, probe=None):
        """Make what is tested."""
        return Readiness(
            probe or self.probe,
            standing=self.standing,
            hosts_known=lambda: self.known,
            is_stopping=lambda: self.stopping,
        )

    def health(self):
        """Ask it once."""
        return asyncio.run(self.make().health())


@pytest.fixture
def asked():
    """A bridge of two agents with open websockets."""
    return Asked()


def codes(reasons):
    """Return each reason's code and agents."""
    return {(one.code, one.agents) for one in reasons}


def test_bridge_with_all_websockets_is_ready(asked):
    """Nothing to say."""
    assert (asked.health().ready, asked.health().reasons, asked.health().notes) == (True, (), ())


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda one: setattr(one, "trouble", redis.ConnectionError("refused")), "redis-down"),
        (lambda one: setattr(one, "known", False), "bridge-starting"),
        (lambda one: setattr(one, "stopping", True), "bridge-stopping"),
    ],
)
def test_bridge_itself_says_what_it_lacks(asked, change, code):
    """Redis is away; the hosts are not known yet; it leaves."""
    change(asked)
    assert codes(asked.health().reasons) == {(code, ())}


@pytest.mark.parametrize(
    ("ending", "code"),
    [(Ending.LOST, "websocket-closed"), (Ending.UNAUTHORIZED, "agent-keys-refused")],
)
def test_websocket_that_should_be_open_is_named(asked, ending, code):
    """The other agent's is open."""
    asked.standing.closed(SECOND, ending)
    assert codes(asked.health().reasons) == {(code, ("second",))}


def test_what_the_bridge_cannot_change_is_a_note(asked):
    """A host without a worker, and one that was removed in Rancher, stop no upgrade of bridges."""
    asked.standing.closed(FIRST, Ending.LOST)
    asked.standing.waits_for_host(FIRST, Wait.HOST_AWAY)
    asked.standing.closed(SECOND, Ending.UNAUTHORIZED)
    asked.standing.removed(SECOND, is_removed=True)
    found = asked.health()
    assert (found.ready, found.reasons) == (True, ())
    assert codes(found.notes) == {
        ("host-without-worker", ("first",)),
        ("agent-removed", ("second",)),
    }


def test_many_agents_are_counted_and_a_few_named(asked):
    """10,000 hosts make a short answer."""
    for number in range(1000):
        asked.standing.add(AgentKeys(access_key=f"k{number:04}", secret_key="s", host_uuid="h"))
    (reason,) = asked.health().reasons
    assert (reason.count, len(reason.agents)) == (1000, readiness_module.NAMED)


def test_redis_is_asked_once_for_many(asked):
    """However many health checks and pages there are."""

    async def scenario():
        made = asked.make()
        await asyncio.gather(*(made.health() for _ in range(20)))

    asyncio.run(scenario())
    assert asked.probes == 1


def test_frozen_redis_is_told_in_time_and_holds_one_thread(asked, monkeypatch):
    """A health check has its own time limit; threads are for the bridge's work."""
    monkeypatch.setattr(readiness_module, "REDIS_WITHIN_S", 0.05)
    monkeypatch.setattr(readiness_module, "REDIS_EVERY_S", 0.0)
    freed = threading.Event()
    entered = []

    def frozen():
        entered.append(1)
        freed.wait(20)

    async def scenario():
        made = asked.make(frozen)
        try:
            began_s = time.monotonic()
            found = [await made.health() for _ in range(3)]
            assert time.monotonic() - began_s < 10
        finally:
            freed.set()
        return found

    for health in asyncio.run(scenario()):
        assert codes(health.reasons) == {("redis-down", ())}
    assert len(entered) == 1


def test_one_of_a_hundred_may_reconnect(asked):
    """Of 10,000 websockets some always do; the bridge is ready all the same, and says it."""
    for number in range(198):
        agent = AgentKeys(access_key=f"k{number:04}", secret_key="s", host_uuid="h")
        asked.standing.add(agent)
        asked.standing.opened(agent)
    asked.standing.closed(FIRST, Ending.LOST)
    asked.standing.closed(SECOND, Ending.LOST)
    found = asked.health()
    assert (found.ready, codes(found.notes)) == (True, {("websocket-closed", ("first", "second"))})
    asked.standing.closed(agent, Ending.LOST)
    assert not asked.health().ready


def test_redis_that_takes_no_writes_is_as_bad_as_none(asked):
    """Events could not be recorded; how it shows does not matter."""
    full = problem("redis-refuses-writes", "redis", "its memory is full")
    assert codes(asyncio.run(asked.make(lambda: full).health()).reasons) == {
        ("redis-refuses-writes", ())
    }
    asked.trouble = redis.ResponseError("MISCONF Redis is configured to save RDB snapshots")
    assert codes(asked.health().reasons) == {("redis-refuses-writes", ())}
    assert asked.health().redis_trouble is None


def test_refused_login_is_no_silence(asked):
    """Redis runs; starting it would help nobody."""
    asked.trouble = redis.AuthenticationError("invalid username-password pair")
    (reason,) = asked.health().reasons
    assert (reason.code, "login in REDIS_URL" in reason.message) == ("redis-down", True)
    assert "start" not in trouble_of(asked.trouble).advice
