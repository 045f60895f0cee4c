"""A clock that does not count pauses of the process."""

import asyncio

import pytest

from bridge.awake import LONG_PAUSE_S, PAUSE_S, TICK_S, AwakeClock


def test_time_between_ticks_is_counted():
    """W 27: what passes while the process runs is time."""
    clock = AwakeClock()
    for _ in range(10):
        clock.advance(0.3)
    assert clock.now_s() == pytest.approx(3.0)


@pytest.mark.parametrize("pause_s", [PAUSE_S + 0.1, LONG_PAUSE_S + 0.1, 3600])
def test_pause_counts_as_one_tick(pause_s):
    """W 27: a frozen process judges nobody by the time it was frozen."""
    clock = AwakeClock()
    clock.advance(pause_s)
    assert clock.now_s() == TICK_S


def test_block_that_takes_too_long_is_cancelled():
    """W 27: as with asyncio's own timeout."""

    async def scenario():
        async with AwakeClock() as clock:
            with pytest.raises(TimeoutError):
                async with clock.timeout(0.3):
                    await asyncio.sleep(60)

    asyncio.run(scenario())


def test_block_that_ends_in_time_is_left_alone():
    """W 27: the timeout ends with its block."""

    async def scenario():
        async with AwakeClock() as clock:
            async with clock.timeout(0.3):
                await asyncio.sleep(0)
            await asyncio.sleep(0.6)
            return clock.now_s()

    assert asyncio.run(scenario()) > 0.3


def advance_amid_a_timeout(*elapsed_s):
    """Let time pass in a block of 15 s, and return whether it was cancelled."""

    async def scenario():
        clock = AwakeClock()  # its ticks are the test's
        try:
            async with clock.timeout(15):
                for one_s in elapsed_s:
                    clock.advance(one_s)
                    for _ in range(3):
                        await asyncio.sleep(0)
        except TimeoutError:
            return True
        return False

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("elapsed_s", "is_over"),
    [
        ([0.5] * 31, True),
        ([0.5] * 29, False),
        ([0.5] * 29 + [20.0], False),
        ([0.5] * 29 + [20.0] + [0.5] * 29, False),
        ([0.5] * 29 + [20.0] + [0.5] * 31, True),
        ([0.5] * 29 + [3.0] * 2, False),
        ([0.5] * 29 + [3.0] * 3, True),
    ],
)
def test_timeout_begins_anew_after_a_long_pause(elapsed_s, is_over):
    """W 27: short pauses, as on a busy machine, are skipped; after a long one all begins anew."""
    assert advance_amid_a_timeout(*elapsed_s) is is_over
