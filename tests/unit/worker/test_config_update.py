"""`config.update`: what is run, what is not, and what the bridge is told of it.

Row numbers (A, C) refer to docs/parity.md.
"""

import stat
import time

import psutil
import pytest

from simulator.rig.processes import wait_until
from tests.floor import allowed_s
from tests.hosts import host_on
from worker.errors import LockHeldError, OperationError, PayloadError
from worker.host.scripts import MOST_OUTPUT_BYTES

NAME = "config.update"


def items(*names):
    """The data of a config.update event, as cattle sends it."""
    rows = [{"name": name, "requestedVersion": 3, "apply": True} for name in names]
    return {"configUrl": "http://cattle:8080/v1", "items": rows}


@pytest.fixture
def script(tmp_path):
    """Write the operator's script: its path."""

    def write(text):
        path = tmp_path / "config.sh"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return write


def host_with(tmp_path, script=None, **settings):
    """A host without an Engine, with that script if any."""
    given = {"WORKER_CONFIG_SCRIPT": script, **settings} if script else settings
    return host_on(f"unix://{tmp_path}/none.sock", tmp_path, **given)


def test_nothing_is_run_by_default_and_the_answer_says_so(tmp_path):
    """Every item is named for the bridge to report as up to date (A 14.18)."""
    host = host_with(tmp_path)
    reply = host.run(NAME, items("configscripts", "pyagent", "configscripts"))
    assert reply == {"upToDate": ["configscripts", "pyagent"]}


@pytest.mark.parametrize("data", [{}, {"items": []}, {"items": None}])
def test_no_items_is_an_empty_reply(tmp_path, data):
    """Nothing asked, nothing done, with or without a script (A 14.17)."""
    assert host_with(tmp_path).run(NAME, data, resource_type="agent") == {}
    assert host_with(tmp_path, "/no/script").run(NAME, data, resource_type="agent") == {}


def test_a_script_gets_the_names_and_its_answer_is_the_reply(tmp_path, script):
    """In CATTLE_HOME, output and errors as one text, exit code zero (A 14.18)."""
    path = script('echo "$PWD $*"; echo told >&2')
    host = host_with(tmp_path, path)
    reply = host.run(NAME, items("configscripts", "host-config"))
    assert reply == {"exitCode": 0, "output": f"{tmp_path} configscripts host-config\ntold\n"}


def test_the_old_agents_program_is_skipped_and_reported(tmp_path, script):
    """`pyagent` alone is not worth a run, and cattle must not send it for ever (A 14.18)."""
    host = host_with(tmp_path, script("echo $*"))
    reply = host.run(NAME, items("configscripts", "pyagent"))
    assert reply == {"exitCode": 0, "output": "configscripts\n", "upToDate": ["pyagent"]}
    assert host.run(NAME, items("pyagent")) == {"upToDate": ["pyagent"]}


def test_the_old_agents_program_is_updated_on_demand(tmp_path, script):
    """A.18 CONFIG_UPDATE_PYAGENT: true gives the item to the script."""
    host = host_with(tmp_path, script("echo $*"), CATTLE_CONFIG_UPDATE_PYAGENT="true")
    assert host.run(NAME, items("pyagent")) == {"exitCode": 0, "output": "pyagent\n"}


def test_a_script_gets_what_the_old_agent_gave_and_no_more(tmp_path, script):
    """Keys, url and home, nothing of Redis; the secret is not in the reply (A 14.18)."""
    given = {
        "CATTLE_ACCESS_KEY": "key",
        "CATTLE_SECRET_KEY": "planted-secret",
        "CATTLE_CONFIG_URL": "http://cattle/v1",
        "QUEUE_KEY": "W4pUW3GfDz2lDsOnmV1xC3iVw5WGZ6aVYyqkyXPo0rk=",
    }
    host = host_with(tmp_path, script("env"), **given)
    output = host.run(NAME, items("host-config"))["output"]
    told = dict(line.split("=", 1) for line in output.splitlines())
    wanted = {"CATTLE_ACCESS_KEY", "CATTLE_SECRET_KEY", "CATTLE_CONFIG_URL", "CATTLE_HOME"}
    assert {name for name in told if name.startswith("CATTLE_")} == wanted
    assert told["CATTLE_CONFIG_URL"] == "http://cattle/v1"
    assert told["CATTLE_SECRET_KEY"] == "***"
    assert "QUEUE_KEY" not in told
    assert "REDIS_URL" not in told


def test_a_failed_script_is_an_error_that_ends_the_event(tmp_path, script):
    """With its code and the end of its output; never only progress (A 14.19)."""
    host = host_with(tmp_path, script("echo no space; exit 7"))
    with pytest.raises(OperationError, match=r"host-config failed with exit code 7: no space"):
        host.run(NAME, items("host-config"))


def test_a_script_that_is_not_there_is_an_error(tmp_path):
    """The message names it (A 14.19)."""
    with pytest.raises(OperationError, match="cannot run /no/script"):
        host_with(tmp_path, "/no/script").run(NAME, items("host-config"))


def test_another_run_under_way_is_waited_for(tmp_path, script):
    """Code 122 with `Lock failed` is tried again within the deadline (A 14.19, C 10)."""
    host = host_with(tmp_path, script("echo Lock failed; exit 122"))
    with pytest.raises(LockHeldError):
        host.run(NAME, items("host-config"))


def sleeping(seconds):
    """The processes that sleep so long."""
    found = psutil.process_iter(["cmdline"])  # a zombie has none
    return [one for one in found if one.info["cmdline"] == ["sleep", seconds]]


def test_a_script_that_does_not_end_is_killed_with_its_children(tmp_path, script):
    """Within its time, and nothing of it goes on (A 14.19)."""
    path = script("sleep 4711 & sleep 4711")
    host = host_with(tmp_path, path, WORKER_SCRIPT_TIMEOUT_S="0.3")
    began_s = time.monotonic()
    with pytest.raises(OperationError, match=r"did not end within 0\.3 s and was killed"):
        host.run(NAME, items("host-config"))
    assert time.monotonic() - began_s < allowed_s(3)
    wait_until(lambda: not sleeping("4711"), 5, "the script's children to be gone")


def test_a_talkative_script_is_cut_off_but_not_held_up(tmp_path, script):
    """Output beyond the bound is read and thrown away (A 14.18)."""
    host = host_with(tmp_path, script("head -c 3000000 /dev/zero | tr '\\0' x"))
    assert len(host.run(NAME, items("host-config"))["output"]) == MOST_OUTPUT_BYTES


@pytest.mark.parametrize("data", [{"items": "pyagent"}, {"items": [{"name": None}]}])
def test_what_cannot_be_read_is_refused(tmp_path, data):
    """With the place in the message, not a crash (A 1.15)."""
    with pytest.raises(PayloadError, match=r"data\.items"):
        host_with(tmp_path).run(NAME, data, resource_type="agent")
