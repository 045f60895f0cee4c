"""Log lines as they leave a process: whole, short enough for a pipe, repeats folded."""

import io
import json
import logging
import os
import sys
import threading

import pytest

from cowpoke.log_lines import MOST_LINE_BYTES, MOST_REMEMBERED, FoldingHandler, Printed
from simulator.rig.processes import wait_until

LONG_S = 3600.0


class Lines(io.StringIO):
    """A stream whose lines a test reads."""

    @property
    def facts(self):
        """Each line, without its time."""
        return [
            {key: value for key, value in json.loads(line).items() if key != "timestamp"}
            for line in self.getvalue().splitlines()
        ]


@pytest.fixture
def make_log():
    """Make a logger of a name and the lines that it writes: `make_log(window_s=1)`."""
    made = []

    def make(*names, window_s=LONG_S):
        stream = Lines()
        handler = FoldingHandler(stream, window_s=window_s)
        handler.setFormatter(logging.Formatter("%(message)s"))
        loggers = [logging.getLogger(f"test.{name}") for name in names or ("one",)]
        for logger in loggers:
            logger.handlers[:] = [handler]
            logger.propagate = False
            logger.setLevel(logging.DEBUG)
        made.extend(loggers)
        return (*loggers, handler, stream)

    yield make
    for logger in made:
        logger.handlers.clear()
        logger.propagate = True


def fact(name, **fields):
    """A fact as the formatter gives it."""
    return json.dumps({"event": name, **fields})


def test_the_first_line_goes_out_at_once_and_its_repeats_as_one(make_log):
    """W 33: with their count, and the times of the first and the last."""
    log, handler, stream = make_log()
    for _ in range(5):
        log.error(fact("redis.unavailable"))
    assert stream.facts == [{"event": "redis.unavailable"}]
    handler.flush()
    first, repeats = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (repeats["event"], repeats["count"]) == ("redis.unavailable", 4)
    assert first["timestamp"] <= repeats["first"] <= repeats["last"] == repeats["timestamp"]


def test_repeats_are_written_when_the_window_ends(make_log):
    """W 33: no later line is needed, so that an error is never held back for longer."""
    log, _, stream = make_log(window_s=0.2)
    log.error(fact("redis.unavailable"))
    log.error(fact("redis.unavailable"))
    wait_until(lambda: len(stream.facts) == 2, 10, "the repeat")
    assert stream.facts[1]["count"] == 1


def test_a_line_that_goes_on_is_written_once_a_window(make_log):
    """W 33: a long outage is a line every window, with all repeats counted."""
    log, handler, stream = make_log(window_s=0.05)
    sent = 0
    while len(stream.facts) < 4:
        log.error(fact("redis.unavailable"))
        sent += 1
    handler.flush()
    assert sum(one.get("count", 1) for one in stream.facts) == sent


def test_a_new_fact_of_the_same_logger_ends_the_repeats(make_log):
    """W 33: the lines stay in order; another logger's repeats go on."""
    one, two, _, stream = make_log("one", "two")
    for _ in range(2):
        one.warning(fact("redis.unavailable"))
        two.warning(fact("engine.away"))
    one.warning(fact("redis.available"))
    assert [(each["event"], each.get("count")) for each in stream.facts] == [
        ("redis.unavailable", None),
        ("engine.away", None),
        ("redis.unavailable", 1),
        ("redis.available", None),
    ]


@pytest.mark.parametrize("field", ["event_id", "level", "reason"])
def test_lines_that_differ_are_not_folded(make_log, field):
    """W 33: the same fact of two events, of another level or for another reason is two facts."""
    log, handler, stream = make_log()
    for value in ("a", "b"):
        log.info(fact("event.done", **{field: value}))
    handler.flush()
    assert stream.facts == [{"event": "event.done", field: value} for value in ("a", "b")]


def test_two_lines_in_turn_are_folded(make_log):
    """W 33: a loop that logs two facts a round fills no disk."""
    log, handler, stream = make_log()
    for _ in range(100):
        log.info(fact("a"))
        log.info(fact("b"))
    handler.flush()
    assert [(one["event"], one.get("count")) for one in stream.facts] == [
        ("a", None),
        ("b", None),
        ("a", 99),
        ("b", 99),
    ]


def test_memory_is_bounded_and_no_repeat_is_lost(make_log):
    """W 33: the oldest line is forgotten, and its repeats are written then."""
    log, _, stream = make_log()
    for number in range(MOST_REMEMBERED * 3):
        log.info(fact("event.done", number=number))
        log.info(fact("event.done", number=number))
    handled = log.handlers[0]
    assert len(handled._lines) <= MOST_REMEMBERED
    handled.flush()
    assert sum(one.get("count", 1) for one in stream.facts) == MOST_REMEMBERED * 6


def test_threads_lose_no_line(make_log):
    """W 33: repeats of many threads at once are all counted."""
    log, handler, stream = make_log(window_s=0.01)
    threads = [
        threading.Thread(target=lambda: [log.info(fact("a")) for _ in range(500)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handler.flush()
    assert sum(one.get("count", 1) for one in stream.facts) == 4000


def test_a_forked_process_does_not_write_its_parents_repeats(make_log):
    """W 33: the lanes are forked; each counts its own, and none waits for a lock of the parent."""
    log, handler, stream = make_log()
    log.info(fact("a"))
    log.info(fact("a"))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        handler.flush()
        log.info(fact("a"))
        os.write(write, json.dumps(stream.facts).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as told:
        assert json.load(told) == [{"event": "a"}, {"event": "a"}]
    assert os.waitpid(child, 0)[1] == 0
    handler.flush()
    assert stream.facts[1]["count"] == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"reason": "x" * 10_000},
        {"reason": "é" * 10_000},
        {"events": [f"event-{number}" for number in range(5000)]},
        {"exception": "Traceback\n" * 5000},
        {"nested": {str(number): "x" * 50 for number in range(500)}},
        {f"field{number}": "x" * 50 for number in range(500)},
    ],
)
def test_a_long_line_is_cut_and_stays_json(make_log, fields):
    """W 34: the lanes of a worker share a pipe, which takes 4096 bytes in one piece."""
    log, _, stream = make_log()
    log.info(fact("event.done", event_id="e-1", **fields))
    assert len(stream.getvalue().encode()) <= MOST_LINE_BYTES
    (written,) = stream.facts
    assert (written["event"], written["event_id"], written["cut"]) == ("event.done", "e-1", True)


def test_what_is_printed_becomes_a_line_each(make_log):
    """W 34: also in pieces, and blank lines are none."""
    log, _, stream = make_log()
    log.handlers[0].setFormatter(Texts())
    printed = Printed(log)
    print("\nworker: Warm shutdown", "(MainProcess)", file=printed)
    print("a", end="", file=printed)
    print("b\n\nc", file=printed)
    assert [one["text"] for one in stream.facts] == [
        "worker: Warm shutdown (MainProcess)",
        "ab",
        "c",
    ]
    assert not hasattr(printed, "fileno")
    assert not printed.isatty()


def test_a_broken_stream_breaks_no_program(make_log, monkeypatch):
    """W 34: when nothing can be written, there is nowhere to say it, and no endless loop."""
    log, handler, stream = make_log()
    monkeypatch.setattr(sys, "stderr", Printed(log))
    stream.close()
    log.info(fact("a"))
    handler._lines.clear()


class Texts(logging.Formatter):
    """Gives the extra field `text` as JSON."""

    def format(self, record):
        """Give the fact and the text of a printed line."""
        return json.dumps({"event": record.getMessage(), "text": record.text})
