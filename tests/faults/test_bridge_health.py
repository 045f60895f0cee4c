"""`cowpoke bridge health` beside a real bridge, as Docker's health check asks."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from simulator.rig.processes import PROJECT_DIR, clean_environment, wait_until


def health(port, *arguments):
    """Run the health check; its exit code and what it said."""
    run = subprocess.run(
        [sys.executable, "-m", "cowpoke", "bridge", "health", *arguments],
        env=clean_environment({"BRIDGE_HTTP_PORT": str(port)} if port is not None else {}),
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return run.returncode, (run.stdout + run.stderr).strip()


@pytest.fixture
def port():
    """A port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def test_health_follows_cattle_hosts_and_redis(rig, port):
    """Not ready without Redis and without cattle, ready without a worker, and again at the end."""
    code, said = health(port)
    assert (code, "no bridge answers" in said) == (1, True), said
    bridge = rig.start_bridge(BRIDGE_HTTP_PORT=str(port))
    bridge.wait_for_line("http.ready", 20)

    def says(code, text):
        return lambda: (found := health(port))[0] == code and text in found[1]

    # A note, not a reason: the worker of a Compose stack may start after the bridge is healthy.
    wait_until(says(0, "host-without-worker"), 20, "a bridge that waits for its host")
    with rig.worker():
        rig.wait_subscribed()
        assert health(port) == (0, "ready")
        rig.cattle.faults(refuse_subscribe_status=503, drop_sockets=True)
        wait_until(says(1, "websocket-closed"), 20, "the websocket missed")
        rig.cattle.faults_off()
        wait_until(says(0, "ready"), 20, "the websocket back")
        os.kill(rig.redis.pid, signal.SIGSTOP)
        try:
            wait_until(says(1, "redis-down"), 20, "Redis missed")
            assert health(port, "--live") == (0, "live")
        finally:
            os.kill(rig.redis.pid, signal.SIGCONT)
        wait_until(says(0, "ready"), 20, "Redis back")
    _, said = health(port, "--json")
    assert json.loads(said).keys() == {"ready", "reasons", "notes"}


@pytest.mark.parametrize("port", [None, 0])
def test_health_without_a_port_says_what_to_set(port):
    """Nobody could be asked."""
    code, said = health(port)
    assert (code, "BRIDGE_HTTP_PORT" in said) == (1, True)
