"""`REDIS_URL` at the programs: a bad one ends them in a line, options of a good one work."""

import subprocess
import sys

import pytest

from simulator import sample
from simulator.rig.processes import PROJECT_DIR, clean_environment
from tests.faults.faulty_system import FaultySystem, new_instance

SECRET = "pa55word"
BAD_URLS = [f"redis://:{SECRET}[x@h/0", f"redis://:{SECRET}@h/0?foo=bar", f"redis://:{SECRET}@h/x"]


@pytest.mark.parametrize("url", BAD_URLS)
@pytest.mark.parametrize(
    "arguments",
    [
        ["worker"],
        ["worker", "health"],
        ["bridge"],
        ["celery", "-A", "worker.app", "inspect", "ping"],
    ],
)
def test_program_with_a_bad_url_ends_with_one_line_about_it(tmp_path, arguments, url):
    """W 21: no traceback, no password, an exit code other than 0."""
    keys = {"CATTLE_URL": "http://h/v1", "CATTLE_ACCESS_KEY": "a", "CATTLE_SECRET_KEY": "b"}
    ended = subprocess.run(
        [sys.executable, "-m", *arguments],
        env=clean_environment({"REDIS_URL": url, "CATTLE_HOME": str(tmp_path), **keys}),
        cwd=PROJECT_DIR,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert len([line for line in ended.stdout.splitlines() if "REDIS_URL: " in line]) == 1
    assert "Traceback" not in ended.stdout
    assert SECRET not in ended.stdout


def test_options_of_the_url_work_in_every_program(engine, make_redis, tmp_path):
    """W 21: a timeout and a name, given once in the url, in redis-py and in kombu."""
    server = make_redis()
    url = {"REDIS_URL": f"{server.url}?socket_timeout=4&client_name=cowpoke-test"}
    with FaultySystem(engine, redis=server, state_dir=tmp_path, worker=url, bridge=url) as system:
        instance = new_instance()
        system.assert_answered_once(system.ask(sample.instance_activate(instance)), instance)
        with server.client() as client:
            named = [one for one in client.client_list() if one["name"] == "cowpoke-test"]
        # A BRPOP of a lane is kombu's, an XREADGROUP of the bridge redis-py's.
        assert {"brpop", "xreadgroup"} <= {one["cmd"] for one in named}
