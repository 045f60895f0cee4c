"""The stand-in for plugin-manager does what the real one does."""

import json

import pytest

from simulator.plugin_manager.manager import ADDRESS_LABEL, MODE_LABEL, NETWORK_LABEL
from simulator.plugin_manager.program import plugin_manager, start
from simulator.rig.containers import remove_containers
from simulator.rig.processes import wait_until


@pytest.fixture
def state_dir(tmp_path):
    """The folder of state files."""
    return tmp_path / "cni"


@pytest.fixture
def run(docker_client, test_image):
    """Start a container that CNI is to connect; its inspect."""
    made = []

    def run(**labels):
        labels = {NETWORK_LABEL: "net", ADDRESS_LABEL: "10.42.3.4/16", **labels}
        host_config = docker_client.create_host_config(network_mode="none")
        made.append(
            docker_client.create_container(
                test_image, labels=labels, hostname="web-1", host_config=host_config
            )["Id"]
        )
        docker_client.start(made[-1])
        return docker_client.inspect_container(made[-1])

    yield run
    remove_containers(docker_client, *made)


def result_of(state_dir, container):
    """Wait for the result of a start."""
    path = state_dir / container["Id"] / container["State"]["StartedAt"]
    wait_until(path.exists, 30, f"{path}")
    return json.loads(path.read_text())


def output(docker_client, container, *command):
    """The output of a command in the container."""
    made = docker_client.exec_create(container["Id"], list(command))
    return docker_client.exec_start(made["Id"]).decode()


def test_started_container_is_connected_and_forgotten(engine_host, state_dir, run, docker_client):
    """Interface, route, result and hosts file at the start; the result goes with the end."""
    with start(plugin_manager(engine_host, state_dir)):
        container = run()
        assert result_of(state_dir, container)["ip4"]["ip"] == "10.42.3.4/16"
        assert "inet 10.42.3.4/16" in output(docker_client, container, "ip", "addr")
        assert "default via 10.42.0.1" in output(docker_client, container, "ip", "route")
        wait_until(
            lambda: "10.42.3.4\tweb-1" in output(docker_client, container, "cat", "/etc/hosts"),
            30,
            "the name in the hosts file",
        )
        docker_client.stop(container["Id"], timeout=5)
        folder = state_dir / container["Id"]
        wait_until(lambda: not folder.exists(), 30, "the end of the result")


def test_error_is_written_after_the_last_try(engine_host, state_dir, run):
    """Its text begins like that of the real one."""
    with start(plugin_manager(engine_host, state_dir)):
        container = run(**{MODE_LABEL: "error"})
        assert result_of(state_dir, container)["error"].startswith("Couldn't bring up network: ")


def test_container_from_before_is_connected_once(engine_host, state_dir, run, docker_client):
    """One without an interface is connected; one with an interface gets no result."""
    early = run()
    with start(plugin_manager(engine_host, state_dir)) as program:
        result_of(state_dir, early)
        program.kill()
        (state_dir / early["Id"] / early["State"]["StartedAt"]).unlink()
        later = run()
        start(program)
        result_of(state_dir, later)
        assert list((state_dir / early["Id"]).iterdir()) == []
