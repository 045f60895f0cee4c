"""Every process of a parallel run finds the same tests."""

import subprocess
import sys

from simulator.rig.processes import PROJECT_DIR, clean_environment


def _names(hash_seed: str, zone: str) -> list[str]:
    """Return the names of all tests, as a process with this hash seed and zone finds them."""
    collect = ["--collect-only", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *collect],
        cwd=PROJECT_DIR,
        env=clean_environment({"PYTHONHASHSEED": hash_seed, "TZ": zone}),
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_names_of_tests_say_nothing_of_a_process():
    """A time, an address or the order of a set in a name ends a run before its first test."""
    first = _names("1", "UTC")
    # Both take seconds, so a time of day in a name is another one.
    second = _names("2", "Asia/Tokyo")
    assert len(first) > 10
    assert set(first) ^ set(second) == set()
    assert first == second
