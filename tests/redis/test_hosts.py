"""Which hosts a bridge takes for alive, by the leases in a real Redis."""

import asyncio

import pytest

from bridge.hosts import Hosts
from bridge.settings import AgentKeys
from tests.ledgers import HOST, end_process, start_process
from worker.contract.leases import Leases

AWAY_AFTER_S = 0.3


@pytest.fixture
def hosts(client):
    """What a bridge with one agent sees, soon tired of an absent host."""
    agent = AgentKeys(access_key="key", secret_key="secret", host_uuid=HOST)
    return Hosts(Leases(client), (agent,), away_after_s=AWAY_AFTER_S), agent


def test_a_host_is_alive_while_a_process_of_it_is(client, hosts):
    """Whoever waits for it gets it with the next look."""
    looking, agent = hosts

    async def scenario():
        waiting = asyncio.create_task(looking.wait_alive(agent))
        await looking.look()
        assert not looking.is_alive(HOST)
        start_process(client)
        await looking.look()
        return await asyncio.wait_for(waiting, 5)

    assert asyncio.run(scenario()) == HOST


def test_a_host_without_processes_for_long_is_away(client, hosts):
    """Its subscription ends: cattle would only count missed pings."""
    looking, _ = hosts

    async def scenario():
        start_process(client)
        await looking.look()
        away = asyncio.create_task(looking.wait_away(HOST))
        end_process(client)
        await looking.look()
        assert not away.done()
        while not away.done():
            await asyncio.sleep(AWAY_AFTER_S / 10)
            await looking.look()

    asyncio.run(asyncio.wait_for(scenario(), 10))
