"""Make the parts that tests share anew after a failed test.

A test that fails may leave a shared server dead or a shared system half broken. Without this, every
later test of its file fails with it and hides which one was at fault.
"""

import pytest

FAILED = pytest.StashKey[bool]()
#: Fixtures of the whole session that a test may break and that are cheap to start again.
CHEAP_SESSION_FIXTURES = frozenset({"redis_server"})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Finish the module's fixtures when a test that used them failed; the next use makes them."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    if report.when == "teardown" and item.stash.get(FAILED, False):
        for name, definitions in item._fixtureinfo.name2fixturedefs.items():
            for one in definitions:
                if one.scope == "module" or name in CHEAP_SESSION_FIXTURES:
                    one.finish(item._request)
    return report
