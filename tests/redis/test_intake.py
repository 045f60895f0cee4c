"""What a bridge holds in memory between cattle and Redis."""

import asyncio
import json

import pytest

from bridge.inbound.intake import Intake
from bridge.settings import AgentKeys
from cowpoke import keys
from tests.factories import event
from tests.ledgers import HOST

AGENT = AgentKeys(access_key="key", secret_key="secret")


def frame(number):
    """One event of cattle's, of a resource of its own."""
    return json.dumps(event(id=f"event-{number}", resourceId=f"1ihm{number}"))


def test_reading_waits_when_memory_is_full_and_loses_nothing(client, ledger):
    """BRIDGE_INTAKE_LIMIT: cattle's own queue fills then, and nothing is dropped here."""

    async def scenario():
        intake = Intake(ledger, limit=2, limit_bytes=1 << 20)
        for number in range(2):
            assert await intake.take_frame(frame(number), AGENT, HOST)
        third = asyncio.create_task(intake.take_frame(frame(2), AGENT, HOST))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(third), 0.2)
        emptying = asyncio.create_task(intake.run())
        assert await asyncio.wait_for(third, 5)
        await asyncio.wait_for(intake.flush(), 5)
        emptying.cancel()

    asyncio.run(scenario())
    assert {client.hget(keys.event(f"event-{n}"), "state") for n in range(3)} == {"queued"}
