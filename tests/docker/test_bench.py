"""`make bench` in small: it measures what it says, and takes everything down."""

import json
from contextlib import ExitStack

import pytest

from simulator.bench.__main__ import Bench, Size
from simulator.bench.report import tables, write_docs, write_json

SMALL = Size(others=(0, 2), activates=2, at_once=2, bursts=1, pings=3, warm_ups=1, idle_s=0.2)


@pytest.fixture(scope="module")
def figures(engine):
    """The figures of one small run beside the session's Engine."""
    with ExitStack() as stack:
        yield Bench(stack, SMALL).run()


def test_an_activate_costs_five_calls_to_the_engine_at_most(figures):
    """Counted at the Engine's socket, whatever else is on the host."""
    for others in SMALL.others:
        assert 0 < sum(figures.calls[others]["activate"].values()) <= 5


def test_everything_is_measured(figures):
    """Both sides, one by one and at once; pings; memory of each process."""
    assert [(one.others, one.at_once) for one in figures.activates] == [
        (0, 1),
        (0, 2),
        (2, 1),
        (2, 2),
    ]
    for one in figures.activates:
        assert one.floor.p50_ms > 0
        assert one.system.p50_ms > 0
        assert one.ratio > 0
    assert figures.pings.round_trip.times == SMALL.pings
    names = {one.process for one in figures.footprints}
    assert {"bridge", "worker: supervisor", "redis-server"} <= names


def test_figures_are_written_for_people_and_for_machines(figures, tmp_path):
    """The tables replace the old ones between their marks; JSON has the same figures."""
    page = tmp_path / "performance.md"
    marks = (
        "<!-- figures: written by `python -m simulator.bench --write-docs` -->",
        "<!-- end of figures -->",
    )
    page.write_text(f"before\n{marks[0]}\nold\n{marks[1]}\nafter\n")
    write_docs(figures, page)
    text = page.read_text()
    assert tables(figures) in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    write_json(figures, tmp_path / "bench.json")
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["pings"]["round_trip"]["p50_ms"] == figures.pings.round_trip.p50_ms
