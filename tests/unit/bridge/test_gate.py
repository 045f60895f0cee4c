"""The gate before cattle: open to all, shut in an outage, opened by one that gets through."""

import asyncio

from bridge.outbound.gate import CLOSES_AFTER, FIRST_S, MOST_S, Gate, Kind


def shut_gate(failed_probes=0, **options):
    """A gate after the failures that shut it, and some more."""
    shut = Gate(**options)
    for number in range(CLOSES_AFTER + failed_probes):
        shut.failed(f"reply {number}", Kind.RETRY)
    return shut


def test_is_open_at_first():
    """Nothing is held back while nothing failed."""
    assert Gate().is_open


def test_shuts_after_several_replies_failed():
    """Several different replies in a row mean that cattle is away."""
    assert not shut_gate().is_open


def test_one_reply_that_always_fails_does_not_shut_it():
    """One reply that cattle never takes does not hold up the others."""
    held = Gate()
    for _ in range(100):
        held.failed("the same", Kind.RETRY)
    assert held.is_open


def test_opens_at_the_first_success():
    """One reply that gets through opens it for all."""
    opened = shut_gate()
    opened.succeeded()
    assert opened.is_open


def test_waits_longer_with_each_failed_probe():
    """An outage gets fewer and fewer probes, down to a limit."""
    waits_s = [shut_gate(probes).wait_s(Kind.RETRY, 0.5) for probes in range(30)]
    assert waits_s == sorted(waits_s)
    assert (waits_s[0], waits_s[-1]) == (FIRST_S, MOST_S)


def test_failed_retries_let_no_other_kind_wait_longer():
    """W 31: replies that cattle never takes hold up neither pongs nor new replies."""
    shut = shut_gate(20)
    assert [shut.wait_s(kind, 0.5) for kind in Kind] == [FIRST_S, FIRST_S, MOST_S]


def test_lets_all_pass_while_it_is_open():
    """An open gate holds nobody, however many there are."""

    async def scenario():
        door = Gate()
        inside = 0

        async def pass_through():
            nonlocal inside
            async with door.passing(Kind.RETRY):
                inside += 1
                await everybody.wait()

        everybody = asyncio.Event()
        tasks = [asyncio.create_task(pass_through()) for _ in range(50)]
        await asyncio.sleep(0)
        reached = inside
        everybody.set()
        await asyncio.gather(*tasks)
        return reached

    assert asyncio.run(scenario()) == 50


def test_lets_one_at_a_time_probe_while_it_is_shut():
    """A cattle that comes back meets one reply, not thousands; then all go."""

    async def scenario():
        door, inside, most, passed = shut_gate(first_s=0.001), 0, 0, 0

        async def pass_through(number):
            nonlocal inside, most, passed
            async with door.passing(Kind.RETRY):
                inside += 1
                most = max(most, inside) if not door.is_open else most
                await asyncio.sleep(0.002)
                inside -= 1
            passed += 1
            if number == 5:
                door.succeeded()

        async with asyncio.timeout(5):
            await asyncio.gather(*(pass_through(number) for number in range(50)))
        return most, passed

    assert asyncio.run(scenario()) == (1, 50)


def test_a_probe_that_fails_lets_the_next_one_try():
    """An error within the gate does not keep it locked."""

    async def scenario():
        door, tries = shut_gate(first_s=0.001), 0

        async def probe():
            nonlocal tries
            try:
                async with door.passing(Kind.RETRY):
                    tries += 1
                    raise OSError("cattle is away")  # noqa: TRY301 -- as a POST does
            except OSError:
                return

        async with asyncio.timeout(5):
            await asyncio.gather(probe(), probe(), probe())
        return tries

    assert asyncio.run(scenario()) == 3
