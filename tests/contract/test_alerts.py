"""The alert rules and the dashboard: every metric exists, every alert fires in its time and clears.

Debian's package `prometheus` has promtool. `tests/faults/test_alerts.py` has each alert fire of
a real bridge.
"""

import json
import re
import subprocess

import pytest

from cowpoke.overview.conditions import CONDITIONS
from tests import metrics_table
from tests.prometheus import DASHBOARD, RULES, alerts

#: What only `cowpoke doctor` looks at, or a start of a program says.
WITHOUT_ALERT = {"redis-version", "clock-differs", "state-folder", "keys-missing"}
PAGE, TICKET = "page", "ticket"
#: Alert, its condition, how urgent it is, and after how many minutes it fires.
PROBLEMS = [
    ("CowpokeRedisRefusesWrites", "redis-refuses-writes", PAGE, 1),
    ("CowpokeRedisMemory", "redis-memory", PAGE, 5),
    ("CowpokeRedisEviction", "redis-eviction", TICKET, 5),
    ("CowpokeRedisNotPersistent", "redis-not-persistent", TICKET, 60),
    ("CowpokeCattleUnreachable", "cattle-unreachable", PAGE, 2),
    ("CowpokeWebsocketClosed", "websocket-closed", PAGE, 5),
    ("CowpokeCattleSilent", "cattle-silent", PAGE, 5),
    ("CowpokeAgentKeysRefused", "agent-keys-refused", TICKET, 5),
    ("CowpokeAgentRemoved", "agent-removed", TICKET, 15),
    ("CowpokeHostNotServed", "host-not-served", TICKET, 5),
    ("CowpokeRepliesStuck", "replies-stuck", PAGE, 2),
    ("CowpokeHostWithoutWorker", "host-without-worker", PAGE, 5),
    ("CowpokeLaneMissing", "lane-missing", PAGE, 5),
    ("CowpokeEngineUnreachable", "engine-unreachable", PAGE, 3),
    ("CowpokeEngineVersion", "engine-version", TICKET, 15),
    ("CowpokeLocksNotShared", "locks-not-shared", PAGE, 5),
    ("CowpokeOrphanVolumes", "orphan-volumes", TICKET, 1440),
    ("CowpokeKeysDiffer", "keys-differ", TICKET, 15),
    ("CowpokeVersionsDiffer", "versions-differ", TICKET, 1440),
    ("CowpokeEventsStuck", "events-stuck", PAGE, 5),
    ("CowpokePingsSlow", "pings-slow", PAGE, 2),
    ("CowpokeQueueSlow", "queue-slow", TICKET, 15),
    ("CowpokeDeadLetters", "dead-letters", TICKET, 1),
    ("CowpokeEntryUnreadable", "entry-unreadable", TICKET, 10),
]
ERRORS = 'cowpoke_finished_events_total{event="a", outcome="error", job="c", instance="i"}'
WELL = 'cowpoke_finished_events_total{event="a", outcome="success", job="c", instance="i"}'
ONE, TWO = '{job="c", instance="i"}', '{job="c", instance="j"}'
#: Alert, condition, urgency, minutes, labels, and each series while all is well, and when not.
OTHERS = [
    (
        *("CowpokeRedisDown", "redis-down", PAGE, 1, {"job": "c"}),
        [(f"cowpoke_redis_up{ONE}", "1", "0"), (f"cowpoke_redis_up{TWO}", "0", "0")],
    ),
    (
        *("CowpokeBridgeNotReady", "bridge-not-ready", TICKET, 10, {"job": "c", "instance": "i"}),
        [(f"cowpoke_ready{ONE}", "1", "0"), (f"cowpoke_ready{TWO}", "1", "1")],
    ),
    (
        *("CowpokeHostUnknown", "host-unknown", PAGE, 5, {"job": "c", "instance": "i"}),
        [(f"cowpoke_agents_without_host{ONE}", "0", "1")],
    ),
]


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=lambda path: path.name)
def test_every_metric_that_is_asked_for_exists(path):
    """A renamed metric is a silent alert, and an empty panel."""
    asked = set(re.findall(r"\bcowpoke_[a-z_]+", path.read_text(encoding="utf-8")))
    assert len(asked) > 3
    assert asked - metrics_table.series() == set()


def test_the_page_of_metrics_is_the_codes():
    """Run `python -m tests.metrics_table` after a change."""
    assert metrics_table.written() == metrics_table.table()


def test_dashboard_has_what_grafana_needs():
    """Panels with ids and places of their own, and queries; the data source is chosen by name."""
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert (board["title"], board["uid"]) == ("cowpoke", "cowpoke")
    assert board["id"] is None
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 10
    places = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & places, panel["title"]
        assert max(x for x, _ in cells) < 24
        places |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert all(target["expr"] for target in panel["targets"])
            assert panel["description"]


