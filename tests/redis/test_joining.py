"""How a bridge follows the notes of joined hosts, with a clock of the test's own."""

import asyncio
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from bridge.agents.joining import VANISHED_AFTER_S, Joining, Unused
from bridge.agents.registry import Agents
from bridge.agents.removals import Removals
from bridge.awake import AwakeClock
from bridge.hosts.choice import Hosts
from bridge.hosts.claims import Claims
from bridge.hosts.presence import Presence
from bridge.inbound.standing import Standing, Wait
from bridge.settings import AgentKeys
from cowpoke import keys
from cowpoke.joined import JoinedAgent, hand_over, take_back
from cowpoke.liveness import Leases
from cowpoke.seal import ClusterKeyring
from tests.ledgers import HOST, lease

URL = "http://cattle:8080/v1"
OTHER = "host-2"
SINGLE = AgentKeys(access_key="single", secret_key="secret")


@dataclass
class FakeStreams:
    """Subscriptions that only remember whether they are wanted."""

    running: list = field(default_factory=list)
    begun: int = 0

    def start(self, agent):
        """Begin one."""
        self.running.append(agent)
        self.begun += 1

    def end(self, agent):
        """End one."""
        self.running.remove(agent)


class Bridge:
    """The part of a bridge that follows notes and leases."""

    def __init__(self, client, keyring, configured=(), url=URL):
        self.client, self.keyring = client, keyring
        self.clock, self.streams = AwakeClock(), FakeStreams()
        self.agents = Agents(configured, known=False)
        self.standing = Standing(configured)
        self.presence = Presence(client, keyring)
        self.claims = Claims(client, keyring.bridge)
        self.hosts = Hosts(
            self.presence,
            tuple(configured),
            claims=self.claims,
            standing=self.standing,
            clock=self.clock,
        )
        self.joining = Joining(
            client,
            keyring,
            cattle_url=url,
            agents=self.agents,
            hosts=self.hosts,
            standing=self.standing,
            streams=self.streams,
            removals=Removals(client, keyring, self.agents),
            clock=self.clock,
        )

    def look(self, *announced, everything=False):
        """Look as the bridge does."""

        async def once():
            found = self.presence.read_all()
            await self.joining.look((), set(announced), everything=everything)
            await self.hosts.look(found)

        asyncio.run(once())

    def pass_time(self, seconds):
        """Let time pass in small steps, as it does."""
        for _ in range(round(seconds / 0.5) + 1):
            self.clock.advance(0.5)

    @property
    def served(self):
        """The access keys with a subscription, by host."""
        return {agent.host_uuid: agent.access_key for agent in self.streams.running}

    def join(self, host=HOST, key="ak", secret="sk", url=URL, keyring=None):
        """Let a host hand keys over."""
        agent = JoinedAgent(host_uuid=host, cattle_url=url, access_key=key, secret_key=secret)
        hand_over(self.client, (keyring or self.keyring).host(host), agent)


@pytest.fixture
def bridge(client, keyring):
    """A bridge without agents in its settings."""
    return Bridge(client, keyring)


@pytest.fixture
def start_host(client, keyring):
    """Let a host have a live worker."""

    def start(host_uuid=HOST):
        worker = f"worker-of-{host_uuid}"
        Leases(client).renew(lease(f"{worker}.compute.1", host=host_uuid), keyring.host(host_uuid))
        client.persist(keys.lease(host_uuid, worker))

    return start


def test_first_look_finds_all_notes(bridge):
    """Also of hosts that are away; announcements before the bridge came were missed."""
    bridge.join(HOST)
    bridge.join(OTHER, "ak-2")
    assert not bridge.agents.known
    bridge.look()
    assert bridge.served == {HOST: "ak", OTHER: "ak-2"}
    assert bridge.agents.known


def test_note_is_taken_when_it_is_announced(bridge):
    """And its end; what is not announced is found with the next look at everything."""
    bridge.look()
    bridge.join(HOST)
    bridge.join(OTHER, "ak-2")
    bridge.look(HOST)
    assert bridge.served == {HOST: "ak"}
    bridge.look(everything=True)
    assert bridge.served == {HOST: "ak", OTHER: "ak-2"}
    take_back(bridge.client, HOST)
    bridge.look(HOST)
    assert bridge.served == {OTHER: "ak-2"}


def test_vanished_note_ends_its_agent_after_a_while(bridge):
    """Unless the host hands its keys over again."""
    bridge.join()
    bridge.look()
    bridge.client.delete(keys.joined(HOST))
    bridge.look(everything=True)
    bridge.pass_time(VANISHED_AFTER_S / 2)
    bridge.join()
    bridge.look(HOST)
    assert (bridge.served, bridge.streams.begun) == ({HOST: "ak"}, 1)
    bridge.client.delete(keys.joined(HOST))
    bridge.look(everything=True)
    bridge.pass_time(VANISHED_AFTER_S - 10)
    bridge.look()
    assert bridge.served == {HOST: "ak"}
    bridge.pass_time(20)
    bridge.look()
    assert bridge.served == {}


