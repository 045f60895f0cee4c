"""How fast one bridge opens websockets."""

from bridge.inbound.pace import LEAST_PER_S, MOST_SPREAD_S, Pace


def waits_s(agents, now_s=100.0):
    """What each of so many agents waits that come in the same instant."""
    pace = Pace(lambda: agents)
    return [pace.wait_s(now_s) for _ in range(agents)]


def test_one_agent_does_not_wait():
    """A lost websocket is opened anew at once."""
    assert waits_s(1) == [0]


def test_many_come_one_after_the_other():
    """Each waits a little longer than the one before it."""
    waits = waits_s(200)
    assert waits == sorted(set(waits))
    assert waits[-1] > 10


def test_however_many_the_last_one_is_not_too_late():
    """Cattle's patience does not grow with the number of agents."""
    assert waits_s(10_000)[-1] <= MOST_SPREAD_S


def test_who_comes_later_finds_nobody_before_him():
    """Turns that nobody waits for are not saved up, nor do they hold anybody up."""
    pace = Pace(lambda: 2)
    assert [pace.wait_s(at_s) for at_s in (0.0, 0.0, 10.0)] == [0, 1 / LEAST_PER_S, 0]
