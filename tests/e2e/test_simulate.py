"""`cowpoke simulate` makes a container, as the README shows for the Compose profile `demo`."""

import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from simulator.rig.processes import PROJECT_DIR, clean_environment


def _simulate(*arguments, **environment):
    ended = subprocess.run(
        [sys.executable, "-m", "cowpoke", "simulate", *arguments],
        cwd=PROJECT_DIR,
        env=clean_environment(environment),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_a_container_is_started_and_removed_by_its_name(system, docker_client, test_image):
    """With the events that Rancher sends, in its order."""
    server = ("--server", system.cattle_url)
    code, said = _simulate("start", "nginx-like", "--image", test_image, "--port", "80", *server)
    assert code == 0, said
    assert "compute.instance.activate: success" in said
    assert "published on the host: " in said
    label = {"label": "io.rancher.container.name=nginx-like"}
    (found,) = docker_client.containers(filters=label)
    assert f"container {found['Id'][:12]} runs {test_image}" in said
    port = next(one["PublicPort"] for one in found["Ports"] if one["PrivatePort"] == 80)
    assert f":{port}:80/tcp" in said

    # The same name is the same container.
    code, said = _simulate("start", "nginx-like", "--image", test_image, *server)
    assert (code, found["Id"][:12] in said) == (0, True), said

    code, said = _simulate("stop", "nginx-like", *server)
    assert code == 0, said
    assert docker_client.containers(all=True, filters=label) == []


def test_without_a_server_it_says_how_to_start_one():
    """Not with a traceback."""
    code, said = _simulate("start", "nginx-like", "--server", "http://127.0.0.1:9/v1")
    assert code == 1
    assert "docker compose --profile demo up" in said


def test_the_control_api_refuses_web_pages(system):
    """A page that somebody opens must not start a container on the machine."""
    url = system.cattle_url.replace("/v1", "/simulator/stats")
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        request = urllib.request.Request(url, headers=headers)
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            urllib.request.urlopen(request, timeout=10)
        refused.value.close()
