"""A shared part that a failed test used is made anew for the next test."""

import pytest

pytest_plugins = ["pytester"]

CONFTEST = "from tests.fresh_fixtures import pytest_runtest_makereport\n"
#: A shared server, a shared system on it, and tests that count how often each was made.
SUITE = """\
import pytest

made = []

@pytest.fixture(scope="module")
def server():
    made.append("server")
    yield {"alive": True}

@pytest.fixture(scope="module")
def system(server):
    made.append("system")
    yield server

def test_good(system):
    assert made == ["server", "system"]

def test_breaks(system):
    system["alive"] = False
    raise AssertionError

def test_next(system):
    assert system["alive"]
    assert made == ["server", "system"] * 2

def test_unrelated():
    raise AssertionError

def test_last(system):
    assert made == ["server", "system"] * 2
"""


@pytest.fixture
def suite(pytester):
    """Run a suite of its own with the hook."""
    pytester.makeconftest(CONFTEST)

    def run(source: str):
        pytester.makepyfile(source)
        return pytester.runpytest_inprocess("-p", "no:cacheprovider")

    return run


def test_fixtures_of_a_failed_test_are_made_anew(suite):
    """W 40: only the failed tests' own fixtures, and those that depend on them."""
    suite(SUITE).assert_outcomes(passed=3, failed=2)


def test_fixtures_are_made_anew_after_an_error_in_a_teardown(suite):
    """W 40: a clean-up that fails leaves as much behind as a test that does."""
    suite(
        """\
import pytest

made = []

@pytest.fixture(scope="module")
def server():
    made.append(1)

@pytest.fixture
def breaks(server):
    yield
    raise RuntimeError

def test_first(breaks):
    pass

def test_second(server):
    assert made == [1, 1]
"""
    ).assert_outcomes(passed=2, errors=1)