def test_every_condition_has_its_alert_and_every_alert_its_section():
    """The same words in alert, status, page and runbook."""
    found = alerts()
    assert [one.code for one in found] == [one.runbook for one in found]
    assert len({one.name for one in found}) == len(found)
    assert {one.code for one in found} | WITHOUT_ALERT == set(CONDITIONS)
    listed = {row[0]: (row[1], row[2]) for row in [*PROBLEMS, *OTHERS]} | {
        "CowpokeNoBridge": ("no-bridge", PAGE),
        "CowpokeManyErrors": ("many-errors", TICKET),
    }
    assert {one.name: (one.code, one.severity) for one in found} == listed


def history(name, before, during, minutes):
    """Return a series that is well for 2 min, then not until after it fired, then well again."""
    return {"series": name, "values": f"{before}x1 {during}x{minutes + 1} {before}x5"}


def in_time(alert, minutes, series, labels):
    """Return a test of promtool: silent before its time, then firing, then silent again."""
    found = {one.name: one for one in alerts()}[alert]
    summary = found.summary.replace("{{ $value }}", "1").replace("{{ $labels.instance }}", "i")
    firing = {
        "exp_labels": {"severity": found.severity, "code": found.code, **labels},
        "exp_annotations": {"summary": summary, "runbook": f"docs/runbook.md#{found.runbook}"},
    }

    def at(minute, *expected):
        return {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": list(expected)}

    # The fault begins in minute 2.
    times = [at(1), at(minutes + 1), at(minutes + 2, firing), at(minutes + 5)]
    return {"name": alert, "interval": "1m", "input_series": series, "alert_rule_test": times}


def run_promtool(debian_program, tmp_path, tests):
    """Run unit tests of the rules. JSON is YAML."""
    path = tmp_path / "rules.test.json"
    whole = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}
    path.write_text(json.dumps(whole), encoding="utf-8")
    promtool = debian_program("promtool", package="prometheus")
    run = subprocess.run(
        [promtool, "test", "rules", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_each_problem_fires_in_its_time_and_clears(debian_program, tmp_path):
    """Two bridges say the same; it is told once."""
    tests = []
    for alert, code, _, minutes in PROBLEMS:
        name = f'cowpoke_problems{{code="{code}", needs_person="true", job="c"'
        series = [history(f'{name}, instance="{one}"}}', "0", "1", minutes) for one in "ij"]
        tests.append(in_time(alert, minutes, series, {"job": "c"}))
    run_promtool(debian_program, tmp_path, tests)


def test_bridges_that_are_away_or_unready_fire_in_their_time(debian_program, tmp_path):
    """What the problems of Redis cannot tell."""
    tests = []
    for alert, _, _, minutes, labels, series in OTHERS:
        tests.append(
            in_time(alert, minutes, [history(*one, minutes=minutes) for one in series], labels)
        )
    run_promtool(debian_program, tmp_path, tests)


def test_no_bridge_is_told_when_its_series_end(debian_program, tmp_path):
    """A scrape that fails ends them; beside the bridges of another Redis, too."""
    ended = {"series": f"cowpoke_build_info{ONE}", "values": "1x1 stale _x2 1x5"}
    one, other = "cowpoke-one", "cowpoke-other"
    beside = [
        {"series": f'cowpoke_build_info{{job="{other}", instance="o"}}', "values": "1x9"},
        {"series": f'up{{job="{other}", instance="o"}}', "values": "1x9"},
        {"series": f'up{{job="{one}", instance="i"}}', "values": "1x1 0x2 1x5"},
        {"series": f'up{{job="{one}", instance="j"}}', "values": "0x9"},
    ]
    tests = [
        in_time("CowpokeNoBridge", 2, [ended], {}),
        in_time("CowpokeNoBridge", 2, beside, {"job": one}),
    ]
    run_promtool(debian_program, tmp_path, tests)


@pytest.mark.parametrize(
    ("errors", "well", "fires"), [("0+1x40", "0x40", True), ("0+1x40", "0+2x40", False)]
)
def test_errors_are_told_when_they_are_most_of_the_events(
    debian_program, tmp_path, errors, well, fires
):
    """A host that fails all, and one image that cannot be pulled now and then."""
    (found,) = (one for one in alerts() if one.name == "CowpokeManyErrors")
    firing = {
        "exp_labels": {"severity": "ticket", "code": "many-errors", "job": "c"},
        "exp_annotations": {
            "summary": found.summary,
            "runbook": "docs/runbook.md#many-errors",
        },
    }
    told = {
        "eval_time": "30m",
        "alertname": "CowpokeManyErrors",
        "exp_alerts": [firing] if fires else [],
    }
    series = [{"series": ERRORS, "values": errors}, {"series": WELL, "values": well}]
    test = {"interval": "1m", "input_series": series, "alert_rule_test": [told]}
    run_promtool(debian_program, tmp_path, [test])
