"""`python -m worker janitor` as an operator runs it: what it says, what it changes, how it ends.

Row numbers (W) refer to docs/parity.md.
"""

import json

import pytest

from simulator.rig.processes import Program
from worker.janitor import DOCKER_AREAS


@pytest.fixture
def environment(engine_host, redis_url, tmp_path):
    """The variables of a worker whose state folder is not there yet."""
    return {
        "DOCKER_HOST": engine_host,
        "REDIS_URL": redis_url,
        "CATTLE_HOME": str(tmp_path / "home"),
    }


def run(environment, *options):
    """Run it to its end: its exit code and what it printed."""
    with Program("worker", "janitor", *options, environment=environment) as program:
        return program.wait(60), program.output()


def test_dry_run_changes_nothing(environment, tmp_path):
    """No file, no folder: it only says what it found (W 36)."""
    code, said = run(environment, "--dry-run")
    assert code == 0, said
    assert "nothing removed" in said
    assert list(tmp_path.iterdir()) == []


def test_json_says_what_the_text_says(environment, tmp_path):
    """What was found, whether it is gone, and what could not be checked."""
    code, said = run(environment, "--dry-run", "--json")
    assert (code, json.loads(said)) == (0, {"orphans": [], "not_checked": {}})
    environment["DOCKER_HOST"] = f"unix://{tmp_path}/nobody.sock"
    code, said = run(environment, "--json")
    found = json.loads(said[said.index("{\n") :])
    assert (code, set(found["not_checked"])) == (1, set(DOCKER_AREAS))


@pytest.mark.parametrize("options", [(), ("--dry-run",)], ids=["run", "dry-run"])
def test_area_that_cannot_be_checked_is_named(environment, tmp_path, options):
    """Each with the reason, and the exit code says that the check was incomplete (W 36)."""
    environment["DOCKER_HOST"] = f"unix://{tmp_path}/nobody.sock"
    code, said = run(environment, *options)
    lines = [line for line in said.splitlines() if line.startswith("not checked: ")]
    assert code == 1
    assert len(lines) == len(DOCKER_AREAS)
    assert all(f"not checked: {area} (" in said for area in DOCKER_AREAS)


def test_unusable_state_folder_is_said_in_one_line(environment, tmp_path):
    """A file where the folder should be (W 36)."""
    (tmp_path / "home").write_text("no folder")
    code, said = run(environment)
    assert code == 1
    assert said.startswith("worker janitor: cannot use the state folder")
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("folder", "area"),
    [
        ("containers", "state files"),
        ("temporary-tags", "temporary tags"),
        ("orphans", "orphaned volumes"),
    ],
)
def test_records_that_cannot_be_read_are_named(environment, tmp_path, folder, area):
    """A file where a folder of records should be; the other areas are looked at (W 36)."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    (home / folder).write_text("no folder")
    code, said = run(environment, "--dry-run")
    assert code == 1
    assert [line for line in said.splitlines() if line.startswith("not checked: ")] == [
        line for line in said.splitlines() if line.startswith(f"not checked: {area} (")
    ]
    assert f"not checked: {area} (" in said


def test_dry_run_with_an_unusable_state_folder_fails(environment, tmp_path):
    """Nothing could be looked at, so that "0 found" would be wrong (W 36)."""
    (tmp_path / "home").write_text("no folder")
    code, said = run(environment, "--dry-run")
    assert code == 1
    assert "not checked: state files (" in said
