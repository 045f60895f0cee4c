"""`cowpoke doctor` on a host whose worker runs, with a real Engine."""

import json
import subprocess
import sys

from cryptography.fernet import Fernet

from simulator.rig.processes import PROJECT_DIR, clean_environment


def test_a_host_in_good_order_has_no_problem(
    make_program, redis_url, engine, docker_client, tmp_path
):
    """Lanes, keys, Engine and state folder."""
    settings = {
        "REDIS_URL": redis_url,
        "QUEUE_KEY": Fernet.generate_key().decode(),
        **engine.environment,
        "CATTLE_HOME": str(tmp_path),
    }
    worker = make_program("worker", environment=settings)
    for lane in ("compute", "control", "images"):
        worker.wait_for_line(rf'"lane": "{lane}".*"lane\.ready"', 60)
    asked = subprocess.run(
        [sys.executable, "-m", "cowpoke", "doctor", "--json", "--part", "worker"],
        cwd=PROJECT_DIR,
        env=clean_environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    found = {one["check"]: one for one in json.loads(asked.stdout)["findings"]}
    assert asked.returncode == 0, found
    assert found["lanes"]["level"] == found["state folder"]["level"] == "good"
    version = docker_client.version()["Version"]
    assert found["Engine"]["message"].startswith(f"Docker {version} at {engine.host}, API 1.")