def test_changed_secret_replaces_the_agent(bridge):
    """Though its key has the same name."""
    bridge.join()
    bridge.look()
    bridge.join(secret="new")
    bridge.look(HOST)
    (agent,) = bridge.streams.running
    assert agent.secret_key == SecretStr("new")
    assert bridge.streams.begun == 2
    assert bridge.agents.of(HOST, "ak") == agent


def test_claim_follows_the_agent(bridge, start_host):
    """A host is claimed as soon as it is served, and free when its agent left."""
    start_host()
    bridge.look()
    bridge.join()
    bridge.look(HOST)
    assert bridge.standing.waits() == {bridge.agents.joined_of(HOST): Wait.SERVER}
    claimed = bridge.client.get(keys.served(HOST))
    assert claimed == bridge.agents.joined_of(HOST).hash
    bridge.join(key="new")
    bridge.look(HOST)
    assert bridge.client.get(keys.served(HOST)) == bridge.agents.joined_of(HOST).hash != claimed
    take_back(bridge.client, HOST)
    bridge.look(HOST)
    assert bridge.client.get(keys.served(HOST)) is None
    assert bridge.standing.waits() == {}


@pytest.mark.parametrize(
    "url", ["http://CATTLE:8080/v1/", "http://cattle:8080/v1/schemas", "HTTP://cattle:8080/v1"]
)
def test_same_cattle_in_another_spelling_is_served(client, keyring, url):
    """The url of the settings and that of the registration are typed by different people."""
    bridge = Bridge(client, keyring, url=url)
    bridge.join()
    bridge.look()
    assert bridge.served == {HOST: "ak"}


def test_another_cattle_is_never_used(bridge):
    """Its keys are not sent to this one; logged once."""
    bridge.join(url="http://elsewhere:8080/v1")
    with capture_logs() as logs:
        bridge.look()
        bridge.look(HOST)
        bridge.look(everything=True)
    assert [one["why"] for one in logs if one["event"] == "joined.not_used"] == ["other-cattle"]
    assert (bridge.served, bridge.joining.unused) == ({}, {HOST: Unused.OTHER_CATTLE})
    bridge.join()
    bridge.look(HOST)
    assert (bridge.served, bridge.joining.unused) == ({HOST: "ak"}, {})


def test_agent_of_the_settings_stays(client, keyring):
    """Two subscriptions would run every event twice."""
    given = AgentKeys(access_key="given", secret_key="s", host_uuid=HOST)
    bridge = Bridge(client, keyring, (given,))
    bridge.join()
    bridge.join(OTHER, "ak-2")
    bridge.look()
    assert bridge.served == {OTHER: "ak-2"}
    assert bridge.joining.unused == {HOST: Unused.CONFIGURED}


def test_single_agent_of_the_settings_takes_no_joined_host(client, keyring, start_host):
    """It learns the host that has no agent, and keeps the one that it learned."""
    start_host(OTHER)
    start_host(HOST)
    bridge = Bridge(client, keyring, (SINGLE,))
    bridge.join(OTHER)
    bridge.look()
    assert bridge.served == {OTHER: "ak"}
    assert bridge.hosts.agent_of(HOST) == SINGLE
    assert bridge.hosts.agent_of(OTHER).access_key == "ak"
    bridge.join(HOST, "ak-1")
    bridge.look(HOST)
    assert bridge.joining.unused == {HOST: Unused.CONFIGURED}
    # A bridge that starts anew remembers it before it looks at the notes.
    again = Bridge(client, keyring, (SINGLE,))
    again.look()
    assert again.served == {OTHER: "ak"}


def test_note_with_another_key_concerns_its_host_only(bridge):
    """That of another cluster on this Redis, or a forged one."""
    bridge.join(OTHER, keyring=ClusterKeyring("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="))
    bridge.join(HOST)
    bridge.look()
    assert bridge.served == {HOST: "ak"}
    assert bridge.joining.unused == {OTHER: Unused.UNREADABLE}


def test_notes_that_did_not_change_are_not_opened_again(bridge, monkeypatch):
    """A look at everything costs a bridge of ten thousand hosts little."""
    bridge.join()
    bridge.look()
    opened = []
    monkeypatch.setattr("bridge.agents.joining.opened_note", lambda *_, **__: opened.append(1))
    bridge.look(HOST, everything=True)
    assert opened == []
    assert bridge.served == {HOST: "ak"}
