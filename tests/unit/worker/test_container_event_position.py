"""Where in the Engine's events a host is, over the death of the process that follows them."""

import json

import pytest

from worker.container_events.position import FILE, MOST_KEYS, Position
from worker.engine.event_stream import NS, EngineEvent

NOW_NS = 1_700_000_000 * NS


def event(number, action="die"):
    """An event some ns after the start of the test."""
    return EngineEvent(action=action, container_id="a" * 64, image="i", time_ns=NOW_NS + number)


@pytest.fixture
def make(tmp_path):
    """Make the position of one process after the other, `now` seconds after the test's start."""
    return lambda now=0.0: Position(tmp_path / "state", now_ns=NOW_NS + int(now * NS))


def test_host_without_a_file_begins_now(make):
    """The first ping tells of everything before."""
    assert make().since_ns(NOW_NS) == NOW_NS - NS


def test_next_process_knows_what_was_reported(make):
    """B.5: it asks from a moment before on, and skips what it gets again."""
    first = make()
    for number in range(3):
        assert first.note(event(number))
    first.save([], now_s=0)
    second = make(now=20)
    assert second.since_ns(NOW_NS + 20 * NS) == NOW_NS + 2 - NS
    assert [second.note(event(number)) for number in range(4)] == [False, False, False, True]


def test_next_process_gets_what_was_pending(make):
    """It is in no list of reported events, and the position is before it."""
    first = make()
    for number in range(3):
        first.note(event(number * NS))
    first.save([event(NS)], now_s=0)
    second = make(now=3)
    assert second.since_ns(NOW_NS + 3 * NS) == NOW_NS
    assert [second.note(event(number * NS)) for number in range(3)] == [False, True, False]


def test_what_is_stale_is_not_asked_for(make):
    """A worker that was away for days asks for the last minute."""
    first = make()
    first.note(event(0))
    first.save([], now_s=0)
    days_ns = 3 * 24 * 3600 * NS
    assert make().since_ns(NOW_NS + days_ns) == NOW_NS + days_ns - 60 * NS


def test_clock_that_was_set_back_loses_nothing(make):
    """Times of the future are no position: the last minute is asked for."""
    position = make()
    position.note(event(3600 * NS))
    assert position.since_ns(NOW_NS) == NOW_NS - 60 * NS
    assert position.note(event(0))
    assert position.since_ns(NOW_NS + NS) == NOW_NS - NS


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b'{"time_ns": "soon", "known": []}',
        b'{"time_ns": true, "known": []}',
        b'{"time_ns": 1}',
        b'{"time_ns": 1, "known": 7}',
        b"[" * 100_000,
        b'{"time_ns": 1, "known": ["' + b"x" * 1_000_000,
    ],
    ids=lambda text: repr(text[:30]),
)
def test_rubbish_in_the_file_is_ignored(make, tmp_path, rubbish):
    """B.5: events of the last minute come again, which is better than none."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / FILE).write_bytes(rubbish)
    position = make()
    assert position.since_ns(NOW_NS) == NOW_NS - 60 * NS
    position.note(event(0))
    position.save([], now_s=0)
    assert json.loads((tmp_path / "state" / FILE).read_text())["time_ns"] == NOW_NS


def test_absurd_time_in_the_file_is_no_position(make, tmp_path):
    """It is a number, and far away."""
    (tmp_path / "state").mkdir()
    for time_ns in (-(10**30), 10**30):
        text = json.dumps({"time_ns": time_ns, "known": [None, {}, "x" * 10_000]})
        (tmp_path / "state" / FILE).write_text(text)
        assert make().since_ns(NOW_NS) == NOW_NS - 60 * NS


def test_file_is_small(make, tmp_path):
    """However many events there were."""
    position = make()
    for number in range(5 * MOST_KEYS):
        position.note(event(number))
    position.save([], now_s=0)
    assert (tmp_path / "state" / FILE).stat().st_size < 30_000
    assert (tmp_path / "state" / FILE).stat().st_mode & 0o777 == 0o600


def test_file_is_written_now_and_then(make):
    """After a report, and not with every one of a storm."""
    position = make()
    assert position.save_due_s(now_s=10) == 0
    position.save([], now_s=10)
    assert position.save_due_s(now_s=10.1) is None
    position.note(event(0))
    assert position.save_due_s(now_s=10.1) is None
    position.touch()
    assert 0 < position.save_due_s(now_s=10.1) < 0.25
    assert position.save_due_s(now_s=10.3) == 0


def test_full_disk_is_no_end(make, tmp_path):
    """The state folder is a file here; it is logged, and the position is kept in memory."""
    (tmp_path / "state").write_text("")
    position = make()
    position.note(event(0))
    position.save([], now_s=0)
    assert not position.note(event(0))
