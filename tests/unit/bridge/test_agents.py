"""Which agents a bridge has, and whose keys a reply goes out with."""

import asyncio

import pytest

from bridge.agents import registry
from bridge.agents.registry import Agents
from bridge.agents.streams import Streams
from bridge.settings import AgentKeys

GIVEN = AgentKeys(access_key="given", secret_key="s", host_uuid="h-0")


def joined(host, key=None, secret="s"):
    """The agent that a host joined with."""
    return AgentKeys(access_key=key or f"key-{host}", secret_key=secret, host_uuid=host)


def test_agents_come_and_go():
    """Those of the settings stay."""
    agents = Agents((GIVEN,))
    agents.join(joined("h-1"))
    agents.join(joined("h-2"))
    assert (len(agents), agents.joined_count) == (3, 2)
    assert list(agents) == [GIVEN, joined("h-1"), joined("h-2")]
    agents.leave("h-1")
    agents.leave("h-9")
    assert list(agents) == [GIVEN, joined("h-2")]
    assert agents.joined_of("h-1") is None


def test_keys_that_left_are_kept_for_a_while(monkeypatch):
    """For the replies on their way; then any agent sends them."""
    now_s = 100.0
    monkeypatch.setattr(registry, "monotonic", lambda: now_s)
    agents = Agents()
    agents.join(joined("h-1", "old"))
    agents.join(joined("h-1", "new"))
    assert agents.of("h-1", "old") == joined("h-1", "old")
    assert agents.of("h-1", "new") == joined("h-1", "new")
    agents.leave("h-1")
    assert agents.of("h-1", "new") == joined("h-1", "new")
    # One former agent of a host is enough, however often it changes its keys.
    assert agents.of("h-1", "old") is None
    now_s += registry.LEFT_KEPT_S + 1
    assert agents.of("h-1", "new") is None
    assert agents.any_for("h-1") is None


def test_keys_of_a_host_count_for_its_own_events_only():
    """A host that says it has the key of another one's agent gets none of its replies."""
    agents = Agents((GIVEN,))
    agents.join(joined("h-1"))
    agents.join(joined("h-2", "key-h-1", "false"))
    agents.join(joined("h-3", "given", "false"))
    assert agents.of("h-1", "key-h-1") == joined("h-1")
    assert agents.of("h-0", "given") == GIVEN
    assert agents.of("h-9", "key-h-1") is None


def test_twins_have_the_very_same_keys():
    """Cattle would send the events of one agent to both."""
    agents = Agents((GIVEN,))
    agents.join(joined("h-1"))
    assert agents.twin_of(joined("h-2", "key-h-1")) == joined("h-1")
    assert agents.twin_of(joined("h-2", "given")) == GIVEN
    assert agents.twin_of(joined("h-2", "key-h-1", "other")) is None
    agents.leave("h-1")
    assert agents.twin_of(joined("h-2", "key-h-1")) is None


def test_every_agent_is_tried_by_turns():
    """Also after one came or left, and for one that is gone."""
    agents = Agents((GIVEN,))
    assert agents.next_after(GIVEN) == GIVEN
    agents.join(joined("h-1"))
    agents.join(joined("h-2"))
    tried = [GIVEN]
    for _ in range(3):
        tried.append(agents.next_after(tried[-1]))
    assert tried == [GIVEN, joined("h-1"), joined("h-2"), GIVEN]
    agents.leave("h-1")
    assert agents.next_after(GIVEN) == joined("h-2")
    assert agents.next_after(joined("h-1")) == GIVEN


def test_without_agents_the_one_that_was_refused_is_tried_again():
    """There is nobody else."""
    agents = Agents()
    agents.join(joined("h-1"))
    agents.leave("h-1")
    assert agents.next_after(joined("h-1")) == joined("h-1")


@pytest.fixture
def seen():
    """What the subscriptions of a test did."""
    return []


@pytest.fixture
def streams(seen):
    """Subscriptions that last until they are ended; that of `bad` fails in closing."""
    return Streams(lambda agent: FakeStream(agent, seen))


class FakeStream:
    """A subscription; `bad` fails in closing, that of `open` takes over a frame when it leaves."""

    def __init__(self, agent, seen):
        self._key, self._seen = agent.access_key, seen
        self._confirmed = asyncio.Event()

    async def run(self):
        """Last until cattle confirms the close, or for ever."""
        self._seen.append(("begins", self._key))
        try:
            await self._confirmed.wait()
            self._seen.append(("frame", self._key))
        finally:
            self._seen.append(("ends", self._key))
            if self._key == "bad":
                raise OSError("cannot close")

    async def leave(self):
        """Let cattle confirm, if the websocket is open."""
        if self._key == "open":
            self._confirmed.set()
        return self._key == "open"


def test_subscriptions_end_one_by_one_and_all(streams, seen):
    """One that fails while it ends harms nobody; none begins after the bridge leaves."""

    async def scenario():
        broken = asyncio.create_task(streams.run())
        for key in ("a", "bad", "b"):
            streams.start(joined("h-1", key))
        await asyncio.sleep(0)
        streams.end(joined("h-1", "bad"))
        streams.end(joined("h-1", "nobody"))
        await asyncio.sleep(0.01)
        assert seen[3:] == [("ends", "bad")]
        await streams.close()
        streams.start(joined("h-1", "late"))
        await asyncio.sleep(0.01)
        assert not broken.done()
        broken.cancel()

    asyncio.run(scenario())
    assert [key for what, key in seen if what == "ends"] == ["bad", "a", "b"]
    assert ("begins", "late") not in seen


def test_frames_of_an_open_websocket_are_taken_over_before_it_ends(streams, seen):
    """They were sent to this bridge, perhaps to no other one."""

    async def scenario():
        streams.start(joined("h-1", "open"))
        await asyncio.sleep(0)
        await streams.close()

    asyncio.run(scenario())
    assert seen[1:] == [("frame", "open"), ("ends", "open")]


def test_subscription_that_ends_by_itself_is_a_defect(seen):
    """The bridge ends loudly, instead of serving a host no more."""

    class Defective(FakeStream):
        async def run(self):
            raise RuntimeError("a defect")

    async def scenario():
        streams = Streams(lambda agent: Defective(agent, seen))
        streams.start(joined("h-1"))
        await asyncio.wait_for(streams.run(), 10)

    with pytest.raises(RuntimeError, match="a defect"):
        asyncio.run(scenario())
