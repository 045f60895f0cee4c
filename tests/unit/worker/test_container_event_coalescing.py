"""Which events of containers are reported and when; time is what the test says."""

import math

import pytest

from cowpoke.container_events import STALE_AFTER_S
from worker.container_events.coalescing import (
    BURST,
    EVERY_S,
    HOST_BURST,
    HOST_PER_S,
    Coalescer,
    Noted,
)
from worker.engine.event_stream import EngineEvent


class Host:
    """A coalescer, and what was reported."""

    def __init__(self, **options):
        self.now_s = 1000.0
        self.coalescer = Coalescer(self.now_s, **options)
        self.reported = []
        self._time_ns = 0

    def happen(self, *actions, container="c1"):
        """Let some things happen to a container."""
        for action in actions:
            self._time_ns += 1
            event = EngineEvent(
                action=action, container_id=container, image="i", time_ns=self._time_ns
            )
            self.coalescer.add(Noted(event=event, happened_s=self.now_s), self.now_s)

    def take(self):
        """Take the events of the container whose turn it is."""
        return self.coalescer.take(self.now_s)

    def report(self):
        """Report everything that is due now; the actions."""
        actions = []
        while taken := self.take():
            self.coalescer.done(taken[0].event.container_id, self.now_s)
            actions += [one.event.action for one in taken]
            self.reported += [(self.now_s, one.event) for one in taken]
        return actions

    def run(self, seconds, step_s=0.1, every_step=lambda _: None):
        """Let time pass, and report what is due."""
        for number in range(round(seconds / step_s)):
            every_step(number)
            self.now_s += step_s
            self.report()


@pytest.fixture
def host():
    """A host on which nothing happened yet."""
    return Host()


def test_events_of_a_container_are_reported_at_once_and_in_order(host):
    """B.5: a stop by hand makes three."""
    host.happen("kill", "die", "stop")
    assert host.report() == ["kill", "die", "stop"]
    assert host.coalescer.take_counts() == (0, 0)


def test_container_in_a_crash_loop_is_reported_now_and_then(host):
    """B.5: 100 starts a minute make a burst, then one report every few seconds, the latest."""

    def crash(number):
        if number % 6 == 0:  # every 0.6 s
            host.happen("die", "start")

    host.run(60, every_step=crash)
    assert len(host.reported) <= BURST + 60 / EVERY_S + 1
    coalesced, dropped = host.coalescer.take_counts()
    assert coalesced == 200 - len(host.reported) - len(host.coalescer.pending())
    assert dropped == 0
    times = [event.time_ns for _, event in host.reported]
    assert times == sorted(times)


def test_last_event_of_a_crash_loop_is_reported(host):
    """What is true at the end reaches cattle, within the interval."""
    host.happen(*["die", "start"] * 20, "die")
    host.run(EVERY_S + 0.2)
    assert host.reported[-1][1].action == "die"
    assert host.coalescer.pending() == []


def test_flapping_container_holds_up_no_other(host):
    """Its turn comes later; the others' is now."""
    host.happen(*["die", "start"] * 20)
    host.report()
    host.happen("die")
    host.happen("die", container="c2")
    assert host.report() == ["die"]
    assert host.reported[-1][1].container_id == "c2"


def test_destroy_waits_for_no_turn(host):
    """It comes once per container, and says more than all before."""
    host.happen(*["die", "start"] * 20)
    host.report()
    host.happen("die", "destroy")
    assert host.report() == ["destroy"]


def test_kill_replaces_nothing(host):
    """A signal changes no state: cattle ignores it."""
    host.happen(*["die", "start"] * 20)
    host.report()
    host.happen("start", "kill")
    host.run(EVERY_S + 0.2)
    assert host.reported[-1][1].action == "start"


def test_a_container_is_with_one_caller_at_a_time(host):
    """Otherwise two threads change the order of its events."""
    host.happen("die")
    taken = host.take()
    host.happen("start")
    assert host.take() == ()
    assert host.coalescer.wait_s(host.now_s) == math.inf
    host.coalescer.done("c1", host.now_s)
    assert [one.event.action for one in host.take()] == ["start"]
    assert [one.event.action for one in taken] == ["die"]


def test_storm_on_a_host_is_spread_over_time(host):
    """B.5: 1,000 containers at once; of each the latest is kept until its turn."""
    for number in range(1000):
        host.happen("start", container=f"c{number}")
    for number in range(1000):
        host.happen("die", "destroy", container=f"c{number}")
    assert len(host.report()) <= HOST_BURST
    host.run(10)
    assert len(host.reported) <= HOST_BURST + 10 * HOST_PER_S + 3
    host.run(1000 / HOST_PER_S)
    assert {event.container_id for _, event in host.reported if event.action == "destroy"} == {
        f"c{number}" for number in range(1000)
    }
    assert host.coalescer.pending() == []


def test_number_of_containers_is_bounded():
    """The oldest of too many are dropped, and counted."""
    host = Host(most_containers=100)
    for number in range(1000):
        host.happen("start", container=f"c{number}")
    assert len(host.coalescer.pending()) == 100
    assert host.coalescer.take_counts() == (0, 900)
    host.run(10)
    assert {event.container_id for _, event in host.reported} == {
        f"c{number}" for number in range(900, 1000)
    }


def test_what_could_not_be_reported_comes_again(host):
    """Redis was away: the latest event waits, and costs no second turn."""
    host.happen("kill", "die")
    taken = host.take()
    host.happen("start")
    host.coalescer.give_back("c1", taken, host.now_s)
    assert host.take() == ()
    host.run(1)
    assert [event.action for _, event in host.reported] == ["start"]
    assert host.coalescer.take_counts() == (2, 0)


def test_counts_of_a_failed_report_are_kept(host):
    """They go with the next one."""
    host.coalescer.drop(3)
    counts = host.coalescer.take_counts()
    host.coalescer.put_back_counts(counts)
    assert host.coalescer.take_counts() == (0, 3)


def test_set_back_clock_stops_nothing(host):
    """Monotonic clocks do not go back; a bucket does not care."""
    host.happen("die")
    host.now_s -= 50
    host.happen("start")
    host.now_s += 50
    assert host.report() == ["die", "start"]


def test_fresh_events_do_not_wait_for_stale_ones(host):
    """After a storm that takes longer than a minute to report; the stale ones are counted."""
    for number in range(4_000):
        host.happen("start", container=f"c{number}")
    host.run(STALE_AFTER_S + 1)
    reported = len(host.reported)
    assert reported < 2_000
    host.happen("die", container="fresh")
    host.run(1)
    assert [event.container_id for _, event in host.reported[reported:]] == ["fresh"]
    assert host.coalescer.take_counts() == (0, 4_000 - reported)
    assert math.isinf(host.coalescer.wait_s(host.now_s))
