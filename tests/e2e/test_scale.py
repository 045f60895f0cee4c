"""`make scale` in small: it measures what it says, with real processes."""

import json

import pytest

from simulator.bench.report import replace_between, write_json
from simulator.scale.__main__ import Size, measure
from simulator.scale.figures import COMMANDS_MOST, PING_MOST_BYTES
from simulator.scale.report import BEGIN, END, tables

SMALL = Size(
    hosts=200,
    open_events=2_000,
    intervals=1,
    interval_s=1.0,
    dead=1,
    due=(0, 100),
    sweeps=1,
    failing=(20, 80),
    failings=1,
    settle_s=0.5,
    rest_s=4.0,
)


@pytest.fixture(scope="module")
def figures():
    """The figures of one small run."""
    return measure(SMALL)


def test_hosts_at_rest_cost_little(figures):
    """Bounds with room for a busy machine: they fail when a cost grows with the number of hosts."""
    assert [share.situation for share in figures.shares] == [
        "leases only, no bridge",
        "no open events",
        "2,000 open events",
    ]
    assert sum(figures.commands.values()) < 2 * COMMANDS_MOST
    assert figures.ping_bytes <= PING_MOST_BYTES


def test_sweep_costs_what_is_due(figures):
    """What needs nothing costs the bridge nothing; a lost message is sent again."""
    costs = {(one.due, one.lost): one.bridge_ms for one in figures.sweeps}
    assert set(costs) == {(0, False), (100, False), (100, True)}
    assert costs[100, False] < costs[100, True] / 2


def test_dead_host_is_noticed(figures):
    """Its claimed event is sent again; a busy machine gets more time than the target."""
    (noticed_s,) = figures.noticed_s
    assert 4 < noticed_s < 20


def test_figures_are_written_for_people_and_for_machines(figures, tmp_path):
    """The tables replace the old ones between their marks; JSON has the same figures."""
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    replace_between(BEGIN, END, tables(figures), page)
    text = page.read_text()
    assert tables(figures) in text
    assert "old" not in text
    write_json(figures, tmp_path / "scale.json")
    assert json.loads((tmp_path / "scale.json").read_text())["hosts"] == SMALL.hosts
