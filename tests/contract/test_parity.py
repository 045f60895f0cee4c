"""Every behaviour that must be kept has a test, and docs/parity.md says which."""

import pytest

from tests import parity


def test_every_behaviour_that_must_be_kept_has_a_test():
    """A must row without a test that cites it is a hole, whoever the behaviour was learned from."""
    assert [parity.missing(section) for section in "ABCW"] == [[]] * 4


def test_the_page_is_what_the_tests_say():
    """docs/parity.md is written anew whenever a test's citations change."""
    assert parity.PAGE.read_text(encoding="utf-8") == parity.page(), "run: scripts/parity"


def test_every_citation_names_a_row():
    """A number that is no row is a slip of the pen."""
    known = {row.number for row in parity.rows()}
    wrong = {number: tests for number, tests in parity.citations().items() if number not in known}
    assert wrong == {}


def test_every_skipped_row_says_why():
    """Nothing is left out in silence."""
    assert [row.number for row in parity.rows() if row.priority == "skip" and not row.reason] == []


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Links keep it (A 8.12).", {"A 8.12"}),
        ("Both (A 3.6, 3.8 and 12.1, C 17).", {"A 3.6", "A 3.8", "A 12.1", "C 17"}),
        ("All (A 10.1 to\n    10.3).", {"A 10.1", "A 10.2", "A 10.3"}),
        ("All (A 14.8-14.10).", {"A 14.8", "A 14.9", "A 14.10"}),
        ("Protected (parity B.6, C 18).", {"B.6", "C 18"}),
        ("B.6 hostKey: once. And parity B.6 cloud.", {"B.6 hostKey", "B.6 cloud"}),
        ("Many (C 2, 3 and C 4).", {"C 2", "C 3", "C 4"}),
        ("Real inputs (W 3, W 5 to 7).", {"W 3", "W 5", "W 6", "W 7"}),
        ("Of two sections (C 24, W 15, W 16).", {"C 24", "W 15", "W 16"}),
        ("Old Engines (A.18 DOCKER_API_VERSION, A.19).", {"A.18 DOCKER_API_VERSION", "A.19"}),
        ("The section (A.14) is no row, a price of C 3.5 neither.", set()),
        ("test_links_A_8_12", {"A 8.12"}),
    ],
)
def test_citations_are_read_as_people_write_them(text, numbers):
    """Lists, ranges, line breaks, names of tests."""
    assert parity.cited(text) == numbers
