"""The Engine's event stream, line by line: the old form, that of API 1.52, and rubbish."""

import json
import time
from email.utils import formatdate

import pytest

from cowpoke.container_events import STATUSES
from worker.engine.event_stream import MOST_LINE_BYTES, EngineEvent, EventStream

ID = "a" * 64


class Response:
    """An answer of the Engine that arrives in pieces."""

    def __init__(self, *pieces, date=None):
        self._pieces = pieces
        self.headers = {} if date is None else {"Date": date}

    def iter_content(self, chunk_size):
        """Return the pieces."""
        assert chunk_size is None
        return iter(self._pieces)


def line(**changes):
    """One event as API 1.52 has it."""
    event = {
        "Type": "container",
        "Action": "die",
        "Actor": {"ID": ID, "Attributes": {"image": "busybox:1", "exitCode": "1"}},
        "scope": "local",
        "time": 1_700_000_000,
        "timeNano": 1_700_000_000_123_456_789,
    }
    return json.dumps({**event, **changes}).encode() + b"\n"


def read(*pieces):
    """The events in an answer."""
    return list(EventStream(Response(*pieces), STATUSES))


DIE = EngineEvent(
    action="die", container_id=ID, image="busybox:1", time_ns=1_700_000_000_123_456_789
)


def test_event_is_read_by_type_action_and_actor():
    """B.5, W 12: from API 1.52 on nothing else is there; before, other keys are beside them."""
    old = {"status": "start", "id": "b" * 64, "from": "another"}
    assert read(line(), line(**old)) == [DIE, DIE]


def test_event_of_the_old_keys_alone_is_none():
    """Engines before API 1.22 are not supported."""
    text = json.dumps({"status": "die", "id": ID, "from": "i", "time": 1}).encode()
    assert read(text) == []


@pytest.mark.parametrize(
    "action",
    [
        *("pause", "restart", "oom", "create", "attach", "health_status: healthy"),
        *("exec_create: /bin/sh", "exec_start: start", "exec_die", "start: x", "die ", "DIE", ""),
        *("kill\n", "destroyed"),
    ],
)
def test_actions_are_compared_exactly(action):
    """B.5: an Action may have a suffix, and is another one then."""
    assert read(line(Action=action)) == []


@pytest.mark.parametrize("status", sorted(STATUSES))
def test_five_actions_are_of_interest(status):
    """B.5: those that the old agent reported."""
    assert [event.action for event in read(line(Action=status))] == [status]


def test_lines_may_arrive_in_any_pieces():
    """The Engine flushes by line, a proxy does not."""
    text = line() * 3
    for size in (1, 7, 100, len(text)):
        assert read(*(text[at : at + size] for at in range(0, len(text), size))) == [DIE] * 3


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\n",
        b"\x00\xff\xfe\n",
        b"{\n",
        b"null\n",
        b"[1]\n",
        b'"die"\n',
        b"[" * 100_000 + b"\n",
        line(Type="network"),
        line(Type=["container"]),
        line(Action=["die"]),
        line(Actor=None),
        line(Actor=[ID]),
        line(Actor={"ID": "abc"}),
        line(Actor={"ID": "A" * 64}),
        line(Actor={"ID": f"{'a' * 64}\n"}),
        line(Actor={"ID": 7}),
        line(time=None, timeNano=None),
        line(time=True, timeNano="1"),
        line(time=10**40, timeNano=-5),
        b"x" * (3 * MOST_LINE_BYTES) + b"\n",
    ],
    ids=lambda text: repr(text[:40]),
)
def test_rubbish_is_skipped(rubbish):
    """B.5: the events around it are read."""
    assert read(line(), rubbish, line()) == [DIE, DIE]


def test_line_without_end_needs_no_memory():
    """It is skipped up to its end, which comes late."""
    piece = b"x" * 100_000
    assert read(*[piece] * 100, b"\n", line()) == [DIE]
    assert read(*[piece] * 100) == []


def test_image_of_any_form():
    """A missing one is an empty text, a long one is cut."""
    for attributes, image in (({}, ""), (None, ""), ({"image": 7}, ""), ({"image": "i"}, "i")):
        (event,) = read(line(Actor={"ID": ID, "Attributes": attributes}))
        assert event.image == image
    (event,) = read(line(Actor={"ID": ID, "Attributes": {"image": "x" * 10_000}}))
    assert len(event.image) == 1000


def test_seconds_are_enough():
    """An Engine without timeNano."""
    (event,) = read(line(timeNano=None))
    assert event.time_ns == 1_700_000_000 * 10**9


@pytest.mark.parametrize(("ahead_s", "offset_s"), [(0, 0), (2, 0), (300, 300), (-300, -300)])
def test_clock_of_another_machine_is_known_by_its_answer(ahead_s, offset_s):
    """On the same machine it is the same clock, also when that is set."""
    response = Response(date=formatdate(time.time() + ahead_s, usegmt=True))
    assert EventStream(response, STATUSES).engine_offset_s == pytest.approx(offset_s, abs=2)


@pytest.mark.parametrize("date", [None, "", "soon", "Fri, 99 Jan 99999 00:00:00 GMT"])
def test_answer_without_a_date_is_of_this_machine(date):
    """What cannot be known is not guessed."""
    assert EventStream(Response(date=date), STATUSES).engine_offset_s == 0
