"""Fair turns: no host waits behind another host's thousands, and nothing is lost or doubled."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.inbound.fairness import FairQueue, FairSlots, Turns

MANY = 1000
WAIT_S = 20


async def settled():
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_items_of_a_second_host_are_taken_after_one_of_the_first():
    """W 31: a flood of one host costs another host one turn."""
    turns = Turns()
    for number in range(MANY):
        turns.add("a", f"a{number}")
    turns.add("b", "b0")
    turns.add("b", "b1")
    assert [turns.next() for _ in range(5)] == ["a0", "b0", "a1", "b1", "a2"]


@given(st.lists(st.sampled_from("abc") | st.none()))
def test_every_item_is_taken_once_and_in_the_order_of_its_host(steps):
    """Whatever is added and taken when: nothing is lost, doubled or overtaken by its own host."""
    turns, added, taken = Turns(), [], []
    for number, host in enumerate(steps):
        if host is not None:
            turns.add(host, (host, number))
            added.append((host, number))
        elif turns:
            taken.append(turns.next())
    while turns:
        taken.append(turns.next())
    assert sorted(taken) == sorted(added)
    for host in "abc":
        own = [number for one, number in taken if one == host]
        assert own == sorted(own)


def queue(**limits):
    """A queue of numbers."""
    return FairQueue(**{"limit": 100, "limit_bytes": 1000, **limits})


@pytest.mark.parametrize("limits", [{"limit": 2}, {"limit_bytes": 20}])
def test_full_queue_stops_only_the_host_that_filled_it(limits):
    """W 31: back-pressure reaches the flood, and no other host."""

    async def scenario():
        full = queue(**limits)
        for number in range(2):
            await full.put("a", number, 10)
        third = asyncio.create_task(full.put("a", 2, 10))
        await settled()
        assert not third.done()
        await asyncio.wait_for(full.put("b", "b", 10), WAIT_S)
        taken = await full.take(10, 1000)
        assert [item for item, _ in taken] == [0, "b", 1]
        await asyncio.wait_for(third, WAIT_S)  # The host has nothing that waits any more.
        assert (full.count, full.bytes) == (4, 40)
        await full.done(taken)
        assert (full.count, full.bytes) == (1, 10)

    asyncio.run(scenario())


def test_item_larger_than_the_queue_passes_alone():
    """W 31: an event of 16 MB is not stuck for ever behind a smaller limit."""

    async def scenario():
        small = queue(limit_bytes=10)
        await asyncio.wait_for(small.put("a", "huge", 500), WAIT_S)
        assert await small.take(10, 1) == [("huge", 500)]

    asyncio.run(scenario())


def test_batch_ends_when_it_has_enough_bytes():
    """W 31: what is decoded at once is bounded, however many events wait."""

    async def scenario():
        waiting = queue()
        for number in range(5):
            await waiting.put("a", number, 40)
        assert [item for item, _ in await waiting.take(100, 100)] == [0, 1, 2]

    asyncio.run(scenario())


def test_join_waits_for_what_is_in_work():
    """A queue is not empty while a batch is on its way."""

    async def scenario():
        waiting = queue()
        await waiting.put("a", 1, 1)
        taken = await waiting.take(1, 1)
        joining = asyncio.create_task(waiting.join())
        await settled()
        assert not joining.done()
        await waiting.done(taken)
        await asyncio.wait_for(joining, WAIT_S)

    asyncio.run(scenario())


def test_free_slots_go_to_urgent_waiters_and_then_host_by_host():
    """W 31: a pong takes the next free slot, before a thousand replies that came earlier."""

    async def scenario():
        slots, order = FairSlots(1), []

        async def work(host, name, *, urgent=False):
            async with slots.slot(host, urgent=urgent):
                order.append(name)
                await asyncio.sleep(0)

        names = [("a", f"a{n}", False) for n in range(MANY)]
        names += [("b", "b0", False), ("b", "pong", True)]
        async with asyncio.TaskGroup() as group, slots.slot("c"):
            for host, name, urgent in names:
                group.create_task(work(host, name, urgent=urgent))
            await settled()
        assert len(order) == MANY + 2
        assert order[:4] == ["pong", "a0", "b0", "a1"]

    asyncio.run(scenario())


def test_slot_is_free_again_after_errors_and_cancellations():
    """A slot is never lost, whatever happens to its holder or to who waits."""

    async def scenario():
        slots = FairSlots(2)

        async def fail():
            async with slots.slot("a"):
                await asyncio.sleep(0)
                raise ValueError

        async def hold():
            async with slots.slot("a"):
                await asyncio.Event().wait()

        tasks = [asyncio.create_task(one()) for one in (hold, hold, hold, fail, hold)]
        await settled()
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError, ValueError):
                await task
        for _ in range(3):
            async with asyncio.timeout(WAIT_S), slots.slot("a"), slots.slot("b"):
                pass

    asyncio.run(scenario())
