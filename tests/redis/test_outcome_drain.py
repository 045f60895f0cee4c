"""A bridge that stops: what it sends is noted, and what it cannot note it does not send."""

import asyncio
import threading
from collections import Counter

import pytest

from bridge.agents.registry import Agents
from bridge.outbound import reading
from bridge.outbound.reading import OutcomeReader
from bridge.outbound.refused_keys import RefusedKeys
from bridge.settings import AgentKeys
from cowpoke import keys
from cowpoke.clock import Clock
from cowpoke.ledger.outcome_stream import OutcomeStream
from cowpoke.outcomes import success
from tests.ledgers import HOST

AGENT = AgentKeys(access_key="key", secret_key="secret")
WITHIN_S = 30.0


class SlowReads(OutcomeStream):
    """Each read waits until the test says so; then it brings what is there."""

    def __init__(self, client) -> None:
        super().__init__(client, "b1")
        self.begun, self.go_on = threading.Event(), threading.Event()

    def read(self, *args):
        """As without the test."""
        self.begun.set()
        assert self.go_on.wait(WITHIN_S)
        return super().read(*args)


@pytest.fixture
def stream(client, ledgers):
    """A stream that has one outcome."""
    stream = SlowReads(client)
    stream.set_up()
    worker, event_id = ledgers.start_process(), ledgers.accept()
    worker.claim(event_id)
    assert worker.complete(event_id, success({}))
    ledgers.outboxes.collect(HOST)
    yield stream
    stream.go_on.set()


def drained(client, stream, while_draining):
    """Drain a reader during its read; the ids of the outcomes that it sent."""

    async def run():
        sent = []

        async def deliver(delivery):
            sent.append(delivery.outcome_id)

        reader = OutcomeReader(
            stream,
            deliver,
            clock=Clock(client),
            pause=RefusedKeys(lambda: 1),
            agents=Agents((AGENT,)),
            limit_bytes=1 << 20,
            counts=Counter(),
        )
        running = asyncio.create_task(reader.run())
        assert await asyncio.to_thread(stream.begun.wait, WITHIN_S)
        draining = asyncio.create_task(reader.drain())
        await while_draining(draining)
        await asyncio.wait_for(draining, WITHIN_S)
        # As long as another stream of the bridge is not drained yet.
        stream.go_on.set()
        await asyncio.wait_for(reader._last_read.wait(), WITHIN_S)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await reader.close()
        return sent

    return asyncio.run(run())


def test_what_the_last_read_brings_is_sent_and_noted(client, stream):
    """The drain does not end while a read is under way."""

    async def bring(draining):
        done, _ = await asyncio.wait({draining}, timeout=0.1)
        assert not done
        stream.go_on.set()

    assert len(drained(client, stream, bring)) == 1
    assert client.xlen(keys.OUTCOMES) == 0


def test_what_comes_after_the_drain_is_left_to_other_bridges(client, stream, monkeypatch):
    """Sent by a bridge that leaves before it notes that, it would be sent once more."""
    monkeypatch.setattr(reading, "LAST_READ_S", 0.05)

    async def wait(draining):
        await asyncio.wait({draining})

    assert drained(client, stream, wait) == []
    stream.leave()
    other = OutcomeStream(client, "b2")
    other.set_up()
    assert len(other.claim_from_dead(10)) == 1
