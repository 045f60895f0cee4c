"""docs/cli.md lists each problem as the code has it; the runbook has a section for each code."""

import re
from pathlib import Path

from cowpoke.overview.conditions import CONDITIONS, RUNBOOK, problem
from tests.error_codes import error_codes
from tests.problems_table import table, written
from tests.prometheus import alerts
from tests.runbook import PAGE, sections

PROJECT = Path(__file__).parents[2]
READINESS = PROJECT / "bridge" / "web" / "readiness.py"
#: Reasons of `/readyz` that are no problem of an installation.
STATES_OF_A_BRIDGE = {"bridge-starting", "bridge-stopping"}


def test_the_table_of_problems_is_that_of_the_code():
    """Run `python -m tests.problems_table` after a change."""
    assert written() == table()


def test_every_code_has_one_section_of_the_runbook():
    """Problems, reasons of `/readyz`, and all codes that an event can end with; no other."""
    found = [one.code for one in sections()]
    codes = [one.code for one in error_codes()]
    assert len(codes) > 40
    assert set(CONDITIONS) & set(codes) == set(), "an anchor would be ambiguous"
    assert sorted(found) == sorted([*CONDITIONS, *STATES_OF_A_BRIDGE, *codes])


def test_every_reason_of_a_bridge_has_a_section():
    """`/readyz` tells codes, too."""
    text = READINESS.read_text(encoding="utf-8")
    reasons = set(re.findall(r'\(\s*"([a-z]+(?:-[a-z]+)+)",', text))
    assert len(reasons) > 5
    assert reasons - {one.code for one in sections()} == set()


def test_every_section_says_what_it_means_what_to_look_at_and_what_to_do():
    """Somebody who was woken needs all three."""
    bare = [
        one.code
        for one in sections()
        if not one.meaning.endswith(".") or not {"Look at", "Do"} <= set(one.points)
    ]
    assert bare == []


def test_every_alert_is_named_in_its_section():
    """With its urgency; a condition without an alert says so."""
    by_code = {one.code: one for one in sections()}
    wrong = [
        one.name
        for one in alerts()
        if f"`{one.name}` ({one.severity})" not in by_code[one.runbook].points["Alert"]
    ]
    assert wrong == []
    with_alert = {one.runbook for one in alerts()}
    told = {code for code in CONDITIONS if not by_code[code].points["Alert"].startswith("none")}
    assert told == with_alert


def test_the_address_of_a_problem_leads_to_its_section():
    """`cowpoke status --json`, the page and the alerts give this address."""
    headings = set(re.findall(r"(?m)^### ([\w-]+)$", PAGE.read_text(encoding="utf-8")))
    for code in CONDITIONS:
        path, _, anchor = problem(code, "subject", "message").runbook.partition("#")
        assert (PROJECT / path, path) == (PAGE, RUNBOOK)
        assert anchor in headings
