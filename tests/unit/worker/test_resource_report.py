"""When the resources of this host were reported last, and a join that waits for it."""

import os
import time

import pytest

from tests.hosts import host_on
from worker.host.resource_report import FILE, last_report_s, note_report
from worker.join.ready import wait_reported


@pytest.mark.parametrize(
    ("options", "is_report"),
    [
        ({"resources": True}, True),
        ({"resources": True, "stats": True, "instances": True}, True),
        ({"instances": True}, False),
        ({"resources": False}, False),
        ({}, False),
    ],
)
def test_ping_that_asks_for_resources_is_noted(tmp_path, options, is_report):
    """B.6 register: also while the Engine is away, as such a ping names the host."""
    host = host_on(f"unix://{tmp_path}/none.sock", tmp_path)
    began_s = time.time()
    host.run("ping", {"options": options})
    assert (last_report_s(tmp_path) >= began_s - 1) is is_report
    assert (tmp_path / FILE).exists() is is_report


def test_join_waits_for_a_report_of_its_own_time(tmp_path):
    """B.6 register: an older one, or none, says nothing of the new agent."""
    since_s = time.time()
    assert "has not asked" in wait_reported(tmp_path, since_s, wait_s=0)
    note_report(tmp_path)
    os.utime(tmp_path / FILE, (since_s - 60, since_s - 60))
    assert "has not asked" in wait_reported(tmp_path, since_s, wait_s=0)
    assert wait_reported(tmp_path, since_s - 90, wait_s=0) is None
    note_report(tmp_path)
    assert wait_reported(tmp_path, since_s, wait_s=0) is None


def test_state_folder_that_cannot_be_written_stops_no_ping(tmp_path):
    """The ping is answered all the same."""
    note_report(tmp_path / "none")
    assert last_report_s(tmp_path / "none") == 0
