"""What the Go agent got wrong, and we do not (B.8).

Row numbers (B) refer to docs/parity.md.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import factories
from tests.faults.scripted_engine import Held, ScriptedEngine
from tests.hosts import HOST_IP, host_on
from tests.unit.worker.create.mapping import body, host_config
from worker.container import UUID_LABEL


@pytest.fixture
def engine(tmp_path):
    """A scripted Engine."""
    with ScriptedEngine(tmp_path) as started:
        yield started


@pytest.fixture
def host(engine, tmp_path):
    """A host on it."""
    made = host_on(engine.host, tmp_path)
    yield made
    made.host.engine.close()


def test_the_mapping_has_none_of_the_go_agents_bugs():
    """B.8: a command's text, a port's choice, a label's owner and the shares stay what they are."""
    assert body({"command": "echo one two"})["Cmd"] == ["echo", "one", "two"]
    port = {"privatePort": 80, "publicPort": None, "protocol": "tcp"}
    published = body(ports=[port])
    assert published["ExposedPorts"] == {"80/tcp": {}}
    assert not published["HostConfig"].get("PortBindings")
    assert not published["HostConfig"].get("PublishAllPorts")
    assert body({"labels": {UUID_LABEL: "another"}})["Labels"][UUID_LABEL] == factories.UUID
    assert "CpuShares" not in host_config()
    assert host_config({"cpuShares": 1024})["CpuShares"] == 1024


def test_a_host_path_is_not_removed_and_a_folder_of_ours_is(host, tmp_path):
    """B.8: the check for a host path stands the right way round."""
    for name, is_host_path in (("users", True), ("ours", False)):
        folder = tmp_path / "volumes" / name
        folder.mkdir(parents=True)
        volume = {"uri": f"file://{folder}", "data": {"fields": {"isHostPath": is_host_path}}}
        data = factories.volume_data(**volume, isHostPath=is_host_path)
        host.run("storage.volume.remove", data)
        assert folder.exists() == is_host_path


def test_a_forced_stop_has_patience(engine, host):
    """B.8: its timeout is in seconds, so that a stop which takes a moment succeeds."""
    engine.add_container("a" * 64, name="web", uuid=factories.UUID, running=True)
    engine.script("POST", "/containers/.*/stop", held := Held())
    data = {"instanceForceStop": {"kind": "docker", "id": "a" * 64}}
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(host.run, "compute.instance.force.stop", data)
        held.wait_reached()
        held.let_go()
        assert run.result(20) == {}
    assert engine.containers["a" * 64]["State"]["Status"] == "exited"
    assert engine.count("POST", "/containers/.*/stop") == 1


def test_a_pings_address_has_its_right_name(host):
    """B.8: `address`, under the key that cattle reads."""
    reply = host.run("ping", {"options": {"resources": True}})
    addresses = [one["address"] for one in reply["resources"] if one["type"] == "ipAddress"]
    assert addresses == [HOST_IP]
