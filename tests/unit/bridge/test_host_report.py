"""Which of a host's container events is next, while cattle takes no more starts."""

import pytest

from bridge.container_events import host_report
from bridge.container_events.host_report import KEYS_PAUSE_S, MOST_PAUSE_S, Head, HostReport
from bridge.container_events.posting import Answer, End

FULL = Answer(end=End.TOO_MANY_STARTS, status=409)
POSTED = Answer(end=End.POSTED, status=201)


@pytest.fixture
def time(monkeypatch):
    """A clock that the test sets."""

    class Time:
        now_s = 100.0

        def monotonic(self):
            return self.now_s

    clock = Time()
    monkeypatch.setattr(host_report, "time", clock)
    return clock


def heads(*entries):
    """A report with these entries: `a start`, `b die`."""
    made = HostReport()
    for number, entry in enumerate(entries):
        container, status = entry.split()
        made.heads.append(
            Head(
                entry_id=f"{number}-0",
                container_id=container,
                is_start=status == "start",
                occurred_ms=0,
            )
        )
    return made


def order(report):
    """The numbers of the entries that can be reported now."""
    found = []
    while (head := report.next()) is not None:
        found.append(int(head.entry_id[:-2]))
        report.over(head)
    return found


def test_events_are_reported_in_their_order(time):
    """B.5: one after the other."""
    assert order(heads("a start", "b die", "a die")) == [0, 1, 2]


def test_starts_that_wait_hold_up_their_own_container_only(time):
    """B.5: 409 is about starts; the order of a container is kept."""
    report = heads("a start", "b die", "a die", "c start", "c destroy", "d stop")
    report.pause_s(FULL, report.heads[0])
    assert order(report) == [1, 5]
    time.now_s += MOST_PAUSE_S
    assert order(report) == [0, 2, 3, 4]


def test_starts_wait_longer_each_time_until_one_is_taken(time):
    """A stop that is taken says nothing about starts."""
    report = heads("a start", "b stop")
    start, stop = report.heads
    waits = []
    for _ in range(6):
        report.pause_s(FULL, start)
        report.pause_s(POSTED, stop)
        waits.append(report.starts_wait_s())
    assert waits == [0.5, 1, 2, 4, 5, 5]
    report.pause_s(POSTED, start)
    report.pause_s(FULL, start)
    assert report.starts_wait_s() == 0.5


def test_failures_pause_the_host_longer_each_time(time):
    """B.5: an unknown host, a broken server; a success ends it."""
    report = heads("a die")
    (head,) = report.heads
    failed, unknown = Answer(end=End.FAILED, status=502), Answer(end=End.HOST_UNKNOWN, status=422)
    pauses = [report.pause_s(one, head) for one in (failed, unknown, failed, unknown, failed)]
    assert pauses == [0.5, 1, 2, 4, 5]
    assert report.has_failed
    assert report.pause_s(POSTED, head) == 0
    assert not report.has_failed


def test_refused_keys_pause_the_host_for_long(time):
    """B.5: they do not become good within a second."""
    report = heads("a die")
    assert report.pause_s(Answer(end=End.KEYS_REFUSED, status=403), report.heads[0]) == KEYS_PAUSE_S


def test_one_entry_is_read_at_a_time_and_many_while_starts_wait(time):
    """What waits stays in Redis; a few words of it are kept to find what need not wait."""
    report = heads()
    assert report.wants == 1
    report = heads("a start")
    assert report.wants == 0
    report.pause_s(FULL, report.heads[0])
    assert report.wants == host_report.WINDOW - 1
